from __future__ import annotations

import subprocess
import sys
from inspect import cleandoc
from typing import TYPE_CHECKING

import click
import pytest

from millrace.cli.commands import COMMANDS
from millrace.cli.main import cli

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cli.conftest import Done, Past, Site

HEAVY = {
    "pydantic",
    "pydantic_settings",
    "peewee",
    "httpx",
    "fastapi",
    "structlog",
    "huey",
    "apscheduler",
    "asyncio",
    "uvicorn",
}


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Yield each command that does something, with its full name."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


@pytest.mark.parametrize(("name", "command"), list(leaves(cli)))
def test_every_command_has_help_that_names_its_exit_codes(name: str, command: click.Command) -> None:
    """A script that calls it must know what to expect."""
    assert command.help
    assert "Exit: 0 " in command.help, name
    assert len(cleandoc(command.help).splitlines()[0]) < 100
    for parameter in command.params:
        assert isinstance(parameter, click.Argument) or getattr(parameter, "help", None), f"{name} {parameter.name}"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_table_says_what_the_docstring_says(name: str) -> None:
    """The table exists so that the help needs no imports; it must not drift from the commands."""
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.name == name
    assert cleandoc(command.help or "").splitlines()[0] == COMMANDS[name].help


def test_the_commands_of_the_contract_are_there() -> None:
    """Scripts hold on to these names."""
    wanted = """pipelines list; pipelines show; run; runs list; runs show; runs cancel; runs resume;
    init; serve; submit; tasks list; tasks show; jobs list; jobs show; jobs retry; jobs cancel; jobs wait;
    dead list; dead show; dead retry; dead discard; queues list; queues pause; queues resume; status; doctor;
    config check; config show"""
    assert {name.strip() for name in wanted.split(";")} <= {name for name, _ in leaves(cli)}


def test_every_help_fits_a_terminal_of_80_columns(call: Callable[..., Done]) -> None:
    """Text that wraps in mid-word is not read."""
    for name, _ in leaves(cli):
        done = call(*name.split(), "--help")
        assert done.code == 0
        assert max(map(len, done.out.splitlines())) <= 80, name
        assert "\\b" not in done.out, name


def loaded_by(site: Site, *words: str) -> set[str]:
    """Return the modules that a call leaves loaded."""
    code = "import sys; from millrace.cli.main import main; main(sys.argv[1:]); print(*sys.modules, file=sys.stderr)"
    argv = [sys.executable, "-c", code, *site.argv(*words)[3:]]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize(
    "words",
    [
        "status",
        "status --json",
        "jobs list",
        "jobs show {id}",
        "runs list",
        "runs show {run}",
        "dead list",
        "dead show {id}",
        "queues list",
        "jobs wait {id}",
    ],
)
def test_reading_commands_load_nothing_heavy(site: Site, past: Past, words: str) -> None:
    """`status` answers within 250 ms, which pydantic alone would use up."""
    job_id, run_id = past.dead(), past.run()
    assert not HEAVY & loaded_by(site, *words.format(id=job_id, run=run_id).split())


def test_the_help_loads_no_command(site: Site) -> None:
    """`millrace --help` answers within 150 ms."""
    modules = loaded_by(site, "--help")
    assert not HEAVY & modules
    assert {name for name in modules if name.startswith("millrace.")} == {
        "millrace.cli", "millrace.cli.main", "millrace.cli.commands", "millrace.cli.lazy",
    }  # fmt: skip
    assert "apsw" not in modules
