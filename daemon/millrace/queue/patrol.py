"""
Looks, beside the work, for jobs that nothing would ever move again, and lets them go on or parks them with the reason:
never drops one. What looks lost is looked at twice, some seconds apart, as a job between two hands is in neither.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from millrace.events import OrphansFound
from millrace.ledger import orphans
from millrace.ledger.orphans import FEW, Orphan

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from millrace.ledger.ledger import Ledger
    from millrace.ledger.orphans import Piece
    from millrace.runner.kit import Kit
    from millrace.runner.running import Running

NOTE: Final = "orphans"
AGAIN_S: Final = 10.0  # between the two looks: an attempt takes far less from its end to its commit
PAUSE_S: Final = 0.01  # between two pieces, so that a look never keeps a core from requests
_MENDED: Final = 200  # in one look; what is left is found by the next


class Patrol:
    """
    The search for orphans of one daemon.

    Args:
        running: The attempts that are alive here.
        queues: The queues that have workers.
    """

    def __init__(self, ledger: Ledger, kit: Kit, running: Running, queues: Callable[[], Collection[str]]) -> None:
        self._reads = ledger.reads
        self._kit = kit
        self._running = running
        self._queues = queues
        self._told: set[tuple[str, str]] = set()
        self._last: dict[str, Any] = {"count": 0}

    def figures(self) -> dict[str, Any]:
        """Return what the last look found: `count`, how many of each kind, the first ids, and how many were mended."""
        return self._last

    def look(self, end: threading.Event | None = None, *, again_s: float = AGAIN_S) -> list[Orphan]:
        """
        Look for orphans, mend what can be mended, and tell of those that are new, all in one event.

        Args:
            end: Ends the look early.
            again_s: Seconds until the second look at what the first one found, ≥ 0.
        Returns: What was found.
        """
        end = end or threading.Event()
        first = set(self._candidates(end))
        if first:
            self._kit.clock.wait(end, again_s)
        found = [one for one in self._candidates(end) if one in first] if first else []
        if end.is_set():
            return []
        mended = sum(self._mend(one) for one in found[:_MENDED])
        self._note(found, mended)
        return found

    def _candidates(self, end: threading.Event) -> Iterator[Orphan]:
        for piece in self._pieces():
            yield from piece
            if self._kit.clock.wait(end, PAUSE_S):
                return

    def _pieces(self) -> Iterator[Piece]:
        for piece in orphans.running(self._reads):
            live = {(live.job_id, live.attempt) for live in self._running.jobs()}
            live |= {(ended.held.job_id, ended.held.attempt) for ended in list(self._kit.unrecorded)}
            yield [one for one in piece if (one.id, one.attempt) not in live]
        yield from orphans.waiting(self._reads)
        yield from orphans.of_missing_runs(self._reads)
        yield from orphans.of_runs(self._reads)
        yield from self._of_lanes()

    def _of_lanes(self) -> Iterator[Piece]:
        """Yield queued jobs without workers or without a task, told from the counters; of each lane the first few."""
        served = self._queues()
        for tally in self._reads.tallies():
            if not tally.queued:
                continue
            lane = tally.queue, tally.client, tally.task
            if not self._kit.registry.knows(tally.task):
                yield orphans.of_task(self._reads, lane, "unknown_task", f"the site has no task {tally.task}")
            elif tally.queue not in served:
                yield orphans.of_task(self._reads, lane, "no_workers", f"queue {tally.queue} has no workers")

    def _mend(self, one: Orphan) -> bool:
        if one.kind == "stalled_run":
            return str(self._kit.moves.settle_run(one.id).wait()) != "running"
        return self._kit.moves.put_right(one).wait()

    def _note(self, found: list[Orphan], mended: int) -> None:
        before = self._last
        kinds = Counter(one.kind for one in found)
        self._last = {
            "count": len(found),
            "kinds": dict(kinds),
            "ids": [{"kind": one.kind, "id": one.id, "detail": one.detail} for one in found[:FEW]],
            "mended": mended,
        }
        keys = {(one.kind, one.id) for one in found}
        if keys - self._told:
            details = "; ".join(f"{one.kind} {one.id}: {one.detail}" for one in found[:FEW])
            named = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
            self._kit.emit(OrphansFound(len(found), mended, named, details))
        self._told = keys
        if self._last != before:
            self._kit.moves.note(NOTE, json.dumps(self._last)).wait()
