"""The doctor's look for jobs that nothing would ever move again."""

from __future__ import annotations

import json
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from millrace.cli.checks import Check
from millrace.cli.output import plural

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from millrace.ledger.reads import Reads

_NAMED: Final = 3
_REPAIRS: Final = {
    "no_workers": "put the queue back into config.toml, or cancel them: millrace explain QUEUE",
    "not_running": "the next start of the daemon takes them back; one that runs does so within minutes",
}
_BY_ITSELF: Final = "a running daemon lets them go on, or parks them, within minutes: millrace explain ID"


def check_orphans(reads: Reads) -> Iterator[Check]:
    """Whether each job and run goes on by itself: by a look at the ledger, and by what the daemon knows of its own."""
    from millrace.ledger import orphans

    found: dict[str, list[str]] = {}
    for piece in chain(orphans.waiting(reads), orphans.of_missing_runs(reads), orphans.of_runs(reads)):
        for one in piece:
            found.setdefault(one.kind, []).append(f"{one.id} ({one.detail})")
    for kind, ids in _noted(reads).items():
        found.setdefault(kind, ids)
    for kind, ids in found.items():
        text = f"{kind}: {plural(len(ids), 'job or run', 'jobs or runs')}: {', '.join(ids[:_NAMED])}"
        yield Check("orphans", "warn", text, _REPAIRS.get(kind, _BY_ITSELF))
    if not found:
        yield Check("orphans", "ok", "each job and run goes on by itself, or waits with a reason")


def _noted(reads: Reads) -> Mapping[str, list[str]]:
    """Return what the daemon's own look found that only it can see, and could not mend."""
    text = reads.note("orphans")
    noted: dict[str, Any] = json.loads(text) if text else {}
    found: dict[str, list[str]] = {}
    for one in noted.get("ids", []):
        if one["kind"] == "no_workers":
            found.setdefault(one["kind"], []).append(f"{one['id']} ({one['detail']})")
    return found
