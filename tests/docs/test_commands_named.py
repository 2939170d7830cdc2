"""Messages, pages and comments send people to commands; each of them must be there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from millrace.cli.main import cli
from tests.docs.console import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# As it is typed: after a prompt, a quote, a bracket, a colon, or in the margin of a comment.
TYPED = re.compile(r"""(?:[`"'(]|\$ |: |# {2,}|\b(?:run|with) )(?:\.venv/bin/)?millrace ([a-z]+)(?: ([a-z]+))?""")
NO_COMMANDS = {"import"}  # "from millrace import …"


def _texts() -> Iterator[Path]:
    for place in ("daemon", "jobs", "docs", "systemd"):
        yield from (path for path in (ROOT / place).rglob("*") if path.suffix in {".py", ".md", ".service", ".toml"})
    yield from (ROOT / name for name in ("README.md", "CHANGELOG.md", "config.toml", "Makefile"))


def test_every_command_that_is_named_exists() -> None:
    """Somebody who is told to call `millrace tokens`, and has no such command, has two problems."""
    context = click.Context(cli)
    known = set(cli.list_commands(context))
    below = {
        name: set(group.list_commands(context))
        for name in known
        if isinstance(group := cli.get_command(context, name), click.Group)
    }
    named = 0
    for path in _texts():
        for first, second in TYPED.findall(path.read_text()):
            if first in NO_COMMANDS:
                continue
            named += 1
            assert first in known, f"{path.relative_to(ROOT)}: millrace {first}"
            assert not second or first not in below or second in below[first], f"{path}: millrace {first} {second}"
    assert named > 50
