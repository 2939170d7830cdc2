"""The page of the command line: from the tree of commands and their help."""
# ruff: noqa: INP001 - scripts beside the pages that they write

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import click

from millrace.cli.main import cli

if TYPE_CHECKING:
    from collections.abc import Iterator

WIDTH: Final = 100


def commands() -> Iterator[str]:
    """Yield the page of the command line, as its own help tells it."""
    yield "# Commands\n"
    yield "`millrace [-c config.toml] COMMAND`. Results go to stdout, talk and errors to stderr. `--json` gives one"
    yield "JSON document. Ids may be shortened to a start that no other job has. What touches several jobs asks, or"
    yield "takes `--yes`. `NO_COLOR` and pipes are plain.\n"
    yield "## Exit codes\n\n| code | meaning |\n|---|---|"
    yield from _exit_codes()
    yield ""
    for path, command in _tree(cli, ("millrace",)):
        yield f"## {' '.join(path)}\n\n```text\n{_help(path, command)}\n```\n"


def _exit_codes() -> Iterator[str]:
    text = " ".join((cli.epilog or "").replace("\b", "").split()).removeprefix("Exit codes: ").removesuffix(".")
    for code, meaning in re.findall(r"(\d+) (.+?)(?=, \d+ |$)", text):
        yield f"| {code} | {meaning} |"
    yield "| 130, 141 | interrupted (Ctrl-C); the reader of the output has gone |"


def _tree(command: click.Command, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None:
                yield from _tree(below, (*path, name))


def _help(path: tuple[str, ...], command: click.Command) -> str:
    context = click.Context(command, info_name=" ".join(path), terminal_width=WIDTH, max_content_width=WIDTH)
    context.help_option_names = ["-h", "--help"]
    return "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
