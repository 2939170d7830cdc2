"""`track`, with a line that keeps what was told; the time between two tellings is the real one."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

from millrace import track
from millrace.clock import SYSTEM
from millrace.runner.context import Context, Entered
from millrace.runner.stop import StopJob
from millrace.runner.track import LOOK_S, TELL_S

if TYPE_CHECKING:
    from collections.abc import Iterator


class Line:
    def __init__(self) -> None:
        self.told: list[tuple[int, int | None]] = []
        self.asked: str | None = None

    def ask(self, kind: str, body: dict[str, Any]) -> Any:
        raise AssertionError((kind, body))

    def tell(self, kind: str, body: dict[str, Any]) -> None:
        assert kind == "progress"
        self.told.append((body["done"], body["total"]))

    def check(self) -> None:
        if self.asked:
            raise StopJob(self.asked)


def pause(seconds: float) -> None:
    """Let real time go by."""
    SYSTEM.wait(threading.Event(), seconds)


def test_outside_a_job_it_only_yields() -> None:
    """A task is tested by calling it."""
    assert list(track([1, 2])) == [1, 2]
    assert list(track(iter("ab"), total=2)) == ["a", "b"]


def test_begin_and_end_are_told_and_little_between() -> None:
    """A loop of a million turns must not become a million messages."""
    line = Line()
    with Entered(Context(job_id="a", line=line)):
        assert sum(track([1] * 100_000)) == 100_000
    assert (line.told[0], line.told[-1]) == ((0, 100_000), (100_000, 100_000))
    assert len(line.told) < 10


def test_the_total_is_unknown_for_what_has_no_length() -> None:
    """No made-up percentage; one that is given counts."""
    line = Line()
    with Entered(Context(job_id="a", line=line)):
        assert list(track(iter("ab"))) == ["a", "b"]
        assert list(track(iter("ab"), total=3)) == ["a", "b"]
    assert line.told == [(0, None), (2, None), (0, 3), (2, 3)]


def test_a_slow_loop_tells_how_far_it_is() -> None:
    """Whoever waits for it wants to see it move."""
    line = Line()

    def slow() -> Iterator[int]:
        for n in range(3):
            pause(TELL_S)
            yield n

    with Entered(Context(job_id="a", line=line)):
        assert list(track(slow(), total=3)) == [0, 1, 2]
    assert line.told == [(0, 3), (1, 3), (2, 3), (3, 3), (3, 3)]


def test_the_attempt_ends_between_two_items_when_it_shall() -> None:
    """A thread is stopped by asking, and a loop is where a job spends its time."""
    line = Line()
    with Entered(Context(job_id="a", line=line)):
        items = track(range(3))
        assert next(items) == 0
        line.asked = "timeout"
        pause(LOOK_S * 1.5)
        with pytest.raises(StopJob):
            next(items)


@pytest.mark.parametrize(("total", "error"), [(2.0, TypeError), ("3", TypeError), (2**53, ValueError)])
def test_a_total_that_cannot_be_told_is_an_error_of_the_job(total: Any, error: type[Exception]) -> None:
    """Whoever divides has a float: in the daemon it would be a broken message, and cost the process."""
    with pytest.raises(error):
        track([], total=total)


def test_a_total_below_zero_is_refused_at_once() -> None:
    """And not when the first item is asked for."""
    with pytest.raises(ValueError, match="negative"):
        track([], total=-1)
