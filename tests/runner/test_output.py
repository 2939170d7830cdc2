from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.runner.output import LINES_PER_S, MAX_BYTES, MAX_LINE, Budget, Output

if TYPE_CHECKING:
    import threading


class Stopwatch:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def now_ms(self) -> int:
        return int(self.now * 1000)

    def monotonic(self) -> float:
        return self.now

    def wait(self, event: threading.Event, timeout_s: float | None) -> bool:  # noqa: ARG002 - see Clock
        raise AssertionError("nobody waits here")


def fed(*pieces: bytes, close: bool = True) -> tuple[list[str], Budget]:
    """Return what was said of some output, and what is left of the budget."""
    budget, said = Budget(Stopwatch()), list[str]()

    def say(line: str) -> None:
        if budget.spend(len(line)):
            said.append(line)

    output = Output(budget, say)
    for piece in pieces:
        output.feed(piece)
    if close:
        output.close()
    return said, budget


def test_lines_are_put_together_from_pieces() -> None:
    """A pipe cuts where it likes; empty lines are left out, a last line without an end is not."""
    assert fed(b"on", b"e\r\n\ntw", b"o\nthree")[0] == ["one", "two", "three"]


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    """A job may print an image."""
    assert fed(b"\xff\xfe\n")[0] == ["\ufffd\ufffd"]


def test_a_line_without_end_is_cut_once_and_counted() -> None:
    """It may be a gigabyte: its beginning is kept, the rest is not."""
    said, budget = fed(b"x" * 50_000, b"x" * 50_000, b"x\nnext\n")

    assert said == ["x" * MAX_LINE, "next"]
    assert budget.dropped_bytes == 100_001 - MAX_LINE


def test_more_lines_than_the_rate_are_dropped_and_counted() -> None:
    """A log that nobody can read helps nobody; what is missing is said."""
    said, budget = fed(b"x\n" * 1000)

    assert len(said) == LINES_PER_S
    assert budget.dropped_lines == 1000 - LINES_PER_S


def test_the_rate_recovers_and_the_total_does_not() -> None:
    """A job that runs for a day may log all day, but not more than its share of the disk."""
    clock = Stopwatch()
    budget = Budget(clock)
    kept = 0
    for _ in range(100_000):
        clock.now += 0.01
        kept += budget.spend(100)

    assert kept == MAX_BYTES // 100
