"""A function's signature read as the form of its payload: each parameter is a field. Needs no pydantic."""

from __future__ import annotations

import inspect
import typing
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_KINDS: Final = {
    inspect.Parameter.VAR_POSITIONAL: "*{0} takes any number of values: name each, or take one list",
    inspect.Parameter.VAR_KEYWORD: "**{0} takes any name, so a misspelt field would go unnoticed: name each parameter",
    inspect.Parameter.POSITIONAL_ONLY: "parameter {0} stands before the '/', but a payload gives values by name",
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One field of a payload: its name, its type, and the default that holds when it is left out."""

    name: str
    annotation: Any
    required: bool
    default: Any = None


def read_parameters(fn: Callable[..., Any], *, may_yield: bool = False) -> tuple[Parameter, ...]:
    """
    Return what a task takes.

    Args:
        may_yield: Whether it may be a generator, as a stage that fans out is.
    Raises: TypeError that names the parameter, if the function cannot be called with a JSON object.
    """
    _refuse_kind(fn, may_yield=may_yield)
    names = inspect.unwrap(fn).__globals__
    return tuple(_read(parameter, names) for parameter in inspect.signature(fn).parameters.values())


def read_returns(fn: Callable[..., Any]) -> Any:
    """
    Return the type of what a function returns; Any when it says nothing.

    Raises: TypeError, if what it says is no type.
    """
    annotation = inspect.signature(fn).return_annotation
    if annotation is inspect.Signature.empty:
        return Any
    return _resolved("return", annotation, inspect.unwrap(fn).__globals__)


def _refuse_kind(fn: Callable[..., Any], *, may_yield: bool) -> None:
    plain = inspect.unwrap(fn)
    if inspect.iscoroutinefunction(plain) or inspect.isasyncgenfunction(plain):
        raise TypeError("is an async function, which the engine does not run: write it as a plain def")
    if inspect.isgeneratorfunction(plain) and not may_yield:
        raise TypeError("yields, but a task returns one result: return a list")


def _read(parameter: inspect.Parameter, names: dict[str, Any]) -> Parameter:
    name, bare = parameter.name, parameter.empty
    if parameter.kind in _KINDS:
        raise TypeError(_KINDS[parameter.kind].format(name))
    if parameter.annotation is bare and name in {"self", "cls"}:
        raise TypeError(f"takes {name}, so it stands in a class: write it as a plain function, outside of any class")
    if parameter.annotation is bare:
        raise TypeError(f"parameter {name} has no type: write {name}: str, or whatever it takes")
    if type(parameter.default).__name__ == "FieldInfo":
        raise TypeError(f"parameter {name} has a Field as its default: write {name}: Annotated[…, Field(…)] instead")
    required = parameter.default is bare
    annotation = _resolved(name, parameter.annotation, names)
    return Parameter(name, annotation, required, None if required else parameter.default)


def _resolved(name: str, annotation: Any, names: dict[str, Any]) -> Any:
    """Evaluate an annotation that is text, as all are under `from __future__ import annotations`."""
    holder = SimpleNamespace(__annotations__={name: annotation})
    what = "the return value" if name == "return" else f"parameter {name}"
    try:
        return typing.get_type_hints(holder, globalns=names, include_extras=True)[name]
    except NameError as error:
        reason = f"{what}: its type {annotation} needs {error.name}, which is not there when the file runs"
        raise TypeError(f"{reason}: import it, and not under `if TYPE_CHECKING`") from None
    except Exception as error:
        raise TypeError(f"{what}: {annotation!r} is no type: {error}") from error
