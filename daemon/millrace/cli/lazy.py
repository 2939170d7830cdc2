"""A group whose commands are imported when they are called, so that the help and the short commands answer at once."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import click

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from click.shell_completion import CompletionItem

    from millrace.cli.commands import Entry

PIPE_CLOSED: Final = 141  # 128 + SIGPIPE, as shells have it
_PACKAGE: Final = "millrace.cli"


class LazyGroup(click.Group):
    """
    A click group over a table of commands.

    Args:
        table: The commands by name.
    """

    def __init__(self, *args: Any, table: Mapping[str, Entry], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.table = table

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - the signature is click's
        """Return the names in the order of the table."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as above
        """Import a command."""
        entry = self.table.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = getattr(import_module(f"{_PACKAGE}.{entry.module}"), entry.name)
        _mark_lines(command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was called; an unknown one is answered with the closest name."""
        if args and not args[0].startswith("-") and args[0] not in self.table:
            from millrace.errors import did_you_mean

            raise click.UsageError(f'there is no command "{args[0]}".{did_you_mean(args[0], self.table)}', ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Complete a command from the table: importing them all would take longer than a person waits for a Tab."""
        from click.shell_completion import CompletionItem

        found = [CompletionItem(name, help=entry.help) for name, entry in self.table.items()]
        found = [item for item in found if item.value.startswith(incomplete)]
        return found or click.Command.shell_complete(self, ctx, incomplete)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        with _reader_may_go():
            return super().invoke(ctx)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """Read the words before the command, which may be --help."""
        with _reader_may_go():
            return super().make_context(*args, **kwargs)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as above
        """Write the commands into the help, from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self.table.items()])


@contextmanager
def _reader_may_go() -> Iterator[None]:
    """End with 141 when the reader has gone; click by itself would end the process with 1."""
    try:
        yield
    except BrokenPipeError:
        raise click.exceptions.Exit(reader_gone()) from None


def reader_gone() -> int:
    """Write nothing any more, as nobody reads it; return the exit code. A `head` that has enough is no error."""
    for stream in (sys.stdout, sys.stderr):  # the interpreter would try once more at its end, and complain
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123 - a descriptor is wanted
            os.dup2(nowhere.fileno(), stream.fileno())
    return PIPE_CLOSED


def _mark_lines(command: click.Command) -> None:
    r"""Make `\b` before lines that stay as they are what click looks for: in raw docstrings it is two characters."""
    command.help = command.help and command.help.replace("\\b\n", "\b\n")
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        _mark_lines(below)
