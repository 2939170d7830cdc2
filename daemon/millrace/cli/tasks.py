"""`millrace tasks`: what can be run."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import click

from millrace.cli.output import as_json, echo_json, one_line
from millrace.cli.session import Session, inside, pass_session, tell
from millrace.cli.table import Column, table, terminal_width

if TYPE_CHECKING:
    from millrace.config.settings import DefaultsSettings
    from millrace.define.registry import Registry

_TASKS = (Column("TASK"), Column("QUEUE"), Column("WHAT IT DOES", elastic=True))
_PARAMETERS = (Column("TYPE", elastic=True), Column("DEFAULT", elastic=True))


@click.group("tasks")
def tasks() -> None:
    """What can be run: list, show."""


@tasks.command("list")
@as_json
@pass_session
def list_(session: Session, *, as_json: bool) -> None:
    r"""
    List the tasks of this site. What did not load is named on stderr.

    \b
    Exit: 0 listed; 78 bad configuration.
    """
    registry = load_registry(session)
    found = [registry.tasks[name] for name in sorted(registry.tasks)]
    if as_json:
        echo_json([task.describe() for task in found])
    elif found:
        rows = [(task.name, task.policy.queue, task.summary) for task in found]
        click.echo(table(_TASKS, rows, terminal_width()))
    else:
        folder = session.places.root / session.places.jobs
        tell(f"No tasks yet. Write one in {folder}: a typed function under @task (from millrace import task).")


@tasks.command("show")
@click.argument("name", metavar="TASK")
@as_json
@pass_session
def show(session: Session, name: str, *, as_json: bool) -> None:
    r"""
    Show a task: what it takes and how it is run.

    \b
    Exit: 0 shown; 4 no such task; 78 bad configuration.
    """
    site = session.site_or_defaults()
    task = load_registry(session, quiet=True).task(name)
    facts = task.describe()
    if as_json:
        echo_json(facts)
    else:
        click.echo(_task_text(facts, inspect.getdoc(task.fn) or "", site.settings.defaults))


def load_registry(session: Session, *, quiet: bool = False) -> Registry:
    """Import the job files of the site; unless `quiet`, what did not load is named on stderr."""
    from millrace.define.load import load_jobs

    site = session.site_or_defaults()
    with inside(site.places.root):
        registry = load_jobs(site.places.root, site.places.jobs, queues=site.settings.queues)
    for problem in registry.problems if not quiet else ():
        tell(f"millrace: {problem}")
    return registry


def _task_text(facts: dict[str, Any], doc: str, defaults: DefaultsSettings) -> str:
    from millrace.clock import format_duration

    retries = defaults.retries if facts["retries"] is None else facts["retries"]
    timeout_s = defaults.timeout if facts["timeout_s"] is None else facts["timeout_s"]
    backoff = facts["backoff"] or "..".join(map(format_duration, defaults.backoff))
    crash = "tried again" if facts["on_crash"] == "retry" else "not tried again"
    lines = [
        click.style(facts["name"], bold=True),
        *(f"  {line}" if line else "" for line in doc.splitlines()),
        "",
        f"  queue     {facts['queue']}",
        f"  attempts  {retries + 1}, {backoff} apart; after a crash {crash}",
        f"  timeout   {format_duration(timeout_s)} each",
        f"  defined   {facts['file']}:{facts['line']}",
        "",
        parameter_table(facts["parameters"]),
        "",
        f"  millrace submit {facts['name']}" + "".join(f" {p['name']}=…" for p in facts["parameters"] if p["required"]),
    ]
    return "\n".join(lines)


def parameter_table(parameters: list[dict[str, Any]], what: str = "parameter") -> str:
    """Return what a task or a pipeline takes as a table; `what` is what such a thing is called."""
    if not parameters:
        return f"  It takes no {what}s."
    rows = [
        (f"  {p['name']}", p["type"], "(required)" if p["required"] else one_line_json(p["default"]))
        for p in parameters
    ]
    return table((Column(f"  {what.upper()}"), *_PARAMETERS), rows, terminal_width())


def one_line_json(value: Any) -> str:
    """Return a default as it would be written in a payload."""
    return f'"{value}"' if isinstance(value, str) else one_line(value)
