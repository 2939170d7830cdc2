"""How results are printed: JSON for programs, plain lines for people."""

from __future__ import annotations

import json
from typing import Any, Final

import click

_COLORS: Final = {
    "succeeded": "green",
    "running": "cyan",
    "dead": "red",
    "ok": "green",
    "warn": "yellow",
    "fail": "red",
}

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def echo_json(document: object) -> None:
    """Print one JSON document."""
    click.echo(json.dumps(document, indent=2, ensure_ascii=False))


def one_line(value: Any) -> str:
    """Return a JSON value on one line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def colored(word: str, by: str | None = None) -> str:
    """Return a word in the color of its status; the terminal decides whether it is shown."""
    color = _COLORS.get(by or word)
    return click.style(word, fg=color) if color else word


def plural(count: int, one: str, many: str = "") -> str:
    """Return "1 job", "2 jobs", "9,240 jobs"."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def plain(text: str) -> str:
    """
    Return text on one line without control characters.

    Messages of jobs hold what outside systems sent: an escape sequence in it must not reach the terminal.
    """
    return "".join(character if character.isprintable() else " " for character in text)


def plain_lines(text: str) -> list[str]:
    """Return the lines of a text, each without control characters."""
    return [plain(line.expandtabs()) for line in text.splitlines()]
