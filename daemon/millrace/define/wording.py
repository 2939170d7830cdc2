"""What pydantic found, in Millrace's words: the path of the field, the reason, and what would be right."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final

from millrace.define.payload import place, shown
from millrace.define.terms import Schema, resolved, sentence_words, type_words
from millrace.errors import Problem, did_you_mean

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_EXTRA: Final = frozenset({"extra_forbidden", "unexpected_keyword_argument"})
_MISSING: Final = frozenset({"missing", "missing_argument", "missing_keyword_only_argument"})
# What pydantic finds, by the start of its code, when a value is not of the type that the schema tells.
_TYPE: Final = (
    *("string_type", "string_pattern", "string_too", "int_", "float_", "bool_", "list_", "tuple_", "set_"),
    *("frozen_set_", "dict_", "model_type", "model_attributes", "dataclass_type", "dataclass_exact", "path_", "uuid_"),
    *("literal_error", "enum", "greater_than", "less_than", "multiple_of", "too_", "none_", "url_", "date_type"),
    *("date_parsing", "date_from_datetime", "datetime_type", "datetime_parsing", "datetime_from", "datetime_object"),
    *("time_type", "time_parsing", "time_delta"),
)
_DECIMAL: Final = ("decimal_type", "decimal_parsing")
# What a path must name, and what it names instead.
_PATHS: Final = {"path_not_file": ("file", "folder"), "path_not_directory": ("folder", "file")}
_SHOULD: Final = re.compile(r"^.*?\bshould\b")


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where a problem is: its path, what the schema wants there, and what it says of the holder."""

    path: str
    wanted: Schema
    holder: Schema


def problems_of(error: ValidationError, schema: Schema, owner: str, where: str = "payload") -> list[Problem]:
    """
    Return one problem for each field that does not fit.

    Args:
        error: What pydantic raised.
        schema: The JSON schema of the payload, for the words of a suggestion.
        owner: Whose payload it is, such as "task report".
        where: What the problems call the outermost value.
    """
    found: dict[str, Problem] = {}
    for detail in error.errors(include_url=False, include_context=False):
        spot = _walk(detail["loc"], schema, where)
        if spot.path in found:  # pydantic tells of each member of a union; all of them together are the type
            reason = f"must be {sentence_words(spot.wanted, schema)}, got {shown(detail['input'])}"
            found[spot.path] = Problem(spot.path, reason)
        else:
            found[spot.path] = _problem(detail, spot, schema, owner)
    return list(found.values())


def _problem(detail: ErrorDetails, spot: _Spot, root: Schema, owner: str) -> Problem:
    if detail["type"] in _EXTRA:
        holder = owner if spot.holder is root else str(spot.holder.get("title", "this object"))
        hint = did_you_mean(str(detail["loc"][-1]), spot.holder.get("properties", ())).strip()
        return Problem(spot.path, f"is no field of {holder}", hint or None)
    if detail["type"] in _MISSING:
        return Problem(spot.path, "is missing", _wanted(spot.wanted, root))
    if detail["type"] in _PATHS and isinstance(detail["input"], str | PurePath):
        return Problem(spot.path, _path_reason(detail["type"], Path(detail["input"])))
    reason = f"{_reason(detail, spot.wanted, root)}, got {shown(detail['input'])}"
    return Problem(spot.path, reason, _hint(detail, spot.wanted, root))


def _reason(detail: ErrorDetails, node: Schema, root: Schema) -> str:
    """Say what the value must be; what the schema cannot tell, pydantic says, or the site's own check."""
    if detail["type"].startswith(_TYPE) and resolved(node, root):
        return f"must be {sentence_words(node, root)}"
    if detail["type"] in _DECIMAL:
        return "must be a number such as 12.50"
    return plain_reason(detail["msg"])


def _path_reason(code: str, path: Path) -> str:
    """Say where was looked: who reads it may stand in another folder than who looked."""
    what, other = _PATHS[code]
    if not path.exists():
        return f"there is no {what} {path.absolute()}"
    return f"{path.absolute()} is a {other}, and a {what} is wanted"


def plain_reason(message: str) -> str:
    """Return one of pydantic's messages as the predicate of a sentence: `must have no more than 2 decimal places`."""
    message = _SHOULD.sub("must", message.removeprefix("Value error, ").removeprefix("Assertion failed, "))
    return f"{message[:1].lower()}{message[1:]}"


def _hint(detail: ErrorDetails, node: Schema, root: Schema) -> str | None:
    given, node = detail["input"], resolved(node, root)
    if not isinstance(given, str):
        return None
    if "outside expected range" in detail["msg"]:
        return f"there is no such {'time' if 'hour' in detail['msg'] or 'minute' in detail['msg'] else 'day'}"
    if detail["type"].startswith(("int_", "float_", "bool_")) and _fits_bare(given, detail["type"]):
        return f"without the quotation marks: {given}"
    choices = [choice for choice in node.get("enum", ()) if isinstance(choice, str)]
    close = did_you_mean(given, choices).strip()
    return close if close.startswith("Did") else None


def _fits_bare(word: str, code: str) -> bool:
    """Whether a text would have been right as the JSON that it spells."""
    form = {"i": r"-?\d{1,15}", "f": r"-?\d{1,15}(\.\d{1,15})?", "b": "true|false"}[code[0]]
    return re.fullmatch(form, word, re.ASCII) is not None


def _wanted(node: Schema, root: Schema) -> str | None:
    node = resolved(node, root)
    return f"wanted: {type_words(node, root, examples=True)}" if node else None


def _walk(loc: tuple[int | str, ...], root: Schema, where: str) -> _Spot:
    """Follow pydantic's location through the schema."""
    path, node, parent = where, root, root
    for step in loc:
        here = resolved(node, root)
        if "anyOf" in here or "oneOf" in here:
            inside = _member(here, step, root)
            if inside is None:  # the label of a union's member, which is no part of the path
                continue
            here = inside
        path, parent, node = place(path, step), here, _child(here, step)
    return _Spot(path, node, parent)


def _member(union: Schema, step: int | str, root: Schema) -> Schema | None:
    """Return the member of a union that has such a child; pydantic names the member first, except for `| None`."""
    members = [resolved(part, root) for part in union.get("anyOf") or union["oneOf"]]
    real = [part for part in members if part.get("type") != "null"]
    return real[0] if len(real) == 1 else next((part for part in real if _child(part, step)), None)


def _child(node: Schema, step: int | str) -> Schema:
    if isinstance(step, str):
        child = node.get("properties", {}).get(step) or node.get("additionalProperties")
    else:
        child = dict(enumerate(node.get("prefixItems", ()))).get(step) or node.get("items")
    return child if isinstance(child, dict) else {}
