"""`millrace new`: a job that works, and its test, to be changed into one's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from millrace.cli.session import Session, pass_session, tell
from millrace.config.templates import KINDS, name_problem, render
from millrace.errors import MillraceError, NotFound

if TYPE_CHECKING:
    from millrace.define.registry import Registry

# What is still to be done once the daemon has read the file.
_FIRST: Final = {
    "report": "millrace submit {name} month=2026-01 --wait",
    "sync": "millrace submit {name} --wait",
    "cleanup": "millrace submit {name} --wait",
    "pipeline": "millrace run {name} month=2026-01 --wait",
    "slack": 'millrace submit {name} text="Good morning" --wait',
}
_BEFORE: Final = {
    "cleanup": 'name its folder in config.toml: folder = "…" under [settings.{name}]',
    "slack": "set SLACK_WEBHOOK_URL in the daemon's environment to the address of your webhook",
}


@click.command("new")
@click.argument("name", metavar="NAME")
@click.option("--kind", type=click.Choice(KINDS), required=True, help="What it is to be like.")
@pass_session
def new(session: Session, name: str, kind: str) -> None:
    r"""
    Write a new job, and a test that passes.

    It writes jobs/NAME.py and tests/test_NAME.py beside config.toml, and overwrites nothing. They work as they are: a
    report that replaces its file as a whole, a sync that may be repeated, a cleanup that first tells what it would
    delete, a pipeline, a message to Slack.

    \b
    Exit: 0 written; 1 something is in the way; 2 not a name for a Python file;
    4 there is no site here; 78 bad configuration.
    """
    if session.config is None:
        raise NotFound("there is no site here: go to its folder, name its config.toml with -c, or call `millrace init`")
    places = session.places
    problem = name_problem(kind, name, places.jobs)
    if problem is not None:
        raise click.UsageError(problem)
    _refuse_taken(session, name)
    texts = render(kind, name, places.jobs)
    files = {Path(places.jobs, f"{name}.py"): texts.job, Path("tests", f"test_{name}.py"): texts.test}
    _write(places.root, files)
    for path in files:
        click.echo(str(path))
    _tell_next(name, kind, places.jobs)


def _refuse_taken(session: Session, name: str) -> None:
    """A task of that name in another file would make both unusable."""
    from millrace.cli.tasks import load_registry

    place = _place_of(name, load_registry(session, quiet=True))
    if place:
        raise MillraceError(f'there is a job "{name}" already, in {place}: choose another name')


def _place_of(name: str, registry: Registry) -> str | None:
    task, pipeline = registry.tasks.get(name), registry.pipelines.get(name)
    if task is not None:
        return f"{task.file}:{task.line}"
    if pipeline is not None:
        return f"{pipeline.file}:{pipeline.line}"
    broken = (problem for problem in registry.problems if name in (problem.task, problem.pipeline))
    return next((f"{problem.file}:{problem.line}" for problem in broken), None)


def _write(root: Path, files: dict[Path, str]) -> None:
    taken = [path for path in files if (root / path).exists() or (root / path).is_symlink()]
    if taken:
        raise MillraceError(f"{taken[0]} is there already: nothing was written. Choose another name")
    try:
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            with (root / path).open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise MillraceError(f"{error.filename or root}: cannot be written: {error.strerror}") from error


def _tell_next(name: str, kind: str, jobs: str) -> None:
    steps = [
        f"pytest tests/test_{name}.py    (in the folder of config.toml)",
        f"make it your own: {jobs}/{name}.py",
        *([_BEFORE[kind].format(name=name)] if kind in _BEFORE else []),
        "start the daemon again: it reads job files when it starts",
        _FIRST[kind].format(name=name),
    ]
    tell("A job and its test. Next:")
    for step in steps:
        tell(f"  {step}")
