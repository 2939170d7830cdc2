"""
The form of a task's payload, checked by pydantic. Built once per task: what is slow happens when the jobs are loaded.

The payload is a typed dictionary and no model: any parameter name is allowed in it, only the given fields come out
(so the function's own defaults hold), and it is the fastest thing that pydantic checks.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NotRequired, Required

from pydantic import ConfigDict, PydanticInvalidForJsonSchema, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python
from typing_extensions import TypedDict

from millrace.define.payload import strict_json
from millrace.define.terms import formats_of, takes_text, type_words
from millrace.define.wording import problems_of
from millrace.errors import PayloadError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from millrace.define.signature import Parameter

_EXISTING: Final = frozenset({"file-path", "directory-path"})
_STRICT: Final = ConfigDict(extra="forbid", strict=True)


class Shape:
    """
    What the payload of a task, or the inputs of a pipeline, must look like.

    Args:
        owner: Whose payload it is, for messages: "task report"; a bare name is a task's.
        parameters: The function's parameters.
        closed: Whether fields that a model inside does not know are refused, unless it says otherwise itself: right
            for what people write. What another stage made may be more than what this one asks for, such as a subclass.
        where: What problems call the payload as a whole.
    Raises: TypeError that names the parameter, if a type cannot be checked or has no JSON form.
    """

    def __init__(
        self, owner: str, parameters: Sequence[Parameter], *, closed: bool = True, where: str = "payload"
    ) -> None:
        self._owner = owner if " " in owner else f"task {owner}"
        self._where = where
        self._parameters = {parameter.name: parameter for parameter in parameters}
        try:
            adapter = TypeAdapter(_typed_dict(parameters))
            self.schema: dict[str, Any] = adapter.json_schema()
        except Exception as error:
            raise TypeError(_unfit(parameters, error)) from error
        self._add_defaults()
        self._validate = adapter.validator.validate_json
        self._extra: Any = None if not closed or _takes_extra(adapter.core_schema) else "forbid"

    def arguments(self, text: str) -> dict[str, Any]:
        """
        Return the arguments that a payload stands for.

        Args:
            text: Canonical JSON.
        Raises: PayloadError that names each field which does not fit.
        """
        try:
            arguments: dict[str, Any] = self._validate(text, strict=True, extra=self._extra)
        except ValidationError as error:
            raise PayloadError(problems_of(error, self.schema, self._owner, self._where)) from None
        except Exception as error:  # a validator of the site's own; its bug must not become the caller's 500
            reason = f"could not be checked by {self._owner}: {type(error).__name__}: {error!s:.200}"
            raise PayloadError([Problem(self._where, reason)]) from error
        return arguments

    def from_words(self, words: Mapping[str, str]) -> dict[str, Any]:
        """Return the JSON values that words of the command line stand for; what stands for nothing stays a string."""
        return {name: self._value_of(name, word) for name, word in words.items()}

    def parameters(self) -> list[dict[str, Any]]:
        """Return name, type, required and default of each parameter, as `tasks show` gives them."""
        return [
            {
                "name": parameter.name,
                "type": type_words(self.schema["properties"][parameter.name], self.schema),
                "required": parameter.required,
                "default": _jsonable(parameter.default),
            }
            for parameter in self._parameters.values()
        ]

    def _add_defaults(self) -> None:
        for parameter in self._parameters.values():
            if not parameter.required:
                self.schema["properties"][parameter.name].setdefault("default", _jsonable(parameter.default))

    def _value_of(self, name: str, word: str) -> Any:
        """
        Read one word by its parameter's type.

        A word is text, so a type that takes text gets it as it is. Other types get the JSON that it spells (`5`,
        `[1,2]`, `null`), and what is no JSON is converted the way people write it (`yes`, `007`).
        """
        if name not in self._parameters:
            return word
        node = self.schema["properties"][name]
        if formats_of(node, self.schema) & _EXISTING and os.path.exists(word):  # noqa: PTH110 - never raises
            return str(Path(word).absolute())  # the daemon that will open it works in another folder
        adapter: TypeAdapter[Any] = TypeAdapter(self._parameters[name].annotation)
        for text in (json.dumps(word), word):
            if _fits(adapter, text):
                return json.loads(text)
        try:
            return adapter.dump_python(adapter.validate_strings(word), mode="json")
        except Exception:  # noqa: BLE001 - a site's validator may raise anything; the check to come says what is wrong
            return word if takes_text(node, self.schema) else _json_or_text(word)


def _fits(adapter: TypeAdapter[Any], text: str) -> bool:
    try:
        strict_json(text)
        adapter.validate_json(text, strict=True)
    except Exception:  # noqa: BLE001 - as above
        return False
    return True


def _json_or_text(word: str) -> Any:
    try:
        return strict_json(word)
    except PayloadError:
        return word


def _typed_dict(parameters: Sequence[Parameter]) -> Any:
    fields = {p.name: Required[p.annotation] if p.required else NotRequired[p.annotation] for p in parameters}
    make: Any = TypedDict  # its fields are known only now, which no type checker can follow
    shape = make("Payload", fields)
    shape.__pydantic_config__ = _STRICT
    return shape


def _unfit(parameters: Sequence[Parameter], error: Exception) -> str:
    """Say which parameter has a type that cannot be a field: pydantic speaks of the whole."""
    for parameter in parameters:
        try:
            TypeAdapter(_typed_dict([parameter])).json_schema()
        except PydanticInvalidForJsonSchema:
            return f"parameter {parameter.name}: its type cannot be written in JSON"
        except Exception as single:  # noqa: BLE001 - whatever pydantic or a type of the site's raises is the answer
            return f"parameter {parameter.name}: its type cannot be checked: {first_line(single)}"
    return f"the parameters cannot be checked together: {first_line(error)}"


def first_line(error: Exception) -> str:
    """Return what pydantic has to say of a type that it cannot check, shortened."""
    text = next(iter(str(error).splitlines()), type(error).__name__)
    return text.partition(". Set `arbitrary_types_allowed")[0]  # advice for a model, which no parameter is


def _jsonable(value: object) -> Any:
    return to_jsonable_python(value, fallback=repr)


def _takes_extra(node: Any) -> bool:
    """
    Return whether a model inside says itself that it takes, or drops, fields that it does not know.

    Where a model says nothing, pydantic drops them silently, and a misspelt field would be lost without a word. The
    flag that refuses them overrules every model, so it is set only where none wants otherwise.
    """
    if isinstance(node, dict):
        config = node.get("config") or {}
        if config.get("extra_fields_behavior") in {"allow", "ignore"}:
            return True
        return any(_takes_extra(part) for key, part in node.items() if key != "config")
    return isinstance(node, (list, tuple)) and any(_takes_extra(part) for part in node)
