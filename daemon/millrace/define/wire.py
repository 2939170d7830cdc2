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

from typing_extensions import get_type_hints, is_typeddict

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
    "array": frozenset({"array", "row"}),
    "row": frozenset({"array", "row", "object"}),
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
    form = _FORMS.get(typing.get_origin(kind) or kind)
    if form is None and isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields"):
        return "row"  # a NamedTuple: written as a list, read from a list or an object
    return form or (ANY if fields_of(kind) is None else OBJECT)


def readable(made: str, taken: str) -> bool:
    """Return whether a value of one form may be read as the other."""
    return made in _READ_FROM.get(taken, {taken})


def fields_of(kind: Any) -> dict[str, Any] | None:
    """Return the fields of a model, dataclass or typed dictionary by their names in JSON; None for all else."""
    if not isinstance(kind, type) or own_reading(kind):
        return None
    if isinstance(getattr(kind, "model_fields", None), dict):
        return _of_model(kind)
    try:
        hints: dict[str, Any] = get_type_hints(kind, include_extras=True)
    except Exception:  # noqa: BLE001 - a name that is not there: pydantic finds its own way, or says so
        return None
    if is_typeddict(kind):
        return hints
    return {one.name: hints[one.name] for one in dataclasses.fields(kind)} if dataclasses.is_dataclass(kind) else None


def required_of(kind: Any) -> frozenset[str]:
    """Return the names of the fields without which an object is not read as this type."""
    if hasattr(kind, "model_fields"):
        return frozenset(name for name, field in kind.model_fields.items() if field.is_required())
    if is_typeddict(kind):
        hints = get_type_hints(kind, include_extras=True)  # it does not know itself, when its annotations are text
        loose = {name for name, hint in hints.items() if _may_be_left_out(hint)}
        return frozenset(kind.__required_keys__) - loose
    blank = dataclasses.MISSING
    fields = dataclasses.fields(kind)
    return frozenset(one.name for one in fields if one.init and one.default is blank and one.default_factory is blank)


def _may_be_left_out(hint: Any) -> bool:
    origin: Any = typing.get_origin(hint)
    return origin is typing.NotRequired


def is_number(kind: Any) -> bool:
    """Return whether values of a type are numbers to whoever compares them: true is 1, and so is 1.0."""
    return form_of(kind) in {"truth", *_NUMBERS}


def may_hold_more(kind: Any) -> bool:
    """Return whether values of a type may have more fields than it names: a typed dictionary is any that has these."""
    return is_typeddict(kind)


def own_reading(thing: Any) -> bool:
    """
    Return whether a type, or a note on one in `Annotated[…]`, reads or writes values in a way of its own.

    Such as a validator that runs before pydantic's: a model that takes a single text may well be given one.
    """
    note = type(thing).__name__
    if note in {"AfterValidator", "PathType"}:  # they only look at what was read
        return False
    if note == "Strict":
        return not thing.strict
    if note == "FieldInfo":
        return any(own_reading(one) for one in thing.metadata)
    if isinstance(thing, type):
        return any(_reads_itself(base) for base in thing.__mro__)
    return hasattr(thing, "__get_pydantic_core_schema__")


def _reads_itself(base: type) -> bool:
    if base.__module__.partition(".")[0] in {"pydantic", "builtins", "enum"}:
        return False
    own = {"__get_pydantic_core_schema__", "_missing_"}
    decorators = vars(base).get("__pydantic_decorators__")
    return not own.isdisjoint(vars(base)) or (decorators is not None and _decorated(decorators))


def _decorated(decorators: Any) -> bool:
    before = [one.info.mode != "after" for one in decorators.model_validators.values()]
    return any(before) or bool(decorators.model_serializers or decorators.field_serializers)


def _of_model(kind: Any) -> dict[str, Any] | None:
    """Leave alone what has other names in JSON, takes more fields than it has, is read loosely, or is no object."""
    config = kind.model_config
    if kind.__pydantic_root_model__ or config.get("extra") == "allow" or config.get("strict") is False:
        return None
    fields = kind.model_fields
    if any(field.alias or field.validation_alias or field.serialization_alias for field in fields.values()):
        return None
    checks = kind.__pydantic_decorators__.field_validators.values()
    loose = {name for one in checks if one.info.mode != "after" for name in one.info.fields}
    loose |= {name for name, field in fields.items() if "*" in loose or any(map(own_reading, field.metadata))}
    found = {name: Any if name in loose else field.annotation for name, field in fields.items()}
    return {**found, **{name: one.return_type for name, one in kind.model_computed_fields.items()}}
