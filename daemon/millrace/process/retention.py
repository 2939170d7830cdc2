"""
Removes what `[retention]` says is old: looked up beside the writer, removed in pieces of a few milliseconds of the
write lock, with a breath between them in which others get it. Used by the daemon and by `millrace prune`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from millrace.clock import MS
from millrace.events import LedgerOverBudget, Pruned
from millrace.ledger import blob_rows
from millrace.ledger.prune_reads import PruneReads
from millrace.ledger.states import Status

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

    from millrace.clock import Clock
    from millrace.config.storage import RetentionSettings
    from millrace.events import Emit
    from millrace.ledger.moves import Moves
    from millrace.ledger.reads import Reads

PIECE: Final = 100  # jobs in one piece, or rows of another kind: about 10 ms of the write lock
LOOK: Final = 1000  # rows looked up at once
BREATH_S: Final = 0.01
PAGES: Final = 250  # 1 MB, given back at once
FEW_PAGES: Final = 250  # not worth the work
MANY_FREE: Final = 0.25  # of the file: given back though jobs run
YOUNGEST_MS: Final = 60 * 60 * MS  # what ended since then is kept whatever its size: somebody may wait for it
STRAY_MS: Final = 60 * 60 * MS  # a younger file may be on its way: its unit may wait for the write lock
_STATUSES: Final = (Status.SUCCEEDED, Status.CANCELLED, Status.DEAD)


class Planned(NamedTuple):
    """What would be removed: its kind, the seconds for which it is kept, how many, and for runs how many jobs."""

    kind: str
    kept_s: float | None
    number: int
    jobs: int


@dataclass
class Sums:
    """What was removed."""

    jobs: int = 0
    runs: int = 0
    audit_rows: int = 0
    early: int = 0  # of the jobs, those that went for their size alone
    stray_files: int = 0  # files of large values that no row has

    def __bool__(self) -> bool:
        """Return whether anything was."""
        return bool(self.jobs or self.runs or self.audit_rows or self.stray_files)


@dataclass
class Retention:
    """
    One retention.

    Args:
        end: Set when it shall stop; the rest is removed next time.
    """

    moves: Moves
    reads: Reads
    clock: Clock
    emit: Emit
    end: threading.Event
    _over: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        """Open the look."""
        self._look = PruneReads(self.reads)

    def plan(self, settings: RetentionSettings) -> Iterator[Planned]:
        """Yield what would be removed now. Reads much of the ledger."""
        for status in _STATUSES:
            kept_s = getattr(settings, status)
            yield Planned(status, kept_s, self._look.count_jobs(status, self._before(kept_s)), 0)
        runs, jobs = self._look.count_runs(self._before(settings.runs), self._dead_before(settings))
        yield Planned("runs", settings.runs, runs, jobs)
        yield Planned("audit", settings.audit, self._look.count_audit(self._before(settings.audit)), 0)

    def over_size(self, settings: RetentionSettings) -> bool:
        """Return whether more goes than is planned, as the ledger is larger than `max_size`."""
        return settings.max_size is not None and self._used_bytes() > settings.max_size

    def run(self, settings: RetentionSettings) -> Sums:
        """Remove what is old, then what is too much; return what was removed, and tell."""
        began = self.clock.monotonic()
        sums = Sums()
        for run_id in self._look.half_runs():  # a kill came in between
            sums.jobs += self._rest_of(run_id)
        for status in _STATUSES:
            if getattr(settings, status) is not None:
                sums.jobs += self._jobs(status, self._before(getattr(settings, status)))
        if settings.runs is not None:
            self._runs(sums, self._before(settings.runs), self._dead_before(settings))
            self._pieces(lambda: self.moves.prune_fires(self._before(settings.runs), PIECE).wait())
        if settings.audit is not None:
            sums.audit_rows = self._pieces(lambda: self.moves.prune_audit(self._before(settings.audit), PIECE).wait())
        if settings.max_size is not None:
            self._shrink(sums, settings.max_size)
        sums.stray_files = self._strays()
        if sums:
            took_s = round(self.clock.monotonic() - began, 3)
            self.emit(Pruned(sums.jobs, sums.runs, sums.audit_rows, sums.early, took_s, sums.stray_files))
        return sums

    @property
    def page_size(self) -> int:
        """Bytes of a page."""
        return self._look.pages().size

    def give_back(self, *, idle: bool) -> int:
        """Give free pages of the file back to the disk, unless there is work and they are few; return how many."""
        pages = self._look.pages()
        given = 0
        if pages.free < FEW_PAGES or not (idle or pages.free > MANY_FREE * pages.total):
            return given
        left = pages.free
        while left and not self.end.is_set():
            before, left = left, self.moves.vacuum(PAGES).wait()
            if left >= before:
                break  # a ledger that was made without it cannot
            given += before - left
            self._breathe()
        return given

    def _before(self, kept_s: float | None) -> int:
        return 0 if kept_s is None else self.clock.now_ms() - round(kept_s * MS)

    def _dead_before(self, settings: RetentionSettings) -> int:
        return min(self._before(settings.dead), self._before(settings.runs))

    def _jobs(self, status: Status, before: int, enough: Callable[[], bool] = lambda: False) -> int:
        removed, after = 0, ""
        while not self.end.is_set():
            ids, more = self._look.old_jobs(status, before, after, LOOK)
            for start in range(0, len(ids), PIECE):
                if self.end.is_set() or enough():
                    return removed
                removed += self.moves.prune_jobs(ids[start : start + PIECE], status, before).wait()
                self._breathe()
            if more is None:
                break
            after = more
        return removed

    def _runs(self, sums: Sums, before: int, dead_before: int, enough: Callable[[], bool] = lambda: False) -> None:
        after = ""
        while not self.end.is_set() and (found := self._look.old_runs(before, dead_before, after, PIECE)):
            after = found[-1]
            for run_id in found:
                if self.end.is_set() or enough():
                    return
                if self.moves.begin_prune_run(run_id, before).wait():  # else something of it is in doubt
                    sums.runs += 1
                    sums.jobs += self._rest_of(run_id)

    def _rest_of(self, run_id: str) -> int:
        jobs, more = 0, True
        while more and not self.end.is_set():
            removed, more = self.moves.prune_run(run_id, PIECE).wait()
            jobs += removed
            self._breathe()
        return jobs

    def _pieces(self, piece: Callable[[], int]) -> int:
        removed = 0
        while not self.end.is_set() and (more := piece()):
            removed += more
            self._breathe()
        return removed

    def _strays(self) -> int:
        """Remove the files of large values whose transaction never came: its process was killed before."""
        names = blob_rows.strays(self.reads, self.clock.now_ms() - STRAY_MS)
        removed = 0
        for start in range(0, len(names), PIECE):
            if self.end.is_set():
                break
            removed += self.moves.remove_strays(names[start : start + PIECE]).wait()
            self._breathe()
        return removed

    def _shrink(self, sums: Sums, max_size: int) -> None:
        """Remove the oldest that is over and not dead until what is left fits; tell once if it cannot."""

        def fits() -> bool:
            return self._used_bytes() <= max_size

        if not fits():
            jobs, before = sums.jobs, self.clock.now_ms() - YOUNGEST_MS
            for status in (Status.SUCCEEDED, Status.CANCELLED):
                sums.jobs += self._jobs(status, before, fits)
            self._runs(sums, before, 0, fits)
            sums.early = sums.jobs - jobs
        over = not fits()
        if over and not self._over:
            self.emit(LedgerOverBudget(self._used_bytes(), max_size))
        self._over = over

    def _used_bytes(self) -> int:
        return self._look.pages().used_bytes + blob_rows.total_bytes(self.reads)

    def _breathe(self) -> None:
        self.clock.wait(self.end, BREATH_S)
