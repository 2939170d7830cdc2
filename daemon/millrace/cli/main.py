"""The console script: the options before the command, and the one place where errors become words and exit codes."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from millrace import __version__
from millrace.cli.commands import COMMANDS
from millrace.cli.lazy import LazyGroup, reader_gone

if TYPE_CHECKING:
    from collections.abc import Sequence

FAILED: Final = 1
INTERRUPTED: Final = 130  # 128 + SIGINT, as shells have it

_EPILOG: Final = """\b
Exit codes: 0 done, 1 what was asked for failed, 2 usage or payload,
  3 the daemon is not running (status), 4 not found, 5 wrong status for that,
  69 unreachable, 75 try again, 77 not permitted, 78 bad configuration."""


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The site's config.toml. Without it: $MILLRACE_CONFIG, ./config.toml, /etc/millrace/config.toml.",
)
@click.version_option(__version__, message="millrace %(version)s")
@click.pass_context
def cli(ctx: click.Context, config: Path | None) -> None:
    """Millrace, the automation daemon: a durable queue, its workers, and a memory of all that happened."""
    from millrace.cli.session import Session

    ctx.obj = Session(config)


def main(argv: Sequence[str] | None = None) -> int:
    """
    Run a command line.

    Args:
        argv: The words after the program's name; those of the process when None.
    Returns: The exit code of the contract.
    """
    try:
        code = _called(argv)
        sys.stdout.flush()  # what is left in it must not be first missed when the interpreter ends
    except BrokenPipeError:
        return reader_gone()
    return code


def _called(argv: Sequence[str] | None) -> int:
    color = False if os.environ.get("NO_COLOR") else None
    try:
        code = cli.main(args=argv, prog_name="millrace", standalone_mode=False, color=color)
    except click.Abort as abort:
        return _aborted(abort)
    except click.ClickException as error:
        return _misused(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - what is not ours is raised again
        return _failed(error)
    return code if isinstance(code, int) else 0


def _aborted(abort: click.Abort) -> int:
    # click makes one of Ctrl-C, at a prompt without a cause; an answer that is no, and an end of input, are none.
    if isinstance(abort.__cause__ or abort.__context__, KeyboardInterrupt):
        return INTERRUPTED
    click.echo("millrace: nothing was changed", err=True)
    return FAILED


def _misused(error: click.ClickException) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):  # a group by itself: its help is the answer
        click.echo(error.format_message(), err=True)
        return error.exit_code
    context = getattr(error, "ctx", None)
    hint = f" (see {context.command_path} --help)" if context else ""
    click.echo(f"millrace: {error.format_message()}{hint}", err=True)
    return error.exit_code


def _failed(error: Exception) -> int:
    """Tell what Millrace raised on purpose; anything else is a bug, and its traceback is worth having."""
    from millrace.cli.session import tell_error
    from millrace.errors import MillraceError, NotPermitted

    if isinstance(error, PermissionError):
        name = f"{error.filename} may not be read or written by this user" if error.filename else str(error)
        error = NotPermitted(f"{name}: call it as the daemon's user")
    if not isinstance(error, MillraceError):
        raise error
    tell_error(error)
    return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
