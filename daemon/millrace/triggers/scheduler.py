"""
The schedules of a running daemon: held in memory, decided from the ledger, fired when their time comes.

When a schedule fires next is answered from memory; what is due is decided against what the ledger says was decided, in
the transaction that submits. So a daemon that lost sight of something, or a second one, costs a look and nothing else.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from millrace.clock import MS
from millrace.errors import MillraceError
from millrace.events import (
    AttemptEnded,
    RunEnded,
    ScheduleFired,
    ScheduleMissed,
    SchedulePassedOver,
    ScheduleProblem,
    SchedulesSetBack,
)
from millrace.ledger.fire_rows import HAND, OVER, Turn
from millrace.queue.bounds import COMMIT_S
from millrace.queue.fire import announce, prepared
from millrace.triggers.deciding import decide
from millrace.triggers.timetable import Timetable, order_of, timetable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from millrace.clock import Clock
    from millrace.config.settings import Settings
    from millrace.define.registry import Registry
    from millrace.events import Emit, Event
    from millrace.ledger.fire_rows import Decision, Fired, FireRow, ScheduleState
    from millrace.ledger.moves import Moves
    from millrace.ledger.reads import Reads
    from millrace.queue.submit import Submitter
    from millrace.triggers.clockwork import Clockwork
    from millrace.triggers.schedule import Schedule

LOOK_S: Final = 1.0  # how often what waits for its turn is looked at, should the news of an end have been lost
TRIES: Final = 50  # decisions in a row for one schedule; then others get the thread
_NOTHING: Final = Turn(None, ())


@dataclass(slots=True)
class _Held:
    """A schedule, how far it is decided, and when it fires next."""

    schedule: Schedule
    last: int
    paused: bool
    next_at: int | None

    def know(self, state: ScheduleState) -> None:
        if state.last != self.last:
            self.last, self.next_at = state.last, self.schedule.next_fire(state.last)
        self.paused = state.paused_at is not None


class Scheduler:
    """
    The schedules of one daemon.

    Args:
        nudge: Makes upkeep take its turn at once.
    """

    def __init__(
        self,
        registry: Registry,
        settings: Settings,
        *,
        submitter: Submitter,
        moves: Moves,
        reads: Reads,
        clock: Clock,
        emit: Emit,
        nudge: Callable[[], None],
    ) -> None:
        self._registry = registry
        self._settings = settings
        self._submitter = submitter
        self._moves = moves
        self._reads = reads
        self._clock = clock
        self._emit = emit
        self._nudge = nudge
        self._lock = threading.Lock()
        self._held: dict[str, _Held] = {}
        self._clockwork: Clockwork | None = None
        self._started = False
        self._unknown = True  # the settings were not read since they changed
        self._edition = ""
        self._waiting: set[str] = set()  # schedules of which something waits for its turn
        self._awaited: dict[str, str] = {}  # jobs and runs that are in the way of a schedule
        self._ready: set[str] = set()  # schedules of which one of these has ended
        self._looked_at = 0.0
        self.timetable = Timetable({}, {})

    # ---- start, stop, reload

    def start(self) -> None:
        """Let the schedules fire from the next turn on, what was missed at once."""
        self._started = self._unknown = True
        self._nudge()

    def apply(self, settings: Settings) -> None:
        """Let the schedules of new settings hold from the next turn on: who reloads does not wait for a commit."""
        self._settings = settings
        self._unknown = True
        self._nudge()

    def stop(self) -> None:
        """Fire nothing more; a fire that is under way is waited for."""
        self._started = False
        if self._clockwork is not None:
            self._clockwork.stop()

    def _learn(self) -> None:
        self.timetable = found = timetable(self._settings, self._registry)
        for key, problem in found.problems.items():
            self._emit(ScheduleProblem(key, problem))
        marks = {key: schedule.fingerprint for key, schedule in found.schedules.items()}
        if not marks and not self._held and not self._reads.schedules():
            return  # a site without schedules: nothing is written, and no clock is started
        self._edition = self._reads.schedule_edition()
        states = self._moves.sync_schedules(marks).wait(COMMIT_S)
        with self._lock:
            self._held = {key: _held(schedule, states[key]) for key, schedule in found.schedules.items()}
            self._waiting = self._reads.pending_schedules()
        self._wake()

    def _wake(self) -> None:
        if self._clockwork is not None:
            self._clockwork.wake()
        elif self._held:
            from millrace.triggers.clockwork import Clockwork  # with APScheduler, for sites that have schedules alone

            self._clockwork = Clockwork(
                self._clock, lambda: list(self._held), self._next_at, self.fire, emit=self._emit
            )
            self._clockwork.start()

    # ---- supervision

    def revive(self) -> list[str]:
        """Start threads again that have died; return their names."""
        return self._clockwork.revive() if self._clockwork is not None and self._started else []

    def ages(self) -> dict[str, float]:
        """Return how many seconds ago each thread made its last turn."""
        return self._clockwork.ages() if self._clockwork is not None and self._started else {}

    def lag_s(self) -> float:
        """Return for how long the schedule that is the furthest behind should have fired, 0 if none should."""
        now = self._clock.now_ms()
        times = [held.next_at for held in list(self._held.values()) if held.next_at is not None]
        return max(0.0, (now - min(times)) / MS) if times else 0.0

    # ---- one schedule

    def _next_at(self, key: str) -> int | None:
        held = self._held.get(key)
        return held.next_at if held is not None else None

    def fire(self, key: str) -> None:
        """
        Decide and submit what is due of a schedule.

        Raises: LedgerError; it is then decided by the next call.
        """
        turn = self._turn(key) if key in self._waiting or self._looks(key) else _NOTHING
        for _ in range(TRIES):
            held = self._held.get(key)
            if held is None:
                return
            now = self._clock.now_ms()
            decision = self._decide(held, now, turn)
            if decision is None:
                return
            fired = self._moves.fire(decision).wait(COMMIT_S)
            if fired.verdict == "done":
                self._settle(held, decision, fired, now)
            elif fired.verdict == "stale" and not self._refresh(key):
                return
            turn = self._turn(key)

    def _decide(self, held: _Held, now: int, turn: Turn) -> Decision | None:
        # Read before the transaction, it holds in it: who decides moves `last`, and then nothing is written.
        schedule, last = held.schedule, held.last
        taken = self._reads.decided(schedule.key, last, now)
        return decide(schedule, last, now, turn, paused=held.paused, submitter=self._submitter, taken=taken)

    def _turn(self, key: str) -> Turn:
        """Return what of a schedule is in the way of what is to run next, and that."""
        return self._reads.turn(key, beside=not self._looks(key))

    def _looks(self, key: str) -> bool:
        """Return whether what runs of a schedule is in the way of its times."""
        held = self._held.get(key)
        return held is not None and held.schedule.overlap != "allow"

    def _settle(self, held: _Held, decision: Decision, fired: Fired, now: int) -> None:
        """Take note of what was decided, and tell."""
        held.last, held.next_at = decision.upto, held.schedule.next_fire(decision.upto)
        ids = list(fired.ids)
        for new in decision.fires:
            if new.work is not None:
                work_id = ids.pop(0)
                announce(self._emit, new.work, work_id)
                self._emit(ScheduleFired(decision.key, new.outcome, (now - new.due_at) / MS, work_id))
            elif new.outcome == "missed":
                self._emit(ScheduleMissed(decision.key, new.number, new.why))
            elif new.outcome == "skipped":
                self._emit(SchedulePassedOver(decision.key, new.number, new.why))
        if any(new.waits for new in decision.fires):
            with self._lock:
                self._waiting.add(decision.key)
                self._ready.add(decision.key)
            self._nudge()

    def _refresh(self, key: str) -> bool:
        """Learn what others have decided about a schedule; return whether it is still there."""
        state = self._reads.schedules().get(key)
        held = self._held.get(key)
        if state is None or held is None or state.fingerprint != held.schedule.fingerprint:
            return False
        held.know(state)
        return True

    # ---- what waits for its turn, and what people do

    def hear(self, event: Event) -> None:
        """Note the end of what is in the way of something; in the thread that wrote it."""
        if not self._awaited:
            return
        ended = None
        if isinstance(event, AttemptEnded) and event.status in OVER:
            ended = event.job_id
        elif isinstance(event, RunEnded):
            ended = event.run_id
        key = self._awaited.pop(ended, None) if ended is not None else None
        if key is not None:
            self._ready.add(key)
            self._nudge()

    def turn(self) -> None:
        """
        Learn new schedules, hear of what people did, and submit that whose turn has come; upkeep calls this again and
        again.

        Raises: LedgerError; what was to be done is done by the next call.
        """
        if not self._started:
            return
        if self._unknown:
            self._unknown = False
            try:
                self._learn()
            except Exception:
                self._unknown = True
                raise
        if self._clockwork is None:
            return
        self._set_back()
        edition = self._reads.schedule_edition()
        if edition != self._edition:
            self._look()
            self._edition = edition
        now = self._clock.monotonic()
        with self._lock:
            ready, self._ready = self._ready, set()
            if now - self._looked_at >= LOOK_S:
                self._looked_at = now
                ready |= self._waiting
        for key in ready:
            self._go_on(key)

    def _set_back(self) -> None:
        """Let what a clock that was ahead has decided go on from now: else nothing fires until that time comes."""
        if all(held.last <= self._clock.now_ms() for held in self._held.values()):
            return
        count, furthest = self._moves.set_back_schedules().wait(COMMIT_S)
        if count:
            self._emit(SchedulesSetBack(count, round((furthest - self._clock.now_ms()) / MS, 3)))
        self._look()

    def _look(self) -> None:
        """Learn anew how far all schedules are decided, which are paused, and what waits."""
        states, waiting = self._reads.schedules(), self._reads.pending_schedules()
        with self._lock:
            for key, held in self._held.items():
                state = states.get(key)
                if state is not None and state.fingerprint == held.schedule.fingerprint:
                    held.know(state)
            self._waiting |= waiting
            self._ready |= waiting
        self._wake()

    def _go_on(self, key: str) -> None:
        """Submit what waits of a schedule, until something of it runs."""
        for _ in range(TRIES):
            held, turn = self._held.get(key), self._turn(key)
            waits = held is not None and turn.next is not None
            self._await(key, turn.runs if waits else ())
            if held is None or turn.next is None:
                with self._lock:
                    self._waiting.discard(key)
                return
            if held.paused or (turn.runs and self._turn(key).runs):
                return
            self._submit(key, held, turn.next)
        with self._lock:
            self._ready.add(key)
        self._nudge()

    def _await(self, key: str, runs: Sequence[FireRow]) -> None:
        """Listen for the end of what is in the way of a schedule, and of nothing else: not each end is told."""
        there = {row.job_id or row.run_id or "" for row in runs}
        for work_id, of in list(self._awaited.items()):
            if of == key and work_id not in there:
                self._awaited.pop(work_id, None)
        self._awaited.update(dict.fromkeys(there, key))

    def _submit(self, key: str, held: _Held, row: FireRow) -> None:
        try:
            due_at = None if row.how == HAND else row.due_at
            work = prepared(self._submitter, order_of(held.schedule, row.due_at), due_at)
        except MillraceError as error:
            if self._moves.drop_fire(key, row.due_at, row.how, str(error)).wait(COMMIT_S):
                self._emit(ScheduleMissed(key, 1, str(error)))
            return
        beside = held.schedule.overlap == "allow"
        work_id = self._moves.fire_next(key, row.due_at, row.how, work, beside=beside).wait(COMMIT_S)
        if work_id is not None:
            announce(self._emit, work, work_id)
            late_s = (self._clock.now_ms() - row.due_at) / MS
            self._emit(ScheduleFired(key, row.outcome, late_s, work_id))


def _held(schedule: Schedule, state: ScheduleState) -> _Held:
    return _Held(schedule, state.last, state.paused_at is not None, schedule.next_fire(state.last))
