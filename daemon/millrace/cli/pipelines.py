"""`millrace pipelines`: graphs of stages that can be run."""

from __future__ import annotations

from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

import click

from millrace.cli.output import as_json, echo_json
from millrace.cli.session import Session, pass_session, tell
from millrace.cli.stages import stage_table
from millrace.cli.table import Column, table, terminal_width
from millrace.cli.tasks import load_registry, parameter_table

if TYPE_CHECKING:
    from millrace.config.settings import DefaultsSettings

_PIPELINES: Final = (
    Column("PIPELINE"),
    Column("STAGES", right=True),
    Column("INPUTS", optional=True, elastic=True),
    Column("WHAT IT DOES", elastic=True),
)
_MARGIN: Final = 2
_NARROWEST: Final = 30


@click.group("pipelines")
def pipelines() -> None:
    """Graphs of stages: list, show."""


@pipelines.command("list")
@as_json
@pass_session
def list_(session: Session, *, as_json: bool) -> None:
    r"""
    List the pipelines of this site. What did not load is named on stderr.

    \b
    Exit: 0 listed; 78 bad configuration.
    """
    registry = load_registry(session)
    found = [registry.pipelines[name].describe() for name in sorted(registry.pipelines)]
    if as_json:
        echo_json(found)
    elif found:
        rows = [(facts["name"], str(len(facts["stages"])), _input_words(facts), facts["summary"]) for facts in found]
        click.echo(table(_PIPELINES, rows, terminal_width()))
    else:
        folder = session.places.root / session.places.jobs
        tell(f"No pipelines yet. Write one in {folder}: stages under a Pipeline (from millrace import Pipeline).")


@pipelines.command("show")
@click.argument("name", metavar="PIPELINE")
@click.option("--mermaid", is_flag=True, help="Print the graph as text for Mermaid, which draws it.")
@as_json
@pass_session
def show(session: Session, name: str, *, mermaid: bool, as_json: bool) -> None:
    r"""
    Show a pipeline: what it takes, its stages, and what each of them needs.

    \b
    Exit: 0 shown; 4 no such pipeline; 78 bad configuration.
    """
    site = session.site_or_defaults()
    facts = load_registry(session, quiet=True).find_pipeline(name).describe()
    if mermaid and as_json:
        raise click.UsageError("either --mermaid or --json, which has it too", click.get_current_context())
    if as_json:
        echo_json(facts)
    elif mermaid:
        click.echo(facts["mermaid"].rstrip("\n"))
    else:
        click.echo(_text(facts, site.settings.defaults))


def _text(facts: dict[str, Any], defaults: DefaultsSettings) -> str:
    required = "".join(f" {one['name']}=…" for one in facts["inputs"] if one["required"])
    lines = [
        click.style(facts["name"], bold=True),
        *(f"  {line}" for line in _folded(facts["summary"])),
        "",
        f"  defined   {facts['file']}:{facts['line']}",
        "",
        parameter_table(facts["inputs"], "input"),
        "",
        stage_table(facts["stages"], defaults),
        "",
        f"  millrace run {facts['name']}{required}",
    ]
    return "\n".join(lines)


def _folded(summary: str) -> list[str]:
    """Break a long summary where the terminal ends; a pipe gets it whole."""
    width = terminal_width()
    return wrap(summary, max(_NARROWEST, width - _MARGIN)) if width and summary else [summary] if summary else []


def _input_words(facts: dict[str, Any]) -> str:
    return ", ".join(one["name"] if one["required"] else f"[{one['name']}]" for one in facts["inputs"])
