"""On which line of config.toml a key stands: tomllib does not tell, and a message without the line costs a search."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_HEADER: Final = re.compile(r"\s*(\[\[?)([^\]]+)\]\]?\s*(?:#.*)?")
_KEY: Final = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")


def key_lines(text: str) -> dict[tuple[str, ...], int]:
    """
    Return the line (from 1) of each table and key; `[[tables]]` that repeat are numbered from 0, as a list is. What
    looks like a key inside a text of several lines is taken for one; nobody asks for it.
    """
    lines: dict[tuple[str, ...], int] = {}
    repeated: Counter[tuple[str, ...]] = Counter()
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.fullmatch(line):
            name = _path(header[2])
            repeated[name] += header[1] == "[["
            table = _numbered(name, repeated)
            lines.setdefault(table, number)
        elif key := _KEY.match(line):
            lines.setdefault((*table, *_path(key[1])), number)
    return lines


def line_of(path: Sequence[object], lines: Mapping[tuple[str, ...], int]) -> int | None:
    """Return the line of a key, or else of the nearest table around it; None if the file does not have it at all."""
    parts = tuple(map(str, path))
    for length in range(len(parts), 0, -1):
        if parts[:length] in lines:
            return lines[parts[:length]]
        below = [number for key, number in lines.items() if key[:length] == parts[:length]]
        if below:  # `[queues.io]` stands for `queues` too
            return min(below)
    return None


def _numbered(name: tuple[str, ...], repeated: Counter[tuple[str, ...]]) -> tuple[str, ...]:
    """Say which of the tables of one name it is, or is inside of: the last one so far."""
    path: list[str] = []
    for length, part in enumerate(name, 1):
        path.append(part)
        if count := repeated[name[:length]]:
            path.append(str(count - 1))
    return tuple(path)


def _path(key: str) -> tuple[str, ...]:
    try:
        node: Any = tomllib.loads(f"{key} = 0")
    except tomllib.TOMLDecodeError:
        return ()
    path = []
    while isinstance(node, dict):
        name, node = next(iter(node.items()))
        path.append(name)
    return tuple(path)
