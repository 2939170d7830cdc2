"""Pydantic's findings in the words of config.toml: the reason, the value that was found, and what would be right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, get_args, get_origin

from pydantic import BaseModel

from millrace.config.find import NESTED, PREFIX
from millrace.config.settings import Settings
from millrace.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pydantic_core import ErrorDetails

# Sections of the contract that a later version brings: "did you mean" would send their author the wrong way.
LATER: Final = frozenset({"services", "watches", "webhooks", "alerts", "engine"})
_REASONS: Final = {
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be text in quotes",
    "string_too_short": "must not be empty",
    "string_too_long": "must be at most {max_length} characters",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "greater_than": "must be more than {gt}",
    "model_type": "must be a table, written [{table}]",
    "model_attributes_type": "must be a table, written [{table}]",
    "dict_type": "must be a table, written [{table}]",
    "list_type": "must be rows, each written under its own [[{table}]]",
    "too_short": "must not be empty",
    "too_big": "is too large",
}
_WITHHELD: Final = frozenset({"url"})  # may carry a password
_SHOWN: Final = 60


def problem_of(problem: ErrorDetails) -> str:
    """Return reason, value and suggestion of one finding, without its place."""
    path = [part for part in problem["loc"] if part != "[key]"]
    if problem["type"] == "extra_forbidden":
        return _unknown(path)
    if problem["type"] == "literal_error":
        return f"{_choices(path)}{_found(path, problem['input'])}"
    facts = {**problem.get("ctx", {}), "table": ".".join(map(str, path))}
    if problem["type"] == "value_error":
        return f"{facts['error']}{_found(path, problem['input'])}"
    reason = _REASONS.get(problem["type"], problem["msg"])
    return f"{reason.format(**facts)}{_found(path, problem['input'])}"


def path_words(path: Sequence[object]) -> str:
    """Return a path as config.toml has it; rows of a table are counted from 1: `rules.segment row 2 when.points`."""
    words = ""
    for part in path:
        if isinstance(part, int):
            words += f" row {part + 1} "
        else:
            words += f"{'.' if words and not words.endswith(' ') else ''}{part}"
    return words.strip()


def unknown_section(variable: str) -> str:
    """Return what is wrong with a variable that names no section."""
    section = section_of(variable)
    return f"{variable}: {section}: {_unknown([section])}"


def section_of(variable: str) -> str:
    """Return the section that a variable of the environment speaks of: MILLRACE_QUEUES__IO__WORKERS → queues."""
    return variable.removeprefix(PREFIX).partition(NESTED)[0].lower()


def _unknown(path: Sequence[object]) -> str:
    key = str(path[-1])
    if len(path) == 1 and key in LATER:
        return f"[{key}] is not in this version yet; take the section out"
    return f"unknown key.{did_you_mean(key, _known(path[:-1]))}"


def _choices(path: Sequence[object]) -> str:
    model = _model(path[:-1])
    annotation = model.model_fields[str(path[-1])].annotation if model else None
    return "must be one of " + ", ".join(f'"{choice}"' for choice in get_args(annotation))


def _found(path: Sequence[object], value: object) -> str:
    if isinstance(value, dict | list) or (path and path[-1] in _WITHHELD):
        return ""
    shown = f'"{value}"' if isinstance(value, str) else str(value).lower()
    return f" (is {shown if len(shown) <= _SHOWN else shown[:_SHOWN] + '…'})"


def _known(path: Sequence[object]) -> list[str]:
    model = _model(path)
    return sorted(model.model_fields) if model else []


def _model(path: Sequence[object]) -> type[BaseModel] | None:
    """Return the section that a path leads to: fields of models by name, any key of a dict."""
    node: Any = Settings
    for part in path:
        if isinstance(node, type) and issubclass(node, BaseModel):
            field = node.model_fields.get(str(part))
            node = field.annotation if field else None
        else:
            node = _inside(node)
    return node if isinstance(node, type) and issubclass(node, BaseModel) else None


def _inside(node: Any) -> Any:
    """Return what the members of a dict or a list are."""
    origin, parts = get_origin(node), get_args(node)
    if origin is Annotated:
        return _inside(parts[0])
    return parts[1] if origin is dict else parts[0] if origin is list else None
