"""What pydantic found, in Millrace's words: the path of the field, the reason, and what would be right."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from millrace.define.payload import place, shown
from millrace.errors import Problem, did_you_mean

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

Schema = dict[str, Any]

_EXTRA: Final = frozenset({"extra_forbidden", "unexpected_keyword_argument"})
_MISSING: Final = frozenset({"missing", "missing_argument", "missing_keyword_only_argument"})
_BOUNDS: Final = {
    "minimum": "≥ {}", "exclusiveMinimum": "> {}", "maximum": "≤ {}", "exclusiveMaximum": "< {}",
    "pattern": "like {}", "minLength": "of {} characters or more", "maxLength": "of {} characters at most",
}  # fmt: skip
_FORMATS: Final = {"date": "2026-12-01", "date-time": "2026-12-01T06:00:00Z", "time": "06:00:00", "duration": "PT5M"}


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where a problem is: its path, what the schema wants there, and what it says of the holder."""

    path: str
    wanted: Schema
    holder: Schema


def problems_of(error: ValidationError, schema: Schema, task: str) -> list[Problem]:
    """
    Return one problem for each field that does not fit.

    Args:
        error: What pydantic raised.
        schema: The JSON schema of the payload, for the words of a suggestion.
        task: The task's name.
    """
    found: dict[str, Problem] = {}
    for detail in error.errors(include_url=False, include_context=False):
        spot = _walk(detail["loc"], schema)
        if spot.path in found:  # pydantic tells of each member of a union; all of them together are the type
            reason, hint = f"fits none of its types, got {shown(detail['input'])}", _wanted(spot.wanted, schema)
            found[spot.path] = Problem(spot.path, reason, hint)
        else:
            found[spot.path] = _problem(detail, spot, schema, task)
    return list(found.values())


def type_words(node: Schema, root: Schema) -> str:
    """Return a field's type as a person says it: `whole number ≥ 1`, `date`, `"day" or "month"`, `list of text`."""
    node = _resolved(node, root)
    for key in ("anyOf", "oneOf"):
        if key in node:
            return " or ".join(dict.fromkeys(type_words(part, root) for part in node[key]))
    if "enum" in node or "const" in node:
        return " or ".join(json.dumps(choice, ensure_ascii=False) for choice in node.get("enum", [node.get("const")]))
    words = _base_words(node, root)
    bounds = ", ".join(text.format(node[key]) for key, text in _BOUNDS.items() if key in node)
    return f"{words} {bounds}".rstrip()


def takes_text(node: Schema, root: Schema) -> bool:
    """Return whether a field may be a JSON string, as far as its schema tells."""
    node = _resolved(node, root)
    if "anyOf" in node or "oneOf" in node:
        return any(takes_text(part, root) for part in node.get("anyOf") or node["oneOf"])
    return str(node.get("type", "string")) == "string"


def _base_words(node: Schema, root: Schema) -> str:
    kind = node.get("type")
    if kind == "array":
        return f"list of {type_words(node['items'], root)}" if node.get("items") else "list"
    if kind == "string":
        return str(node.get("format", "text"))
    if kind == "object":
        return str(node.get("title", "object")) if "properties" in node else "object"
    names = {"integer": "whole number", "number": "number", "boolean": "true or false", "null": "null"}
    return names.get(str(kind), "anything")


def _problem(detail: ErrorDetails, spot: _Spot, root: Schema, task: str) -> Problem:
    if detail["type"] in _EXTRA:
        holder = f"task {task}" if spot.holder is root else str(spot.holder.get("title", "this object"))
        hint = did_you_mean(str(detail["loc"][-1]), spot.holder.get("properties", ())).strip()
        return Problem(spot.path, f"is no field of {holder}", hint or None)
    if detail["type"] in _MISSING:
        return Problem(spot.path, "is missing", _wanted(spot.wanted, root))
    message = detail["msg"].removeprefix("Value error, ")
    reason = f"{message[:1].lower()}{message[1:]}, got {shown(detail['input'])}"
    return Problem(spot.path, reason, _hint(detail["input"], spot.wanted, root))


def _hint(given: object, node: Schema, root: Schema) -> str | None:
    choices = [choice for choice in _resolved(node, root).get("enum", ()) if isinstance(choice, str)]
    if choices and isinstance(given, str):
        return did_you_mean(given, choices).strip() or None
    return _wanted(node, root)


def _wanted(node: Schema, root: Schema) -> str | None:
    node = _resolved(node, root)
    if not node:
        return None
    example = _FORMATS.get(str(node.get("format")))
    return f'write for example "{example}"' if example else f"wanted: {type_words(node, root)}"


def _walk(loc: tuple[int | str, ...], root: Schema) -> _Spot:
    """Follow pydantic's location through the schema."""
    path, node, parent = "payload", root, root
    for step in loc:
        here = _resolved(node, root)
        if "anyOf" in here or "oneOf" in here:
            inside = _member(here, step, root)
            if inside is None:  # the label of a union's member, which is no part of the path
                continue
            here = inside
        path, parent, node = place(path, step), here, _child(here, step)
    return _Spot(path, node, parent)


def _member(union: Schema, step: int | str, root: Schema) -> Schema | None:
    """Return the member of a union that has such a child; pydantic names the member first, except for `| None`."""
    members = [_resolved(part, root) for part in union.get("anyOf") or union["oneOf"]]
    real = [part for part in members if part.get("type") != "null"]
    return real[0] if len(real) == 1 else next((part for part in real if _child(part, step)), None)


def _child(node: Schema, step: int | str) -> Schema:
    if isinstance(step, str):
        child = node.get("properties", {}).get(step) or node.get("additionalProperties")
    else:
        child = dict(enumerate(node.get("prefixItems", ()))).get(step) or node.get("items")
    return child if isinstance(child, dict) else {}


def _resolved(node: Schema, root: Schema) -> Schema:
    while "$ref" in node:
        node = root.get("$defs", {}).get(str(node["$ref"]).rpartition("/")[2], {})
    return node
