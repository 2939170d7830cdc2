"""
Fires schedules at their times. What is due is decided elsewhere, from the ledger: a wake-up too many does no harm, and
that there is none too few is the work of a watch, which sees the wall clock jump and the clock's own thread die.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from millrace.clock import MS
from millrace.events import ClockJumped, FireFailed, PartRestarted
from millrace.triggers.wakeups import Wakeups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from millrace.clock import Clock
    from millrace.events import Emit

LOOK_S: Final = 0.25  # how often wall and monotonic clock are compared: a jump is to be noticed within a second
DRIFT_S: Final = 0.1  # apart by this since the times were computed: the clock was set, or slewed, or the machine slept
JUMP_S: Final = 2.0  # apart by this it is worth telling
PROBE_S: Final = 2.0  # how often the thread that waits is made to turn, so that one that hangs is seen
AGAIN_S: Final = 1.0  # before a fire that failed, or that left its due time undecided, is tried again
FURTHEST_S: Final = 86400.0  # no wake-up is set further ahead; then the time is computed anew


class Clockwork:
    """
    Calls `fire(key)` for each schedule when its time has come, from one of a few threads.

    Args:
        clock: The wall clock that the times are in, and the monotonic one that it is compared with.
        keys: Returns the schedules that there are now.
        next_at: Returns when a schedule is to fire next (epoch ms, in the past if that was missed), or None for never
            and for one that is gone. Asked at the start, around each fire of that schedule and at each `wake`.
        fire: Decides and submits what is due of a schedule. Several schedules fire at once, one schedule never twice at
            once. What it raises is told, and it is tried again a second later.
        emit: Takes events: a clock that jumped, a fire that failed, a thread that was started again.
    """

    def __init__(
        self,
        clock: Clock,
        keys: Callable[[], Iterable[str]],
        next_at: Callable[[str], int | None],
        fire: Callable[[str], object],
        *,
        emit: Emit,
    ) -> None:
        self._clock = clock
        self._keys = keys
        self._next_at = next_at
        self._fire = fire
        self._emit = emit
        self._lock = threading.RLock()
        self._stop = threading.Event()
        self._stop.set()
        self._wakeups = Wakeups(clock)
        self._watch = self._new_watch()
        self._watched_at = clock.monotonic()
        self._apart_s = self._apart()
        self._firing: set[str] = set()
        self._computed = 0  # how often all times were computed: one computed before is not set after

    # ---- start and stop

    def start(self) -> None:
        """Start; what was missed fires at once. It is started once."""
        self._stop.clear()
        self._wakeups.begin()
        self.wake()
        self._watched_at = self._clock.monotonic()
        self._watch.start()

    def stop(self) -> None:
        """End all threads; fires that run are waited for. It need not have been started."""
        with self._lock:
            self._stop.set()  # in the lock: from now on nobody sets a wake-up, which would wait for the end below
        if self._watch.is_alive():
            self._watch.join()
        self._wakeups.end()

    def wake(self) -> None:
        """Compute all times anew: when schedules, or the state they are decided from, were changed."""
        with self._lock:
            self._computed += 1
            apart_s = self._apart()
            times = {key: self._next_at(key) for key in self._keys()}
            if self._stop.is_set() or not self._wakeups.alive:  # one that has died is started again, and woken, soon
                return
            self._apart_s = apart_s  # now that it is known that it worked: else the watch tries again
            with self._wakeups.many():
                for key in self._wakeups.keys() - times.keys():
                    self._wakeups.drop(key)
                for key, at in times.items():
                    self._set(key, at)

    # ---- supervision

    @property
    def alive(self) -> bool:
        """Whether both threads live."""
        return self._wakeups.alive and self._watch.is_alive()

    def ages(self) -> dict[str, float]:
        """Return how many seconds ago each thread made its last turn: below 3 for one that lives and does not hang."""
        now = self._clock.monotonic()
        return {"schedules": now - self._wakeups.turned_at, "clock": now - self._watched_at}

    def revive(self) -> list[str]:
        """Start again what has died; return its names. The watch does so for the other thread, and tells."""
        with self._lock:
            if self._stop.is_set():
                return []
            revived = []
            if not self._wakeups.alive:
                self._wakeups.end()
                self._wakeups = Wakeups(self._clock)
                self._wakeups.begin()
                self.wake()
                revived.append("schedules")
            if not self._watch.is_alive():
                self._watch = self._new_watch()
                self._watch.start()
                revived.append("clock")
            return revived

    def _new_watch(self) -> threading.Thread:
        return threading.Thread(target=self._look_on, name="millrace-clock", daemon=True)

    def _look_on(self) -> None:
        probed_at = self._clock.monotonic()
        while not self._clock.wait(self._stop, LOOK_S):
            try:
                self._compare()
                for part in self.revive():
                    self._emit(PartRestarted(part, "its thread had ended"))
                if self._clock.monotonic() - probed_at >= PROBE_S:
                    probed_at = self._clock.monotonic()
                    self._wakeups.turn()
            except Exception as error:  # noqa: BLE001 - one failed look must not end the watch; it is told, and tried again
                self._emit(PartRestarted("clock", f"{type(error).__name__}: {error}"))
                self._clock.wait(self._stop, AGAIN_S)
            self._watched_at = self._clock.monotonic()

    def _compare(self) -> None:
        drift_s = self._apart() - self._apart_s
        if abs(drift_s) > DRIFT_S:
            if abs(drift_s) > JUMP_S:
                self._emit(ClockJumped(round(drift_s, 3)))
            self.wake()

    def _apart(self) -> float:
        return self._clock.now_ms() / MS - self._clock.monotonic()

    # ---- one schedule

    def _turn(self, key: str) -> None:
        """Fire a schedule whose wake-up has come, and set the next one."""
        with self._lock:
            if self._stop.is_set() or key in self._firing:
                return  # who fires it sets its next wake-up
            self._firing.add(key)
        decided = self._fired(key)
        computed = -1
        while computed != self._computed:  # a time that was read before all were computed anew may be an old one
            computed = self._computed
            at = self._next_of(key, decided=decided)
            with self._lock:
                if computed == self._computed:
                    self._firing.discard(key)
                    if not self._stop.is_set():
                        self._set(key, at)

    def _fired(self, key: str) -> bool:
        """Fire a schedule if it is due; return whether it is decided now."""
        try:
            at = self._next_at(key)
            if at is None or at > self._clock.now_ms():
                return True
            self._fire(key)
            return self._next_at(key) != at
        except Exception as error:  # noqa: BLE001 - one failed fire must not end a schedule; it is told, and tried again
            self._emit(FireFailed(key, f"{type(error).__name__}: {error}"))
            return False

    def _next_of(self, key: str, *, decided: bool) -> int | None:
        try:
            if decided:
                return self._next_at(key)
        except Exception as error:  # noqa: BLE001 - the same
            self._emit(FireFailed(key, f"{type(error).__name__}: {error}"))
        return self._clock.now_ms() + round(AGAIN_S * MS)

    def _set(self, key: str, at: int | None) -> None:
        if at is None:
            self._wakeups.drop(key)
        else:
            in_s = min(max((at - self._clock.now_ms()) / MS, 0.0), FURTHEST_S)
            self._wakeups.put(key, in_s, self._turn)
