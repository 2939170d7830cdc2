"""The attempts that are alive in this process. Liveness is this map and the clock, never a lease in a row."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Literal

from millrace.runner.stop import CANCELLED, INTERRUPTED

if TYPE_CHECKING:
    from collections.abc import Callable

    from millrace.clock import Clock
    from millrace.ledger.rows import Claim

Kind = Literal["thread", "process"]


class Live:
    """
    One attempt that is alive: claimed, starting or running.

    Args:
        held: The claim under which it runs.
        kind: Whether it runs in a thread or a process; a claim that has not begun counts as its queue's kind.
    """

    def __init__(self, held: Claim, kind: Kind) -> None:
        self.held = held
        self.kind: Kind = kind
        self.started: float | None = None
        self.deadline: float | None = None
        self.ended: float | None = None
        self.asked: str | None = None
        self._waker: Callable[[], None] | None = None
        self._lock = threading.Lock()

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self.held.job_id

    @property
    def task(self) -> str:
        """The task's name."""
        return self.held.task

    @property
    def queue(self) -> str:
        """The queue's name."""
        return self.held.queue

    @property
    def attempt(self) -> int:
        """The fencing number."""
        return self.held.attempt

    def begin(self, now: float, timeout_s: float | None) -> None:
        """Start its time: the function begins now, on the monotonic clock, and has `timeout_s` seconds (None: any)."""
        self.started = now
        self.deadline = None if timeout_s is None else now + timeout_s

    def end(self, now: float) -> None:
        """Note when the function ended; a child that says an impossible time is not believed."""
        self.ended = max(now, self.started or now)

    def took_s(self, now: float) -> float:
        """Return how long it ran, in seconds; until `now` if nobody noted its end."""
        return max(0.0, (self.ended or now) - (self.started or now))

    def ask(self, why: str) -> None:
        """Ask the attempt to end. The first reason stands: a shutdown does not turn a cancelled job into a live one."""
        with self._lock:
            self.asked = self.asked or why
            if self._waker is not None:
                self._waker()

    def attach(self, waker: Callable[[], None]) -> None:
        """Name whom `ask` wakes; wakes at once if it was asked before, so that no order falls between two chairs."""
        with self._lock:
            self._waker = waker
            if self.asked is not None:
                waker()

    def detach(self) -> None:
        """Forget the waker: what it writes to is about to close."""
        with self._lock:
            self._waker = None


class Running:
    """All live attempts of this process, by job. Thread-safe."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._live: dict[str, Live] = {}
        self._down: str | None = None

    def expect(self, held: Claim, kind: Kind) -> Live:
        """Note a claim before a worker takes it up: a cancel that comes in between must find it."""
        with self._lock:
            live = self._live.get(held.job_id)
            if live is None or live.attempt != held.attempt:
                live = self._live[held.job_id] = Live(held, kind)
            if self._down is not None:
                live.ask(INTERRUPTED)
            return live

    def start(self, held: Claim, kind: Kind) -> Live:
        """Return the live attempt of a claim, noted now if it was not expected."""
        live = self._live.get(held.job_id)
        if live is None or live.held.attempt != held.attempt:
            live = self.expect(held, kind)
        live.kind, live.started = kind, self._clock.monotonic()
        return live

    def end(self, held: Claim) -> None:
        """Forget the attempt; a newer attempt of the same job stays."""
        with self._lock:
            live = self._live.get(held.job_id)
            if live is not None and live.attempt == held.attempt:
                del self._live[held.job_id]

    def jobs(self) -> list[Live]:
        """Return the live attempts."""
        with self._lock:
            return list(self._live.values())

    def cancel(self, job_id: str) -> bool:
        """Ask the job's live attempt to end; return whether there is one. The ledger keeps the wish either way."""
        with self._lock:
            live = self._live.get(job_id)
        if live is None:
            return False
        live.ask(CANCELLED)
        return True

    def interrupt_all(self, why: str) -> int:
        """Ask every live attempt to end because the daemon goes down, and each that begins later; return how many."""
        with self._lock:
            self._down = why
            lives = list(self._live.values())
        for live in lives:
            live.ask(INTERRUPTED)
        return len(lives)

    def stuck(self) -> list[Live]:
        """Return the attempts in threads that are alive beyond their deadline: nothing can end a thread but itself."""
        now = self._clock.monotonic()
        return [
            live for live in self.jobs() if live.kind == "thread" and live.deadline is not None and live.deadline < now
        ]
