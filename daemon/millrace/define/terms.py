"""What a field's type is called, as a person says it, read from its JSON schema."""

from __future__ import annotations

import json
from typing import Any, Final

Schema = dict[str, Any]

_BASES: Final = {"integer": "whole number", "number": "number", "boolean": "true or false", "null": "null"}
_FORMATS: Final = {
    "date": ("date", "2026-12-31"),
    "date-time": ("date and time", "2026-12-31T06:00:00Z"),
    "time": ("time of day", "06:00:00"),
    "duration": ("duration", "PT5M"),
    "uuid": ("UUID", "0199e0a4-5c6b-7d2e-8f3a-4b5c6d7e8f90"),
    "uri": ("address", "https://example.com/"),
    "email": ("mail address", "ada@example.com"),
    "path": ("path", "inbox/leads.csv"),
    "file-path": ("existing file", "inbox/leads.csv"),
    "directory-path": ("existing folder", "inbox"),
}
# How a lower and an upper bound are said: both, the lower alone, the upper alone.
_RANGES: Final = (
    ("minimum", "maximum", "from {} to {}", "from {} on", "up to {}"),
    ("exclusiveMinimum", "exclusiveMaximum", "above {} and below {}", "above {}", "below {}"),
    ("minLength", "maxLength", "of {} to {} characters", "of {} or more characters", "of up to {} characters"),
    ("minItems", "maxItems", "with {} to {} items", "with {} or more items", "with up to {} items"),
)


def type_words(node: Schema, root: Schema, *, examples: bool = False) -> str:
    """
    Return a field's type in words: `whole number from 1 to 5`, `"day" or "month"`, `list of text`.

    Args:
        examples: Whether to add one where the type's name does not tell how it is written: `date such as "2026-12-31"`.
            What the field itself gives as an example is always added.
    """
    node = resolved(node, root)
    own = f" such as {_quoted(node['examples'][0])}" if node.get("examples") else ""
    for key in ("anyOf", "oneOf"):
        if key in node:
            return (
                " or ".join(dict.fromkeys(type_words(p, root, examples=examples and not own) for p in node[key])) + own
            )
    if "enum" in node or "const" in node:
        return " or ".join(_quoted(choice) for choice in node.get("enum", [node.get("const")]))
    words = [_base_words(node, root)]
    if not own:
        usual = _FORMATS.get(str(node.get("format")))
        own = f' such as "{usual[1]}"' if usual and examples else ""
        words += [f"that matches {node['pattern']}"] if "pattern" in node else []
    return " ".join([*words, *_range_words(node)]) + own


def formats_of(node: Schema, root: Schema) -> set[str]:
    """Return the formats that a field takes, such as "file-path"."""
    node = resolved(node, root)
    inner = [part for key in ("anyOf", "oneOf") for part in node.get(key, ())]
    return {str(node["format"])} if "format" in node else {one for part in inner for one in formats_of(part, root)}


def sentence_words(node: Schema, root: Schema) -> str:
    """Return what a value must be, to follow "must be": `a whole number from 1 to 5`. Null goes without saying."""
    node = resolved(node, root)
    real = [part for part in node.get("anyOf", ()) if resolved(part, root).get("type") != "null"]
    words = type_words({**node, "anyOf": real} if real else node, root, examples=True)
    plain = words.startswith(('"', "text", "true", "null", "anything")) or not words[:1].isalpha()
    return words if plain else f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def takes_text(node: Schema, root: Schema) -> bool:
    """Return whether a field may be a JSON string, as far as its schema tells."""
    node = resolved(node, root)
    if "anyOf" in node or "oneOf" in node:
        return any(takes_text(part, root) for part in node.get("anyOf") or node["oneOf"])
    return str(node.get("type", "string")) == "string"


def resolved(node: Schema, root: Schema) -> Schema:
    """Follow references to where a schema stands; what stands beside a reference holds as well."""
    while "$ref" in node:
        beside = {key: value for key, value in node.items() if key != "$ref"}
        node = {**root.get("$defs", {}).get(str(node["$ref"]).rpartition("/")[2], {}), **beside}
    return node


def _base_words(node: Schema, root: Schema) -> str:
    kind = node.get("type")
    if kind == "array":
        return f"list of {_plural(type_words(node['items'], root))}" if node.get("items") else "list"
    if kind == "string":
        form = str(node.get("format", "text"))
        return _FORMATS[form][0] if form in _FORMATS else form
    if kind == "object":
        return f"{node['title']} object" if "properties" in node and "title" in node else "object"
    words = _BASES.get(str(kind), "anything")
    return f"{words} divisible by {_number(node['multipleOf'])}" if "multipleOf" in node else words


def _range_words(node: Schema) -> list[str]:
    found = []
    for low, high, both, lower, upper in _RANGES:
        if "prefixItems" in node or not ({low, high} & node.keys()):
            continue
        bounds = [_number(node[key]) for key in (low, high) if key in node]
        words = (both if len(bounds) > 1 else lower if low in node else upper).format(*bounds)
        found.append(words.replace(" 1 characters", " 1 character").replace(" 1 items", " 1 item"))
    return found


def _plural(words: str) -> str:
    return f"{words}s" if words.endswith(("number", "object", "date", "duration", "path", "UUID")) else words


def _number(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _quoted(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
