"""Settings as TOML that can be read again: the standard library reads TOML and does not write it."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from millrace.clock import format_duration, parse_duration
from millrace.config.sizes import format_size, parse_size

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Path = tuple[str, ...]

_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")
# Held as seconds and bytes, written as text; by (section, key), as a site's own [settings] may use the same words.
_DURATIONS: Final = frozenset(
    {(section, key) for section in ("defaults",) for key in ("timeout", "grace", "drain", "child_idle")}
    | {("queues", "max_wait")}
    | {("schedules", key) for key in ("every", "catch_up_window", "jitter")}
    | {("backup", "every"), ("backup", "test_every")}
    | {("retention", key) for key in ("succeeded", "cancelled", "dead", "runs", "audit")}
)
_RANGES: Final = frozenset({("defaults", "backoff")})
_DEEPEST: Final = 3  # section, name, key
_ROWS: Final = "rules"
_SIZES: Final = frozenset(
    {("web", "max_body"), ("queues", "memory"), ("retention", "max_size"), ("storage", "reserve")}
)


def leaves(tree: Mapping[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield each value that is no table, with its path."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def toml(tree: Mapping[str, Any], origin: Callable[[str], str] | None = None) -> str:
    """
    Return settings as TOML.

    Args:
        origin: Returns where a dotted key was set, for the comment behind it; None writes no comments.
    """
    plain = {section: table for section, table in tree.items() if section != _ROWS}
    blocks = ["\n".join(_table(path, table, origin)) for path, table in _tables(plain, ())]
    return "\n\n".join([*blocks, *_rows(tree.get(_ROWS, {}), origin)])


def _rows(tables: Mapping[str, Any], origin: Callable[[str], str] | None) -> Iterator[str]:
    """Yield each row of the decision tables, under a header of its own as people write them."""
    for name, rows in tables.items():
        header = f"[[{_ROWS}.{_key(name)}]]"
        for number, row in enumerate(rows):
            lines = [f"{key} = {_plain(value)}" for key, value in row.items() if value != {}]
            yield "\n".join([f"{header}  # {origin(f'{_ROWS}.{name}.{number}')}" if origin else header, *lines])


def _tables(tree: Mapping[str, Any], path: Path) -> Iterator[tuple[Path, Mapping[str, Any]]]:
    """Yield the tables that must be written: those with values, and empty ones, whose presence means something."""
    if path and (not tree or any(not isinstance(value, dict) for value in tree.values())):
        yield path, tree
    for key, value in tree.items():
        if isinstance(value, dict) and (value or path):
            yield from _tables(value, (*path, key))


def _table(path: Path, table: Mapping[str, Any], origin: Callable[[str], str] | None) -> Iterator[str]:
    yield f"[{'.'.join(map(_key, path))}]"
    lines = [
        (key, f"{_key(key)} = {_value((*path, key), value)}")
        for key, value in table.items()
        if not isinstance(value, dict)
    ]
    widest = max((len(line) for _, line in lines), default=0)
    for key, line in lines:
        yield f"{line:<{widest}}  # {origin('.'.join((*path, key)))}" if origin else line


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else json.dumps(key)


def _value(path: Path, value: Any) -> str:
    place = (path[0], path[-1]) if len(path) <= _DEEPEST else ()  # deeper are the site's own: a schedule's payload
    if place in _RANGES:
        return json.dumps("..".join(map(_duration, value)))
    if place in _DURATIONS:
        return json.dumps(_duration(value))
    if place in _SIZES:
        return json.dumps(_size(value))
    return _plain(value)


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_plain, value))}]"
    if isinstance(value, dict):  # inside a list
        return "{" + ", ".join(f"{_key(key)} = {_plain(part)}" for key, part in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _duration(seconds: float) -> str:
    """Return a duration as text that means exactly the same."""
    text = format_duration(seconds)
    try:
        exact = parse_duration(text) == seconds
    except ValueError:
        exact = False
    return text if exact else f"{seconds:f}".rstrip("0").rstrip(".") + "s"


def _size(count: int) -> str:
    text = format_size(count)
    return text if parse_size(text) == count else f"{count}B"
