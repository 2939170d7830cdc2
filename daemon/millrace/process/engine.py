"""The engine of a daemon: ledger, tasks, children, pools and upkeep, started and stopped in order."""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from typing import TYPE_CHECKING, Any, Final

import psutil

from millrace import __version__
from millrace.define.load import load_jobs
from millrace.errors import LedgerError, LedgerFull
from millrace.events import AttemptsRecovered, JobFileBroken, LedgerMade, PartRestarted, SignOffFailed
from millrace.ledger.ids import new_id
from millrace.ledger.ledger import Ledger
from millrace.ledger.moves import Moves
from millrace.ledger.rows import DaemonRow
from millrace.ledger.wake import Listener
from millrace.observe.facts import ScheduleFacts
from millrace.process.lock import is_daemon
from millrace.queue.patrol import Patrol
from millrace.queue.pool import Pool, PoolState
from millrace.queue.submit import Submitter
from millrace.queue.upkeep import Upkeep, promote_what_fits
from millrace.runner.children import Children
from millrace.runner.kit import Kit
from millrace.runner.leftovers import kill_leftovers
from millrace.runner.outcome import record_again
from millrace.runner.policy import RunPolicy
from millrace.runner.rulebook import RuleBook
from millrace.runner.running import Running
from millrace.triggers.scheduler import Scheduler

if TYPE_CHECKING:
    from millrace.clock import Clock
    from millrace.config.load import Site
    from millrace.config.settings import QueueSettings, Settings
    from millrace.events import Emit, Event

LOOK_S: Final = 0.05
NOW_S: Final = 2.0  # for what was interrupted to be recorded, when the stop is in a hurry: processes need about one
HUNG_S: Final = 20.0
SIGN_OFF_S: Final = 5.0
MOST_TOLD: Final = 200  # of what could not be written, and the characters of each reason: an answer is one datagram
MOST_WORDS: Final = 300
MOST_LOAD: Final = 4.0  # load average per core above which pools do not grow
MOST_MEMORY: Final = 90.0  # percent
# A millisecond instead of five: the writer asks for the interpreter's lock at every statement, and a job that computes
# in a thread makes all other threads wait this long each time.
SWITCH_S: Final = 0.001


class Engine:
    """
    What runs jobs. Opening it takes over the ledger from a daemon that died; `start` begins to claim.

    Raises: LedgerForeign, LedgerError, MillraceError if processes of a dead daemon cannot be ended.
    """

    def __init__(self, site: Site, *, clock: Clock, emit: Emit) -> None:
        sys.setswitchinterval(SWITCH_S)
        self._clock = clock
        self._outside = emit
        self._heard: list[Emit] = []  # by parts of the engine
        self._emit = emit = self._tell
        self._never = threading.Event()
        self._started = False
        settings, places = site.settings, site.places
        self.daemon = new_id(clock.now_ms())
        self.registry = load_jobs(places.root, places.jobs, queues=settings.queues)
        for problem in self.registry.problems:
            emit(JobFileBroken(problem.file, problem.line, problem.reason))
        fresh = not places.ledger.exists()
        self.ledger = Ledger(places.ledger, clock=clock, synchronous=settings.database.synchronous, emit=emit)
        if fresh:
            emit(LedgerMade(str(places.ledger)))
        weights = {name: client.weight for name, client in settings.clients.items()}
        self.moves = Moves(self.ledger.writer, daemon=self.daemon, weights=weights, blobs=self.ledger.blobs)
        self._take_over({name for name, queue in settings.queues.items() if queue.kind == "thread"})
        self.submitter = Submitter(self.registry, settings, self.moves, self.ledger.reads, emit=emit)
        self.running = Running(clock)
        self._listener = Listener(places.state, lambda: json.dumps(self.troubles()))
        self.children = self._new_children(site)
        self._kit = self._new_kit(settings)
        self._pools = [self._new_pool(name, queue) for name, queue in settings.queues.items()]
        self.patrol = Patrol(self.ledger, self._kit, self.running, lambda: {pool.intake.queue for pool in self._pools})
        self.upkeep = Upkeep(self.ledger, self._kit, self.running, self._pools, self._listener)
        self.scheduler = self._new_scheduler(settings)
        self._heard.append(self.scheduler.hear)
        self.upkeep.also["schedules"] = self.scheduler.turn

    def _new_children(self, site: Site) -> Children:
        settings, places = site.settings, site.places
        return Children(
            root=places.root,
            jobs=places.jobs,
            daemon_id=self.daemon,
            ledger_mark=self.ledger.reads.ledger_id(),
            scratch=places.state / "scratch",
            queues=settings.queues,
            clock=self._clock,
            emit=self._emit,
            moves=self.moves,
            idle_s=settings.defaults.child_idle,
            grace_s=settings.defaults.grace,
            memory={name: queue.memory for name, queue in settings.queues.items()},
        )

    def _new_kit(self, settings: Settings) -> Kit:
        return Kit(
            registry=self.registry,
            moves=self.moves,
            reads=self.ledger.reads,
            clock=self._clock,
            emit=self._emit,
            children=self.children,
            defaults=_run_policy(settings),
            settings_of=settings.for_client,
            rules=RuleBook(settings.rule_tables()),
        )

    def _new_pool(self, name: str, queue: QueueSettings) -> Pool:
        return Pool(
            name,
            settings=queue,
            kit=self._kit,
            running=self.running,
            submitter=self.submitter,
            reads=self.ledger.reads,
            roomy=_roomy,
        )

    def _new_scheduler(self, settings: Settings) -> Scheduler:
        return Scheduler(
            self.registry,
            settings,
            submitter=self.submitter,
            moves=self.moves,
            reads=self.ledger.reads,
            clock=self._clock,
            emit=self._emit,
            nudge=self.upkeep.nudge,
        )

    def _tell(self, event: Event) -> None:
        self._outside(event)
        for hear in self._heard:
            hear(event)

    def start(self) -> None:
        """Begin to claim and run."""
        promote_what_fits(self.ledger, self._kit)
        for pool in self._pools:
            pool.start()
        self.upkeep.start()  # last: it would take a pool that has not started for one that has died
        self._started = True

    def start_schedules(self) -> None:
        """Fire schedules from now on. After an outage that is a lot of work at once, so a daemon is ready before it."""
        self.scheduler.start()

    def states(self) -> list[PoolState]:
        """Return the pools at this moment."""
        return [pool.state() for pool in self._pools]

    def apply(self, settings: Settings) -> None:
        """Let new settings hold. They are valid; what the engine was built of (queues, database) is as it was."""
        self.moves.weights = {name: client.weight for name, client in settings.clients.items()}
        self.submitter.apply(settings)
        self._kit.defaults = _run_policy(settings)
        self._kit.settings_of = settings.for_client
        self._kit.rules = RuleBook(settings.rule_tables())
        memory = {name: queue.memory for name, queue in settings.queues.items()}
        self.children.apply(idle_s=settings.defaults.child_idle, grace_s=settings.defaults.grace, memory=memory)
        for pool in self._pools:
            pool.apply(settings.queues[pool.intake.queue])
        self.scheduler.apply(settings)

    def revive(self) -> None:
        """Start a thread again that has died: without upkeep nothing due is queued, without a clock nothing fires."""
        for name in [*self.upkeep.revive(), *self.scheduler.revive()]:
            self._emit(PartRestarted(name, "its thread had ended"))

    def progressing(self) -> bool:
        """Return whether all parts make their turns, or wait for a lock that another process holds."""
        return self.ledger.writer.alive and (self.ledger.writer.locked or max(self.ages().values()) < HUNG_S)

    def ages(self) -> dict[str, float]:
        """Return how many seconds ago each thread that must not hang made its last turn."""
        return {**self.upkeep.ages(), **self.scheduler.ages()}

    def failing(self) -> dict[str, str]:
        """Return the parts that failed at their last turn, and why."""
        return dict(self.upkeep.failing)

    def refusals(self) -> tuple[int, str]:
        """Return how many attempts have ended whose outcome is not written, and why one of them is not."""
        found = list(self._kit.refusals.values())
        return len(found), f"{type(found[0]).__name__}: {found[0]}" if found else ""

    def troubles(self) -> dict[str, Any]:
        """Return what keeps the ledger from being written, as far as this process alone knows it; JSON."""
        known = list(self._kit.refusals.items())[:MOST_TOLD]
        unrecorded = {job_id: [attempt, str(error)[:MOST_WORDS]] for (job_id, attempt), error in known}
        full = self.ledger.writer.full or any(isinstance(error, LedgerFull) for _, error in known)
        level = self.submitter.room.level() if self.submitter.room is not None else None
        return {"full": full, "level": level, "unrecorded": unrecorded}

    def schedules(self) -> ScheduleFacts:
        """Return the schedules at this moment."""
        found = self.scheduler.timetable
        return ScheduleFacts(len(found.schedules), found.problems, self.scheduler.lag_s())

    def drain(self, drain_s: float, hurry: threading.Event) -> int:
        """
        Claim no more and let running jobs end; after `drain_s` seconds, or at once when `hurry` is set, end them.

        Returns: How many attempts were handed back.
        """
        self.scheduler.stop()
        released = sum(pool.stop_claiming() for pool in self._pools)
        until = self._clock.monotonic() + drain_s
        while self.running.jobs() and self._clock.monotonic() < until and not hurry.is_set():
            self._clock.wait(hurry, LOOK_S)
        return released + self.running.interrupt_all("shutdown")

    def stop(self, grace_s: float, hurry: threading.Event) -> None:
        """
        Wait `grace_s` seconds at most, or a moment when `hurry` is set, for interrupted attempts to be recorded, then
        close everything. It need not have been started.

        A thread that does not end by then ends with the process, and its job is queued again.
        """
        until = self._clock.monotonic() + grace_s
        while self.running.jobs() and (now := self._clock.monotonic()) < until:
            until = min(until, now + NOW_S) if hurry.is_set() else until
            self._clock.wait(self._never, LOOK_S)
        for live in self.running.jobs():
            self.moves.release(live.held, "shutdown", duration_s=0.0, facts={"thread": "did not end"})
        if self._started:
            self.upkeep.stop()
        record_again(self._kit)  # else the next daemon would run again what is done
        self.children.close()
        self._listener.close()
        try:
            self.moves.beat(stopped=True).wait(SIGN_OFF_S)  # behind it no claim is under way any more
        except LedgerError as error:
            self._emit(SignOffFailed(str(error)))
        self.ledger.close()

    def _take_over(self, thread_queues: set[str]) -> None:
        """Sign in, end what a dead daemon left behind, and only then take its attempts back."""
        now = self._clock.now_ms()
        reads = self.ledger.reads
        self.moves.sign_in(
            DaemonRow(self.daemon, os.getpid(), socket.gethostname(), __version__, now, now, None)
        ).wait()
        recorded = reads.children()
        killed = kill_leftovers(recorded, reads.ledger_id(), self._clock, is_daemon)
        for child in recorded:
            self.moves.child_gone(child.pid, child.start_ticks)
        released = stopped = 0
        while True:
            more = self.moves.take_back(thread_queues).wait()
            if not any(more):
                break
            released, stopped = released + more[0], stopped + more[1]
        if released or stopped or killed:
            self._emit(AttemptsRecovered(released, stopped, killed))


def _run_policy(settings: Settings) -> RunPolicy:
    base_s, cap_s = settings.defaults.backoff
    return RunPolicy(timeout_s=settings.defaults.timeout, backoff_base_s=base_s, backoff_cap_s=cap_s)


def _roomy() -> bool:
    load, _, _ = os.getloadavg()
    return load < MOST_LOAD * (os.cpu_count() or 1) and psutil.virtual_memory().percent < MOST_MEMORY
