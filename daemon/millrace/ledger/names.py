"""
Names that a list is asked for: a typing error must not look like an empty list. What the site has is known, and what
only old jobs or runs have is known too: tasks are renamed, their history keeps its names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from millrace.errors import did_you_mean
from millrace.ledger.run_rows import RunFilter

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from millrace.ledger.reads import Reads


class Unknown(NamedTuple):
    """A name that nothing has: of which kind, the name, and the closest that there is, as a sentence, or ""."""

    kind: str
    name: str
    close: str

    def __str__(self) -> str:
        return f'there is no {self.kind} "{self.name}"{f". {self.close}" if self.close else ""}'


def unknown_to_jobs(
    reads: Reads | None, given: Mapping[str, str | None], known: Mapping[str, Collection[str]]
) -> list[Unknown]:
    """
    Return the names that neither the site nor any job has.

    Args:
        reads: The ledger; None if there is none yet.
        given: By kind (task, queue, client) what was asked for.
        known: What the site has; a kind that it lacks is not looked at.
    """
    strange = _strange(given, known)
    old = reads.tallies() if reads is not None and strange else []
    return [
        Unknown(kind, name, did_you_mean(name, known[kind]).strip())
        for kind, name in strange
        if all(getattr(tally, kind) != name for tally in old)
    ]


def unknown_to_runs(
    reads: Reads | None, given: Mapping[str, str | None], known: Mapping[str, Collection[str]]
) -> list[Unknown]:
    """Return the names (of a pipeline, of a client) that neither the site nor any run has; see `unknown_to_jobs`."""
    return [
        Unknown(kind, name, did_you_mean(name, known[kind]).strip())
        for kind, name in _strange(given, known)
        if reads is None or not reads.runs(_one_of(kind, name)).runs
    ]


def _strange(given: Mapping[str, str | None], known: Mapping[str, Collection[str]]) -> list[tuple[str, str]]:
    return [
        (kind, name) for kind, name in given.items() if name is not None and kind in known and name not in known[kind]
    ]


def _one_of(kind: str, name: str) -> RunFilter:
    return RunFilter(pipeline=name, limit=1) if kind == "pipeline" else RunFilter(client=name, limit=1)
