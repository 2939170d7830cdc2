"""What a run of a pipeline is given: `inputs={"path": FilePath, "month": (Month, "2026-01")}`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from millrace.define.payload import canonical, read, result_json, shown
from millrace.define.signature import Parameter
from millrace.errors import MillraceError, PayloadError, Problem

if TYPE_CHECKING:
    from millrace.define.shape import Shape

WHERE: Final = "inputs"


class Inputs:
    """
    The inputs of one pipeline.

    Args:
        pipeline: Its name, for messages.
        given: Type, or type and default, by name.
    Raises: TypeError or ValueError, if it is no mapping of that form.
    """

    def __init__(self, pipeline: str, given: Any) -> None:
        if not isinstance(given, Mapping):
            raise TypeError(f'inputs are a mapping of names to types, such as {{"path": FilePath}}, not {given!r}')
        self._owner = f"pipeline {pipeline}"
        self.parameters = tuple(_parameter(name, kind) for name, kind in given.items())

    @cached_property
    def shape(self) -> Shape:
        """
        The form of the inputs.

        Raises: TypeError that names the input, if its type cannot be checked or its default does not fit it.
        """
        from millrace.define.shape import Shape

        try:
            shape = Shape(self._owner, self.parameters, where=WHERE)
        except TypeError as error:
            raise TypeError(str(error).replace("parameter", "input", 1)) from error
        for one in self.parameters:
            if not one.required:
                _check_default(one)
        return shape

    def check(self, text: str | bytes, *, max_bytes: int | None = None) -> str:
        """
        Check inputs that are given as JSON text, strictly.

        Returns: All inputs as canonical JSON, with the defaults of those that were not given.
        Raises: PayloadError that names each input which does not fit; TooLarge.
        """
        return self.check_value(read(text, max_bytes=max_bytes, where=WHERE)[0])

    def check_value(self, given: object) -> str:
        """Check inputs that are parsed already; the verdicts are those of `check`."""
        text = canonical(given, where=WHERE)
        if not isinstance(given, dict):
            reason = f"must be a JSON object, not {shown(given)}"
            raise PayloadError([Problem(WHERE, reason, 'such as {"name": "value"}')])
        self.shape.arguments(text)
        return canonical({**self.defaults, **given}, where=WHERE)

    def from_words(self, words: Mapping[str, str]) -> str:
        """Check the `name=value` words of a command line, each read by the type of its input."""
        return self.check_value(self.shape.from_words(words))

    def describe(self) -> list[dict[str, Any]]:
        """Return name, type, required and default of each."""
        return self.shape.parameters()

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """The JSON values of those that need not be given."""
        return {one.name: json.loads(result_json(one.default)) for one in self.parameters if not one.required}


def _parameter(name: Any, kind: Any) -> Parameter:
    if not (isinstance(name, str) and name.isidentifier()):
        raise ValueError(f"{name!r} cannot be the name of an input: stages ask for it as a parameter")
    required = not isinstance(kind, tuple)
    if not required and len(kind) != 2:  # noqa: PLR2004 - type and default
        raise TypeError(f"input {name}: wanted a type, or a pair of type and default, not {kind!r}")
    annotation, default = (kind, None) if required else kind
    if isinstance(annotation, str):
        raise TypeError(f'input {name}: "{annotation}" is a text: write the type itself, without quotation marks')
    return Parameter(name, annotation, required, default)


def _check_default(one: Parameter) -> None:
    """Refuse a default that no run could use. A file that it names may come later."""
    from pydantic import TypeAdapter, ValidationError

    from millrace.define.wording import plain_reason

    what = f"input {one.name}: its default {one.default!r}"
    try:
        TypeAdapter(one.annotation).validate_json(result_json(one.default), strict=True)
    except ValidationError as error:
        details = [detail for detail in error.errors() if not detail["type"].startswith("path_")]
        if details:
            raise TypeError(f"{what} {plain_reason(details[0]['msg'])}") from None
    except MillraceError as error:
        raise TypeError(f"{what} has no JSON form: {error}") from None
