"""The JSON form that values of a type have, and the forms that a type is read from."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import pathlib
import types
import typing
import uuid
from collections import abc
from typing import Any, Final

ANY: Final = "any"
ARRAY: Final = "array"
OBJECT: Final = "object"
_NUMBERS: Final = frozenset({"integer", "number"})
_TEXTS: Final = frozenset({"text", "date", "moment", "time", "duration", "uuid", "decimal"})

_FORMS: Final[dict[Any, str]] = {
    types.NoneType: "null",
    bool: "truth",
    int: "integer",
    float: "number",
    str: "text",
    bytes: "text",
    pathlib.Path: "text",
    pathlib.PurePath: "text",
    dt.date: "date",
    dt.datetime: "moment",
    dt.time: "time",
    dt.timedelta: "duration",
    uuid.UUID: "uuid",
    decimal.Decimal: "decimal",
    **dict.fromkeys((list, tuple, set, frozenset, collections.deque, abc.Sequence, abc.Set), ARRAY),
    **dict.fromkeys((dict, collections.defaultdict, collections.OrderedDict, abc.Mapping, abc.MutableMapping), OBJECT),
}
# What each form is read from, strictly: a whole number is a number, and a text may spell what only its value tells.
_READ_FROM: Final = {
    "number": _NUMBERS,
    "text": _TEXTS,
    "date": frozenset({"date", "moment", "text"}),
    "moment": frozenset({"moment", "text", "decimal"}),
    "time": frozenset({"time", "text", "decimal"}),
    "duration": frozenset({"duration", "time", "text", "decimal"}),
    "uuid": frozenset({"uuid", "text"}),
    "decimal": frozenset({"decimal", "text", *_NUMBERS}),
}


def form_of(kind: Any) -> str:
    """Return the JSON form of a type's values; ANY when that is not known."""
    origin = typing.get_origin(kind) or kind
    if origin in _FORMS:
        return _FORMS[origin]
    if fields_of(kind) is not None:
        return OBJECT
    return ANY


def readable(made: str, taken: str) -> bool:
    """Return whether a value of one form may be read as the other."""
    return made in _READ_FROM.get(taken, {taken})


def fields_of(kind: Any) -> dict[str, Any] | None:
    """Return the fields of a model, dataclass or typed dictionary by their names in JSON; None for all else."""
    origin = typing.get_origin(kind) or kind
    if not isinstance(origin, type) or own_reading(origin):
        return None
    model = getattr(origin, "model_fields", None)
    if isinstance(model, dict):
        return _of_model(origin, model)
    if typing.is_typeddict(origin) or (dataclasses.is_dataclass(origin) and typing.get_origin(kind) is None):
        return _hints(origin)
    return None


def required_of(kind: Any) -> frozenset[str]:
    """Return the names of the fields without which an object is not read as this type."""
    origin: Any = typing.get_origin(kind) or kind
    if hasattr(origin, "model_fields"):
        return frozenset(name for name, field in origin.model_fields.items() if field.is_required())
    if typing.is_typeddict(origin):
        return frozenset(origin.__required_keys__)
    blank = dataclasses.MISSING
    fields = dataclasses.fields(origin)
    return frozenset(one.name for one in fields if one.init and one.default is blank and one.default_factory is blank)


def own_reading(thing: Any) -> bool:
    """
    Return whether a type, or a note on one in `Annotated[…]`, reads or writes values in a way of its own.

    Such as a validator that runs before pydantic's: a model that takes a single text may well be given one.
    """
    if type(thing).__name__ in {"AfterValidator", "PathType"}:  # they only look at what was read
        return False
    if type(thing).__name__ in {"Strict", "FieldInfo"}:
        return type(thing).__name__ == "FieldInfo" or not thing.strict
    decorators = getattr(thing, "__pydantic_decorators__", None)
    if decorators is not None:
        return _decorated(decorators)
    return hasattr(thing, "__get_pydantic_core_schema__") or hasattr(thing, "__get_validators__")


def _decorated(decorators: Any) -> bool:
    before = [one.info.mode != "after" for one in decorators.model_validators.values()]
    return any(before) or bool(decorators.model_serializers or decorators.field_serializers)


def _of_model(origin: Any, model: dict[str, Any]) -> dict[str, Any] | None:
    """Leave alone what has other names in JSON, takes more fields than it has, or is no object."""
    if getattr(origin, "__pydantic_root_model__", False) or origin.model_config.get("extra") == "allow":
        return None
    if any(field.alias or field.validation_alias or field.serialization_alias for field in model.values()):
        return None
    return {name: field.annotation for name, field in {**model, **origin.model_computed_fields}.items()}


def _hints(origin: Any) -> dict[str, Any] | None:
    try:
        return typing.get_type_hints(origin)
    except Exception:  # noqa: BLE001 - a name that is not there: pydantic finds its own way, or says so
        return None
