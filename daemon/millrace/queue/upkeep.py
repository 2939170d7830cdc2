"""
What a running daemon does beside running jobs: makes due jobs ready at their time, hears of what other processes wrote,
carries out cancels, tends the pools. Two threads; each notes its last turn, so that health can see one that hangs.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from millrace.clock import MS
from millrace.errors import MillraceError
from millrace.events import EffectInDoubt, PartRestarted
from millrace.runner.adopted import Adopted
from millrace.runner.outcome import record_again

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from typing import Any

    from millrace.ledger.ledger import Ledger
    from millrace.ledger.ticket import Ticket
    from millrace.ledger.transaction import Changes
    from millrace.ledger.wake import Listener
    from millrace.queue.pool import Pool
    from millrace.runner.kit import Kit
    from millrace.runner.running import Running

LOOK_S: Final = 0.25  # how often the data version is looked at, in case a poke was lost
TURN_S: Final = 1.0  # the longest sleep of upkeep: a clock that jumped is noticed by then
BEAT_S: Final = 15.0
PROMOTE: Final = 500
PATIENCE_S: Final = 3.0  # without progress, whoever resumes a run is taken for gone: a busy machine takes its time


class Upkeep:
    """Keeps the queues of one daemon going until it is stopped."""

    def __init__(self, ledger: Ledger, kit: Kit, running: Running, pools: Collection[Pool], listener: Listener) -> None:
        self._ledger = ledger
        self._kit = kit
        self._clock = kit.clock
        self._running = running
        self._pools = {pool.intake.queue: pool for pool in pools}
        self._listener = listener
        self._stop = threading.Event()
        self._due_changed = threading.Event()
        self.also: dict[str, Callable[[], None]] = {}  # what else takes a turn along with upkeep, by name
        self._beat_at = 0.0
        self._tended_at = 0.0
        self._left_s = 0.0  # for so long nothing is due
        self._seen_version = 0
        self._resumes: dict[str, tuple[int, float]] = {}  # runs that are being resumed: how far, and since when so
        self._adopted = Adopted(self._clock)
        self.failing: dict[str, str] = {}  # what failed at its last turn, and why
        self.turns = {"upkeep": self._clock.monotonic(), "wake": self._clock.monotonic()}
        self._threads = {name: self._thread(name) for name in self.turns}
        ledger.on_change.append(self._changed)

    def start(self) -> None:
        """Start both threads."""
        for thread in self._threads.values():
            thread.start()

    def stop(self) -> None:
        """End both threads."""
        self._stop.set()
        self._due_changed.set()
        for thread in self._threads.values():
            thread.join(TURN_S * 5)

    def nudge(self) -> None:
        """Let upkeep take its next turn at once."""
        self._due_changed.set()

    def revive(self) -> list[str]:
        """Start threads again that have ended though nobody stopped them; return their names."""
        if self._stop.is_set():
            return []
        dead = [name for name, thread in self._threads.items() if thread.ident is not None and not thread.is_alive()]
        for name in dead:
            self._threads[name] = self._thread(name)
            self._threads[name].start()
        return dead

    def ages(self) -> dict[str, float]:
        """Return how many seconds ago each thread made its last turn."""
        now = self._clock.monotonic()
        return {name: now - turn for name, turn in self.turns.items()}

    def _thread(self, name: str) -> threading.Thread:
        turn = {"upkeep": self._upkeep_turn, "wake": self._wake_turn}[name]
        return threading.Thread(target=self._loop, args=(name, turn), name=f"millrace-{name}", daemon=True)

    def _loop(self, name: str, turn: Callable[[], None]) -> None:
        while not self._stop.is_set():
            if not self._did(name, turn):
                self._clock.wait(self._stop, TURN_S)
            self.turns[name] = self._clock.monotonic()

    def _did(self, name: str, piece: Callable[[], object]) -> bool:
        """
        Do one piece of the work; return whether that went well.

        A piece that fails must keep nothing else from its turn. It is tried again at the next one, told once for each
        reason, and named in `failing` for as long as it fails.
        """
        try:
            piece()
        except Exception as error:  # noqa: BLE001 - whatever befalls one piece, the others go on
            reason = f"{type(error).__name__}: {error}"
            if self.failing.get(name) != reason and not self._stop.is_set():
                self._kit.emit(PartRestarted(name, reason))
            self.failing[name] = reason
            return False
        self.failing.pop(name, None)
        return True

    # ---- what was written, here or by other processes

    def _changed(self, changes: Changes) -> None:
        """Hear of a commit of this process; in the writer's thread."""
        for queue in changes.queued:
            pool = self._pools.get(queue)
            if pool is not None:
                pool.intake.wake()
        if changes.due:
            self._due_changed.set()
        if changes.cancels:
            self._listener.nudge()  # the wake thread looks which: the writer's must not wait for a read

    def _wake_turn(self) -> None:
        """Wait for a poke, or look whether the ledger has changed without one."""
        poked = self._listener.wait(LOOK_S)
        version = self._ledger.reads.data_version()
        if poked or version != self._seen_version:
            self._ledger.reads.check_version()
            self._seen_version = version
            for pool in self._pools.values():
                pool.intake.wake()
            self._due_changed.set()
            self._cancel()

    def _cancel(self) -> None:
        for job_id in self._ledger.reads.cancels(self._kit.moves.daemon):
            self._running.cancel(job_id)

    # ---- time

    def _upkeep_turn(self) -> None:
        self._due_changed.clear()
        if not self._did("due jobs", self._promote):
            self._left_s = TURN_S
        for name, turn in list(self.also.items()):
            self._did(name, turn)
        now = self._clock.monotonic()
        if now - self._tended_at >= TURN_S:
            self._tended_at = now
            self._tend(now)
        if self._left_s > 0:
            self._clock.wait(self._due_changed, min(self._left_s, TURN_S))

    def _promote(self) -> None:
        """Queue what is due, and note for how many seconds nothing will be."""
        due_at = self._ledger.reads.next_due()
        self._left_s = TURN_S if due_at is None else (due_at - self._clock.now_ms()) / MS
        if self._left_s <= 0:
            self._kit.moves.promote_due(PROMOTE).wait()

    def _tend(self, now: float) -> None:
        for name, pool in self._pools.items():
            self._did(f"queue {name}", pool.tend)
        self._did("idle processes", self._kit.children.reap_idle)
        self._did("processes left behind", lambda: self._adopted.take_down(keep=[self._kit.children.helper()]))
        self._did("outcomes", lambda: record_again(self._kit))
        self._did("cancelled runs", self._cancel_runs)
        self._did("resumed runs", self._resume_runs)
        self._did("effects in doubt", self._tell_of_doubts)
        if now - self._beat_at >= BEAT_S:
            self._beat_at = now
            self._did("heartbeat", lambda: self._kit.moves.beat().wait(BEAT_S))

    def _tell_of_doubts(self) -> None:
        """Say which effects wait for a person since the last look."""
        if self._ledger.reads.doubts_to_tell():
            for client, key, job_id in self._kit.moves.effects_to_tell().wait():
                self._kit.emit(EffectInDoubt(client, key, job_id))

    def _cancel_runs(self) -> None:
        """Cancel more jobs of runs whose end was asked for; for a turn at most."""
        self._for_each(self._ledger.reads.runs_to_cancel(), self._kit.moves.cancel_some)

    def _resume_runs(self) -> None:
        """Put more jobs back of runs that somebody resumes who has gone; for a turn at most."""
        reads = self._ledger.reads
        waiting = self._since_when(reads.runs_to_resume())
        now = self._clock.monotonic()
        # Until then whoever resumes it is at it, and will say how many he put back.
        alone = [run_id for run_id, (_, since) in waiting.items() if now - since >= PATIENCE_S]
        try:
            self._for_each(alone, self._kit.moves.resume_some)
        finally:
            left = reads.runs_to_resume()
            self._resumes = {run_id: (left[run_id], since) for run_id, (_, since) in waiting.items() if run_id in left}

    def _for_each(self, run_ids: Iterable[str], some: Callable[[str], Ticket[Any]]) -> None:
        """Go on with each run, whatever befalls the others. Raises the first of their errors, naming its run."""
        until = self._clock.monotonic() + TURN_S
        failed: list[tuple[str, Exception]] = []
        for run_id in run_ids:
            try:
                while some(run_id).wait() and self._clock.monotonic() < until:
                    pass
            except Exception as error:  # noqa: BLE001 - it is raised below, when the others had their turn
                failed.append((run_id, error))
        if failed:
            run_id, first = failed[0]
            raise MillraceError(f"run {run_id}: {type(first).__name__}: {first}") from first

    def _since_when(self, undone: Mapping[str, int]) -> dict[str, tuple[int, float]]:
        """Return for each run how far it is, and since when nobody has got it further."""
        now = self._clock.monotonic()
        known = {run_id: self._resumes.get(run_id, (number, now)) for run_id, number in undone.items()}
        return {
            run_id: (undone[run_id], since if before == undone[run_id] else now)
            for run_id, (before, since) in known.items()
        }


def promote_what_fits(ledger: Ledger, kit: Kit) -> int:
    """Queue jobs whose task is back, or whose payload fits again: what a starting daemon does; return how many."""
    count = 0
    for reason in ("unknown_task", "payload"):
        for task in ledger.reads.held_tasks(reason):
            if not kit.registry.knows(task):
                continue
            while promoted := kit.moves.promote_fitting(reason, task, PROMOTE).wait():
                count += promoted
    return count
