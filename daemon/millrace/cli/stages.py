"""The stages of a pipeline as people read them: when each runs, and what it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from millrace.cli.table import Column, table, terminal_width

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from millrace.config.settings import DefaultsSettings

_STAGES: Final = (
    Column("  STAGE"),
    Column("RUNS"),
    Column("NEEDS", elastic=True),
    Column("QUEUE", optional=True),
    Column("ATTEMPTS", right=True, optional=True),
    Column("TIMEOUT", right=True, optional=True),
)
_KINDS: Final = {"fanout": ", fans out", "collect": ", collects", "route": ", chooses"}


def stage_table(stages: Sequence[Mapping[str, Any]], defaults: DefaultsSettings) -> str:
    """Return the stages of `Pipeline.describe` as a table, in the order in which they run."""
    from millrace.clock import format_duration

    rows = []
    for stage in stages:
        retries = defaults.retries if stage["retries"] is None else stage["retries"]
        timeout_s = defaults.timeout if stage["timeout_s"] is None else stage["timeout_s"]
        rows.append(
            (
                f"  {stage['name']}",
                runs_words(stage["kind"], stage["scope"]),
                needs_words(stage),
                stage["queue"],
                str(retries + 1),
                format_duration(timeout_s),
            )
        )
    return table(_STAGES, rows, terminal_width())


def runs_words(kind: str, scope: str | None) -> str:
    """Return how often a stage runs, and what else it is: "once, fans out", "per lead, chooses"."""
    return (f"per {scope}" if scope else "once") + _KINDS.get(kind, "")


def needs_words(stage: Mapping[str, Any]) -> str:
    """Return what a stage waits for: "lead, points", "all of points", "lead, if segment is enterprise"."""
    words = [f"all of {need['name']}" if need["results"] else need["name"] for need in stage["needs"]]
    gate = stage["gate"]
    if gate:
        labels = " or ".join(gate["labels"])
        words.append(f"if {gate['route']} is {'anything else' if gate['otherwise'] else labels}")
    return ", ".join(words) or "nothing"
