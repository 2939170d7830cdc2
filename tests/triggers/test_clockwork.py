"""The clock of the schedules, with real threads: on time, awake when the wall clock jumps, alive when a thread dies."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from millrace.clock import SYSTEM
from millrace.events import ClockJumped, FireFailed, PartRestarted
from millrace.triggers.clockwork import Clockwork
from millrace.triggers.due import due, settled
from millrace.triggers.every import Every
from millrace.triggers.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from millrace.events import Event
    from tests.conftest import Until

HOUR = 3_600_000
JUMP_S = 2.0  # within a second, and one more for a machine that runs other tests


class Jumpy:
    """The machine's clocks, but the wall clock can be set."""

    def __init__(self) -> None:
        self.ahead_ms = 0

    def now_ms(self) -> int:
        return SYSTEM.now_ms() + self.ahead_ms

    def monotonic(self) -> float:
        return SYSTEM.monotonic()

    def wait(self, event: threading.Event, timeout_s: float | None) -> bool:
        return SYSTEM.wait(event, timeout_s)


class Book:
    """What the ledger will do: remembers the last due time of each schedule, and decides the next with `due`."""

    def __init__(self, clock: Jumpy) -> None:
        self.clock = clock
        self.lock = threading.Lock()
        self.schedules: dict[str, Schedule] = {}
        self.last: dict[str, int] = {}
        self.ran: dict[str, list[tuple[int, int]]] = {}
        self.turns: Counter[str] = Counter()
        self.fail: Callable[[str], object] = str  # what a test makes of a fire before it decides; this does nothing

    def add(self, key: str, timing: object, last: int | None = None) -> None:
        self.schedules[key] = Schedule(key, "task", "t", timing)  # type: ignore[arg-type]
        self.last[key] = self.clock.now_ms() if last is None else last
        self.ran[key] = []

    def keys(self) -> list[str]:
        return list(self.schedules)

    def next_at(self, key: str) -> int | None:
        return self.schedules[key].next_fire(self.last[key]) if key in self.schedules else None

    def fire(self, key: str) -> None:
        self.turns[key] += 1
        self.fail(key)
        now = self.clock.now_ms()
        with self.lock:
            for fire in settled(self.schedules[key], due(self.schedules[key], self.last[key], now), busy=False):
                self.last[key] = fire.due_at
                if fire.runs:
                    self.ran[key].append((fire.due_at, now))


class Once:
    """A single time, without a calendar."""

    zone = "UTC"

    def __init__(self, at: int) -> None:
        self.at = at

    def times(self, after: int, until: int) -> Iterator[int]:
        yield from (at for at in (self.at,) if after < at <= until)

    def back(self, after: int, until: int) -> Iterator[int]:
        return self.times(after, until)

    def count(self, after: int, until: int) -> int:
        return len(list(self.times(after, until)))

    def next(self, after: int) -> int | None:
        return self.at if self.at > after else None


@pytest.fixture
def clock() -> Jumpy:
    """Clocks that a test can set."""
    return Jumpy()


@pytest.fixture
def book(clock: Jumpy) -> Book:
    """Schedules and their state; empty."""
    return Book(clock)


@pytest.fixture
def events() -> list[Event]:
    """What the clockwork told."""
    return []


@pytest.fixture
def clockwork(clock: Jumpy, book: Book, events: list[Event]) -> Iterator[Clockwork]:
    """A clockwork that is not started yet; no thread of it may be left behind."""
    made = Clockwork(clock, book.keys, book.next_at, book.fire, emit=events.append)
    yield made
    made.stop()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("millrace-")]


def test_a_pace_is_kept_and_each_due_time_fires_once(clockwork: Clockwork, book: Book, until: Until) -> None:
    """The plainest promise."""
    book.add("fast", Every(0.1, "UTC"))
    clockwork.start()
    until(lambda: len(book.ran["fast"]) >= 10)
    clockwork.stop()

    due_at = [at for at, _ in book.ran["fast"]]
    assert due_at == sorted(set(due_at))
    assert all(at % 100 == 0 for at in due_at)
    late = sorted(now - at for at, now in book.ran["fast"])
    assert late[0] >= 0, "never before its time"
    assert late[len(late) // 2] < 250, "milliseconds; some 2 on a machine that does nothing else"


def test_a_fire_that_is_due_again_at_once_is_not_dropped(clockwork: Clockwork, book: Book, until: Until) -> None:
    """APScheduler drops a wake-up whose last one has not quite ended; the schedule would never fire again."""
    book.add("busy", Every(0.001, "UTC"))
    clockwork.start()
    until(lambda: book.turns["busy"] >= 1000)


def test_what_was_missed_fires_at_the_start(clockwork: Clockwork, book: Book, clock: Jumpy, until: Until) -> None:
    """A daemon that was down over the due time does not wait for the next one."""
    book.add("missed", Once(clock.now_ms() - 5 * HOUR), last=clock.now_ms() - 6 * HOUR)
    clockwork.start()
    until(lambda: book.ran["missed"])
    assert clockwork.alive


def test_five_hundred_schedules_of_one_second_fire_within_it(
    clockwork: Clockwork, book: Book, clock: Jumpy, until: Until
) -> None:
    """Everybody takes the full hour."""
    at = clock.now_ms() + 1500
    for number in range(500):
        book.add(f"s{number}", Once(at))
    clockwork.start()
    until(lambda: all(book.ran.values()))
    assert all(0 <= now - at < 1000 for ran in book.ran.values() for at, now in ran)
    assert all(len(ran) == 1 for ran in book.ran.values())


@pytest.mark.parametrize("hours", [1, 72])
def test_a_clock_that_jumps_ahead_is_noticed_within_a_second(
    clockwork: Clockwork, book: Book, events: list[Event], until: Until, hours: int
) -> None:
    """The scheduler sleeps by the clock it began to sleep with: a laptop that was shut would miss the night."""
    clock = book.clock
    at = clock.now_ms() + hours * HOUR - 60_000
    book.add("tonight", Once(at))
    clockwork.start()
    clock.ahead_ms += hours * HOUR
    until(lambda: book.ran["tonight"], limit_s=JUMP_S)
    assert [round(event.by_s) for event in events if isinstance(event, ClockJumped)] == [hours * 3600]


def test_a_clock_that_jumps_back_fires_nothing_again_and_nothing_early(
    clockwork: Clockwork, book: Book, clock: Jumpy, events: list[Event], until: Until
) -> None:
    """What was due in the hour that comes again was done; what is next is due an hour later by the wall."""
    book.add("soon", Once(clock.now_ms() + 300))
    book.add("later", Once(clock.now_ms() + 1200))
    clockwork.start()
    until(lambda: book.ran["soon"])
    clock.ahead_ms -= HOUR
    until(lambda: any(isinstance(event, ClockJumped) for event in events), limit_s=JUMP_S)
    until(lambda: clock.now_ms() + HOUR > book.schedules["later"].timing.next(0) + 500)  # type: ignore[operator]
    assert (len(book.ran["soon"]), book.ran["later"]) == (1, [])

    clock.ahead_ms += HOUR
    until(lambda: book.ran["later"], limit_s=JUMP_S)
    assert len(book.ran["soon"]) == 1


def test_a_small_drift_is_followed_without_a_word(
    clockwork: Clockwork, book: Book, clock: Jumpy, events: list[Event], until: Until
) -> None:
    """A clock that is slewed by minutes over a night is not news, but the fires must follow it."""
    at = clock.now_ms() + 3000
    book.add("x", Once(at))
    clockwork.start()
    clock.ahead_ms += 1500
    until(lambda: book.ran["x"], limit_s=2.5)
    assert not events


def test_schedules_that_were_changed_hold_after_a_wake(
    clockwork: Clockwork, book: Book, clock: Jumpy, until: Until
) -> None:
    """A reload of the settings adds, changes and takes away."""
    book.add("gone", Once(clock.now_ms() + 400))
    book.add("moved", Once(clock.now_ms() + HOUR))
    clockwork.start()
    del book.schedules["gone"]
    book.add("moved", Once(clock.now_ms() + 300))
    book.add("new", Once(clock.now_ms() + 600))
    clockwork.wake()
    until(lambda: book.ran["new"])
    assert (len(book.ran["moved"]), book.ran["gone"]) == (1, [])


def test_a_fire_that_fails_is_told_and_tried_again(
    clockwork: Clockwork, book: Book, clock: Jumpy, events: list[Event], until: Until
) -> None:
    """A full disk for a minute must not cost the schedule its life, nor spin."""

    def full(key: str) -> None:
        if book.turns[key] < 3:
            raise OSError("no space left")

    book.fail = full
    book.add("x", Once(clock.now_ms() + 100))
    book.add("other", Once(clock.now_ms() + 100))
    begun = clock.monotonic()
    clockwork.start()
    until(lambda: book.ran["x"])
    assert clock.monotonic() - begun >= 2
    told = [event for event in events if isinstance(event, FireFailed) and event.schedule == "x"]
    assert [event.error for event in told] == ["OSError: no space left"] * 2
    until(lambda: book.ran["other"])


def test_a_due_time_that_stays_undecided_does_not_spin(
    book: Book, clock: Jumpy, events: list[Event], until: Until
) -> None:
    """A `fire` that decides nothing would take a whole core otherwise."""

    def decide_nothing(key: str) -> None:
        book.turns[key] += 1

    work = Clockwork(clock, book.keys, book.next_at, decide_nothing, emit=events.append)
    book.add("x", Once(clock.now_ms() + 10))
    work.start()
    begun = clock.monotonic()
    until(lambda: book.turns["x"] >= 3)
    assert clock.monotonic() - begun >= 2
    work.stop()


def test_one_schedule_never_fires_twice_at_once(clockwork: Clockwork, book: Book, until: Until) -> None:
    """A wake while a fire waits for its commit must not start a second one beside it."""
    inside = Counter[str]()
    most = 0

    def slow(key: str) -> None:
        nonlocal most
        inside[key] += 1
        most = max(most, inside[key])
        SYSTEM.wait(threading.Event(), 0.03)
        inside[key] -= 1

    book.fail = slow
    book.add("x", Every(0.02, "UTC"))
    clockwork.start()
    for _ in range(40):
        clockwork.wake()
        SYSTEM.wait(threading.Event(), 0.01)
    until(lambda: len(book.ran["x"]) >= 5)
    assert most == 1


def test_a_thread_that_died_is_started_again_and_told(
    clockwork: Clockwork, book: Book, clock: Jumpy, events: list[Event], until: Until
) -> None:
    """Without it no schedule ever fires again, and everything else looks healthy."""
    clockwork.start()
    clockwork._wakeups._scheduler.shutdown(wait=False)
    assert not clockwork.alive
    until(lambda: clockwork.alive and events)
    assert events == [PartRestarted("schedules", "its thread had ended")]
    book.add("x", Once(clock.now_ms() + 100))
    clockwork.wake()
    until(lambda: book.ran["x"])


def test_the_ages_tell_of_threads_that_turn(clockwork: Clockwork, until: Until) -> None:
    """Health and the systemd watchdog follow them, also when nothing is due for a month."""
    clockwork.start()
    first = clockwork._wakeups.turned_at
    until(lambda: clockwork._wakeups.turned_at > first, limit_s=5)
    assert set(clockwork.ages()) == {"schedules", "clock"}
    assert max(clockwork.ages().values()) < 3


def test_it_can_be_stopped_without_a_start_and_twice(clockwork: Clockwork) -> None:
    """A daemon that fails half-way through its start stops everything."""
    clockwork.stop()
    clockwork.stop()
    assert not clockwork.alive


def test_a_stop_waits_for_the_fire_that_runs(clockwork: Clockwork, book: Book, clock: Jumpy, until: Until) -> None:
    """The ledger is closed after it; and the fire that ends sets no new time."""
    begun = threading.Event()

    def slow(key: str) -> None:
        begun.set()
        SYSTEM.wait(threading.Event(), 0.3)

    book.fail = slow
    book.add("x", Every(0.05, "UTC"))
    clockwork.start()
    assert begun.wait(10)
    clockwork.stop()
    assert book.ran["x"]
