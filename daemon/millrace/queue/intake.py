"""
The claims of one queue, ahead of its workers: asks the ledger for as many jobs as there are free slots, and for a
little more when jobs are short, so that a worker rarely waits for a commit.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from millrace.errors import LedgerError
from millrace.ledger.claim import MOST_BYTES
from millrace.runner.tray import MOST

if TYPE_CHECKING:
    from millrace.ledger.moves import Moves
    from millrace.ledger.rows import Claim
    from millrace.ledger.ticket import Ticket
    from millrace.runner.running import Kind, Running

AHEAD_S: Final = 0.05  # work that may be claimed ahead of the workers
MOST_AHEAD: Final = 200
SHORT_S: Final = 0.005  # jobs that take less on average are handed to children in batches
_SMOOTHING: Final = 0.1

Attempt = tuple[str, int]  # a job's id and its fencing number


class Intake:
    """
    Where the workers of one queue get their claims.

    Args:
        queue: The queue's name.
        kind: How its jobs run.
        workers: The claim limit to start with, ≥ 1.
        max_workers: The claim limit never exceeds it.
    """

    def __init__(
        self,
        queue: str,
        kind: Kind,
        *,
        workers: int,
        max_workers: int,
        moves: Moves,
        running: Running,
    ) -> None:
        self.queue = queue
        self.kind = kind
        self.workers = workers
        self.max_workers = max_workers
        self.limit = workers
        self._at_work: set[Attempt] = set()
        self._stuck: set[Attempt] = set()  # of these, threads beyond their deadline: they hold a job, but no slot
        self._moves = moves
        self._running = running
        self._ready: deque[Claim] = deque()
        self._changed = threading.Condition()
        self._asked = 0
        self._dry = False  # the ledger had nothing more when it was asked last
        self._news = 0  # counts wakes, so that one that comes while a claim is under way is not lost
        self._stopped = False
        self._mean_s = 1.0
        self._fit = MOST_AHEAD  # how many jobs with payloads like those of the last claim may wait in memory
        self._first_then: Claim | None = None  # the first that was ready at the last `tend`
        self.trouble: str | None = None  # why claims fail, if that is told nowhere else

    def wake(self) -> None:
        """Something was queued: ask the ledger again."""
        with self._changed:
            self._dry = False
            self._news += 1
            ask = self._wanted()
        self._claim(ask)

    def take(self, timeout_s: float) -> Claim | None:
        """Return the next claim for a worker, waiting at most `timeout_s` seconds; None if there is none."""
        with self._changed:
            ask = self._wanted()
            held = self._next()
        self._claim(ask)
        if held is not None:
            return held
        with self._changed:
            self._changed.wait_for(self._may_start, timeout_s)
            return self._next()

    def more(self) -> list[Claim]:
        """Return claims for a worker to take together with its own: its share of what is ready, if jobs are short."""
        with self._changed:
            if self._mean_s > SHORT_S:
                return []
            share = min(len(self._ready) // self.limit, MOST - 1)
            claims = [self._ready.popleft() for _ in range(share)]
            ask = self._wanted()
        self._claim(ask)
        return claims

    def give_back(self, claims: list[Claim]) -> None:
        """Take back claims that were taken together with another one and have not begun: they are the next again."""
        with self._changed:
            if not self._stopped:
                self._ready.extendleft(reversed(claims))
                self._changed.notify(len(claims))
                return
        self.release(claims, "shutdown")

    def tend(self) -> None:
        """
        Hand claims back that no worker came for since the last call: those before them take longer than was thought.

        Whoever is more urgent, or has a fair share, would wait behind them; and a pause, or a cancel, would not hold.
        """
        with self._changed:
            first = self._ready[0] if self._ready else None
            stale = list(self._ready) if first is not None and first is self._first_then else []
            self._first_then = first
            if stale:
                self._ready.clear()
                self._mean_s = max(self._mean_s, 2 * AHEAD_S * self.limit)  # so that nothing is claimed ahead for now
        self.release(stale, "ahead")

    def done(self, held: Claim, duration_s: float, jobs: int = 1) -> None:
        """
        A worker has finished what it took, and what it took together with it.

        Args:
            held: What `take` gave it.
            duration_s: How long all of it took.
            jobs: How many jobs these were, one after another.
        """
        with self._changed:
            self._at_work.discard((held.job_id, held.attempt))
            self._stuck.discard((held.job_id, held.attempt))  # at once: it would go on to lend its slot to another
            self._mean_s += _SMOOTHING * (duration_s / jobs - self._mean_s)
            # Nobody is woken: the worker itself comes back for the next claim, without a switch of threads.

    @property
    def busy(self) -> int:
        """How many workers have a job, the stuck ones among them."""
        return len(self._at_work)

    @property
    def stuck(self) -> int:
        """How many threads will not stop."""
        return len(self._stuck)

    @property
    def full(self) -> bool:
        """Whether all slots are taken, or work is at hand that waits for one."""
        return self._taken() >= self.limit or bool(self._ready)

    def set_limit(self, limit: int) -> None:
        """Set how many jobs may run at once, 1 to `max_workers`."""
        with self._changed:
            self.limit = max(1, min(limit, self.max_workers))
            self._changed.notify_all()
        self.wake()

    def set_stuck(self, attempts: set[Attempt]) -> None:
        """Note whose threads will not stop: their slots are given to others."""
        with self._changed:
            stuck = attempts & self._at_work  # without those that have ended since somebody looked
            if stuck == self._stuck:
                return
            self._stuck = stuck
            self._changed.notify_all()
        self.wake()

    def stop(self) -> list[Claim]:
        """Claim and hand out no more; return what was claimed and not started."""
        with self._changed:
            self._stopped = True
            rest = list(self._ready)
            self._ready.clear()
            self._changed.notify_all()
        return rest

    def _may_start(self) -> bool:
        return self._stopped or (bool(self._ready) and self._taken() < self.limit)

    def _taken(self) -> int:
        return len(self._at_work) - len(self._stuck)

    def _next(self) -> Claim | None:
        if self._stopped or not self._may_start():
            return None
        held = self._ready.popleft()
        self._at_work.add((held.job_id, held.attempt))
        return held

    def _wanted(self) -> int:
        """Return how many jobs to ask the ledger for now; reserves them. Called with the lock held."""
        if self._dry or self._asked or self._stopped:
            return 0
        free = self.limit - self._taken()
        ahead = min(MOST_AHEAD, self._fit, int(AHEAD_S * self.limit / max(self._mean_s, 1e-4)))
        ready = len(self._ready)
        if ready > ahead // 2 and ready >= free:
            return 0
        self._asked = max(0, free + ahead - ready)
        return self._asked

    def _claim(self, slots: int) -> None:
        if slots:
            news = self._news
            self._moves.claim(self.queue, slots).then(lambda ticket: self._arrived(ticket, slots, news))

    def _arrived(self, ticket: Ticket[list[Claim]], slots: int, news: int) -> None:
        """Take up what the ledger gave; in the writer's thread."""
        claims = ticket.wait() if ticket.error is None else []
        for held in claims:
            self._running.expect(held, self.kind)
        size = sum(len(held.payload) for held in claims)
        with self._changed:
            self._asked = 0
            if claims:
                self._fit = MOST_BYTES * len(claims) // size
            # After an error the next `take` asks again, within half a second. The writer reports what befalls it.
            unheard = ticket.error is not None and not isinstance(ticket.error, LedgerError)
            self.trouble = f"{type(ticket.error).__name__}: {ticket.error}" if unheard else None
            self._dry = ticket.error is None and len(claims) < slots and news == self._news
            late = claims if self._stopped else []
            if not self._stopped:
                self._ready.extend(claims)
                self._changed.notify(len(claims))
            ask = self._wanted() if ticket.error is None else 0
        self._claim(ask)
        self.release(late, "shutdown")

    def release(self, claims: list[Claim], why: str) -> None:
        """Hand claims back to the ledger, which were not begun."""
        for held in claims:
            self._running.end(held)
            self._moves.release(held, why, duration_s=0.0)
