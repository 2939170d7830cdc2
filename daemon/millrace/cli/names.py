"""What a list says when it is empty as nothing has a name that was asked for: a typing error, most likely."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from millrace.cli.output import plain
from millrace.cli.session import tell
from millrace.errors import SettingsError
from millrace.ledger.names import unknown_to_jobs, unknown_to_runs

if TYPE_CHECKING:
    from collections.abc import Mapping

    from millrace.cli.session import Session
    from millrace.ledger.names import Unknown
    from millrace.ledger.reads import Reads


def tell_unknown(session: Session, wanted: Mapping[str, object], *, of_runs: bool = False) -> None:
    """
    Name on stderr what neither the site nor anything in its ledger has.

    Args:
        wanted: The options that picked; those that name no task, queue, client or pipeline are not looked at.
    """
    given = {kind: str(wanted[kind]) for kind in ("task", "queue", "client", "pipeline") if wanted.get(kind)}
    if not given:
        return
    try:
        known = _known(session, given)
    except SettingsError:
        return  # what the site has cannot be said; the list stands as it is
    there = session.places.ledger.exists()
    with session.reads() if there else nullcontext() as reads:
        for one in _unknown(reads, given, known, of_runs=of_runs):
            tell(f"millrace: {plain(str(one))}")


def _unknown(
    reads: Reads | None, given: Mapping[str, str], known: Mapping[str, set[str]], *, of_runs: bool
) -> list[Unknown]:
    return (unknown_to_runs if of_runs else unknown_to_jobs)(reads, given, known)


def _known(session: Session, given: Mapping[str, str]) -> dict[str, set[str]]:
    """Return what the site has, of the kinds that matter: job files are imported only if they do."""
    from millrace.cli.tasks import load_registry

    settings = session.site_or_defaults().settings
    known = {"queue": set(settings.queues), "client": set(settings.client_names())}
    if "task" in given or "pipeline" in given:
        registry = load_registry(session, quiet=True)
        known["task"] = {task.name for task in registry.runnable()}
        known["pipeline"] = set(registry.pipelines)
    return known
