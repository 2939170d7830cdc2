"""
All child processes of the daemon: started on demand, kept warm for the next job of their queue, gone when idle. Each
is on record before its first job and struck off when it is gone for certain, with all that descended from it.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final, Protocol

from millrace.errors import LedgerError
from millrace.events import ChildEnded, ChildStarted
from millrace.ledger.rows import ChildRow, JobError
from millrace.runner.life import Birth, ChildProcess
from millrace.runner.nursery import Nursery
from millrace.runner.oom import OomWatch
from millrace.runner.output import Output
from millrace.runner.stop import INTERRUPTED
from millrace.runner.supervisor import NotStarted, Supervisor
from millrace.runner.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from millrace.clock import Clock
    from millrace.events import Emit
    from millrace.ledger.ticket import Ticket
    from millrace.runner.batch import Batch
    from millrace.runner.desk import Desk
    from millrace.runner.running import Live

_ENDINGS: Final = {"crashed": "crashed", "timeout": "timeout", "cancelled": "cancelled", "interrupted": "shutdown"}
_STILLBORN: Final = 3  # the site ends every child as it starts: to go on would only keep the machine busy


class Register(Protocol):
    """Where children are on record."""

    def child_started(self, row: ChildRow) -> Ticket[None]:
        """Put a child on record."""

    def child_gone(self, pid: int, start_ticks: int) -> Ticket[None]:
        """Strike it off."""


class Children:
    """
    The child processes of a daemon. Thread-safe: each supervisor thread borrows a child of its own.

    Args:
        root: The site's folder, where `jobs` lies and children work.
        jobs: Name of the package of job files.
        daemon_id: In whose name children are on record.
        ledger_mark: Names the ledger; stands in the environment of every child.
        scratch: A folder of this daemon alone for its children's temporary files; emptied now.
        queues: Names that tasks may give as their queue.
        memory: Bytes that a child of the queue may allocate, None or absent for no bound.
        idle_s: Seconds that a child is kept without work, and the fork server without children.
        grace_s: Seconds between TERM and KILL.
    """

    def __init__(  # noqa: PLR0913 - wired in one place, each by its name
        self,
        *,
        root: Path,
        jobs: str,
        daemon_id: str,
        ledger_mark: str,
        scratch: Path,
        queues: Collection[str],
        clock: Clock,
        emit: Emit,
        moves: Register,
        idle_s: float = 60.0,
        grace_s: float = 5.0,
        memory: Mapping[str, int | None] | None = None,
    ) -> None:
        self._daemon_id, self._register = daemon_id, moves
        self._clock, self._emit = clock, emit
        self._idle_s, self._grace_s = idle_s, grace_s
        self._nursery = Nursery(
            root=root, jobs=jobs, queues=queues, mark=ledger_mark, scratch=scratch, memory=memory or {}, clock=clock
        )
        self._lock = threading.Lock()
        self._idle: dict[str, list[ChildProcess]] = {}
        self._alive: dict[int, ChildProcess] = {}
        self._quiet_since = clock.monotonic()
        self._oom = OomWatch()
        self._starting = 0
        self._closed = False

    def apply(self, *, idle_s: float, grace_s: float, memory: Mapping[str, int | None]) -> None:
        """Let other bounds hold, `memory` for children that are started from now on; see the constructor."""
        self._idle_s, self._grace_s = idle_s, grace_s
        self._nursery.memory = memory

    def run(
        self,
        order: Callable[[], bytes],
        desk: Desk,
        live: Live,
        batch: Batch,
        *,
        timeout_s: float | None,
        alone: bool,
    ) -> Verdict:
        """
        Run one attempt in a child and return what it came to.

        Args:
            order: Makes the order for a child that has not got it yet; what it raises is passed on.
            live: The attempt's entry in the map of running ones; its deadline is set here, once the child is ready.
            batch: What the child gets together with this attempt, or got before.
            timeout_s: Seconds for the attempt, > 0; None means no bound.
            alone: In a process of its own that runs nothing else afterwards.
        """
        stillborn = 0
        try:
            while True:
                text = None if batch.child else order()  # before a child is borrowed, as it may fail
                child = batch.child or self._borrow(live.queue, fresh=alone)
                with suppress(NotStarted):
                    return self._supervised(child, text, desk, live, batch, timeout_s=timeout_s, alone=alone)
                stillborn += child.stillborn
                _check_births(stillborn, child)
        except Birth as error:
            if self._nursery.closed:
                return Verdict(INTERRUPTED)
            return Verdict("no_child", error=JobError("NoChild", str(error)))

    def _supervised(
        self,
        child: ChildProcess,
        order: bytes | None,
        desk: Desk,
        live: Live,
        batch: Batch,
        *,
        timeout_s: float | None,
        alone: bool,
    ) -> Verdict:
        if order is not None and live.asked is not None:
            self._give_back(child)
            return Verdict(live.asked)
        live.begin(self._clock.monotonic() if order else child.ended, timeout_s)
        output = Output(desk.budget, desk.log)
        supervisor = Supervisor(child, live, desk, output, batch, clock=self._clock, grace_s=self._grace_s)
        why = "crashed"
        try:
            verdict = supervisor.run(order)
            why = _ENDINGS.get(verdict.kind, "idle")
            return self._explained(verdict)
        finally:
            batch.child = child if batch.handed else None
            if batch.handed:
                pass  # also when it is dead: its words still tell what became of the jobs that it had
            elif supervisor.fit and not alone:
                self._give_back(child)
            else:
                self._bury(child, why)

    def _explained(self, verdict: Verdict) -> Verdict:
        """Tell a KILL by the kernel, for want of memory, from one by somebody's hand or by our own close."""
        if self._nursery.closed and verdict.kind in {"crashed", "lost"}:
            return Verdict(INTERRUPTED, facts=verdict.facts)
        if verdict.kind != "crashed" or verdict.facts.get("signal") != "SIGKILL" or not self._oom.struck():
            return verdict
        error = JobError(
            "OutOfMemory", "the kernel killed the job's process: the machine, or its group, had no memory left"
        )
        return replace(verdict, error=error, facts={**verdict.facts, "oom": True})

    def warm(self) -> int:
        """Return how many children are idle."""
        with self._lock:
            return sum(map(len, self._idle.values()))

    def alive(self) -> dict[int, str]:
        """Return the queue of each child that is alive, by pid."""
        with self._lock:
            return {pid: child.queue for pid, child in self._alive.items()}

    def helper(self) -> int | None:
        """Return the pid of the fork server, None while there is none."""
        return self._nursery.helper()

    def reap_idle(self) -> None:
        """End children that were idle for too long, and the fork server when it has had none for as long."""
        now = self._clock.monotonic()
        with self._lock:
            old = [
                c for idle in self._idle.values() for c in idle if now - c.idle_since >= self._idle_s or not c.quiet()
            ]
            for child in old:
                self._idle[child.queue].remove(child)
        for child in old:
            self._bury(child, "idle")
        with self._lock:
            if self._alive or self._starting:
                self._quiet_since = now
            resting = now - self._quiet_since >= self._idle_s
        if resting:
            self._nursery.rest()

    def close(self) -> None:
        """End all children, with all that descends from them, and the fork server; what runs is interrupted."""
        with self._lock:
            self._closed = True
            idle = [child for children in self._idle.values() for child in children]
            self._idle.clear()
        for child in idle:
            self._bury(child, "shutdown")
        self._nursery.close()

    # ---- borrowing

    def _borrow(self, queue: str, *, fresh: bool) -> ChildProcess:
        with self._lock:
            idle = self._idle.get(queue)
            child = idle.pop() if idle and not fresh else None
        return child or self._start(queue)

    def _give_back(self, child: ChildProcess) -> None:
        child.idle_since = self._clock.monotonic()
        with self._lock:
            if not self._closed:
                self._idle.setdefault(child.queue, []).append(child)
                return
        self._bury(child, "shutdown")

    def _start(self, queue: str) -> ChildProcess:
        began = self._clock.monotonic()
        with self._lock:
            self._starting += 1
        try:
            child = self._nursery.born(queue)
            with self._lock:
                self._alive[child.pid] = child
        except OSError as error:  # no descriptor, no inode, no process left: the machine's want, not the job's failure
            raise Birth(f"no process can be started: {error.strerror}") from error
        finally:
            with self._lock:
                self._starting -= 1
        process = child.process
        try:
            row = ChildRow(process.pid, process.start_ticks, process.pgid, self._daemon_id, queue)
            self._register.child_started(row).wait()
        except BaseException as error:
            self._bury(child, "crashed")  # a child that is not on record would outlive a kill of the daemon unseen
            if isinstance(error, LedgerError):  # a full disk, say: no line of the job has run, so it costs nothing
                raise Birth(str(error)) from error
            raise
        self._emit(ChildStarted(queue, child.pid, self._clock.monotonic() - began))
        return child

    # ---- burying

    def _bury(self, child: ChildProcess, why: str) -> None:
        """End a child, make certain of it, and give back all that it held."""
        gone = child.kill()
        if gone.status is None:
            self._nursery.make_certain(child, child.killed | self.alive().keys())
        self._register.child_gone(child.pid, child.process.start_ticks)
        with self._lock:
            self._alive.pop(child.pid, None)
        child.close()
        descendants = len(child.killed) + int(gone.facts.get("killed", 0))
        self._emit(ChildEnded(child.queue, child.pid, why, gone.words(), descendants))


def _check_births(stillborn: int, child: ChildProcess) -> None:
    """Raise Birth once too many children have ended before they came to the job that they were started for."""
    if stillborn >= _STILLBORN and child.gone is not None:
        raise Birth(f"each process that is started ends before it begins a job: it {child.gone.words()}")
