"""
What of a JSON text does not hang on the order in which a process happens to hold its values. A set has no order, and
gets another one in each process; so has an object whose keys were gathered from one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_WRITE: Final = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode
_NAMED: Final = ("properties", "$defs")  # members that are schemas, by a name of the site's own
_LISTED: Final = ("anyOf", "oneOf", "allOf", "prefixItems")
_SAYS: Final = frozenset({"type", "$ref", "enum", "const", *_LISTED})


def is_fixed(schema: Any) -> bool:
    """
    Return whether all values of a JSON schema are written in one order: nothing in them is a set, free of form, or has
    keys that the schema does not name.
    """
    if not isinstance(schema, dict) or not (_SAYS & schema.keys()) or schema.get("uniqueItems"):
        return False
    if schema.get("type") == "object" and (
        "properties" not in schema or schema.get("additionalProperties") or "patternProperties" in schema
    ):
        return False
    if schema.get("type") == "array" and not {"items", "prefixItems"} & schema.keys():
        return False
    return all(map(is_fixed, _parts(schema)))


def _parts(schema: dict[str, Any]) -> Iterator[Any]:
    for name in _NAMED:
        yield from schema.get(name, {}).values()
    for name in _LISTED:
        yield from schema.get(name, ())
    if "items" in schema:
        yield schema["items"]


def order_free(text: str) -> str:
    """Return a text that is the same for JSON texts which differ only in the order of keys, or in that of elements."""
    if text[:1] not in ("{", "["):
        return text
    try:
        return _WRITE(_sorted(json.loads(text)))
    except (ValueError, RecursionError):  # longer numbers, or deeper, than can be read: it stands for itself
        return text


def _sorted(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _sorted(one) for key, one in value.items()}
    return sorted(map(_sorted, value), key=_WRITE) if isinstance(value, list) else value
