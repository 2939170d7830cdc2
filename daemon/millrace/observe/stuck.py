"""Which jobs in threads run beyond their time, from the note that the daemon leaves of them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from millrace.errors import NotFound
from millrace.ledger.notes import STUCK
from millrace.ledger.states import Status

if TYPE_CHECKING:
    from collections.abc import Iterator

    from millrace.ledger.reads import Reads
    from millrace.ledger.rows import JobRow


class Stuck(NamedTuple):
    """A job whose time was up at `since` (UTC epoch ms), and whose thread goes on."""

    job: JobRow
    since: int


def stuck_jobs(reads: Reads) -> Iterator[Stuck]:
    """Yield the jobs that the last daemon could not end and that are not over yet."""
    text, daemon = reads.note(STUCK), reads.daemon()
    found = json.loads(text) if text else {}
    if daemon is None or found.get("daemon") != daemon.id:
        return
    for one in found["jobs"]:
        try:
            job = reads.job(one["id"])
        except NotFound:  # pruned
            continue
        # One that was given up since, and runs again, began after that.
        if job.status == Status.RUNNING and (job.started_at or 0) <= one["since"]:
            yield Stuck(job, one["since"])
