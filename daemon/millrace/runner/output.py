"""A job's output, cut into lines and bounded, so that a job that floods costs reading and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from millrace.clock import Clock

MAX_BYTES: Final = 1_000_000
LINES_PER_S: Final = 200.0
MAX_LINE: Final = 2_000


class Budget:
    """How much one attempt may still write: bytes in all, and lines by a bucket that refills each second."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._bytes = MAX_BYTES
        self._lines = LINES_PER_S
        self._at = clock.monotonic()
        self.dropped_lines = 0
        self.dropped_bytes = 0

    def spend(self, size: int) -> bool:
        """Take a line out of the budget; False, and counted, when it does not fit."""
        now = self._clock.monotonic()
        self._lines = min(LINES_PER_S, self._lines + (now - self._at) * LINES_PER_S)
        self._at = now
        if self._lines < 1 or self._bytes < size:
            self.drop(1, size)
            return False
        self._lines -= 1
        self._bytes -= size
        return True

    def drop(self, lines: int, size: int) -> None:
        """Count what was not kept."""
        self.dropped_lines += lines
        self.dropped_bytes += size

    @property
    def empty(self) -> bool:
        """Whether nothing more is kept in this attempt."""
        return self._bytes <= 0 or self._lines + (self._clock.monotonic() - self._at) * LINES_PER_S < 1


class Output:
    """Cuts what a job writes to its standard output and error into lines."""

    def __init__(self, budget: Budget, say: Callable[[str], None]) -> None:
        self._budget = budget
        self._say = say
        self._rest = b""
        self._skipping = False  # within a line whose kept part was said already

    def feed(self, data: bytes) -> None:
        """Take a piece of output, of any size."""
        if self._budget.empty:
            self._skipping = not data.endswith(b"\n")
            self._rest = b""
            self._budget.drop(data.count(b"\n"), len(data))
            return
        *lines, rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line)
        self._rest = rest
        if len(rest) > MAX_LINE:
            self._line(rest)
            self._rest, self._skipping = b"", True

    def close(self) -> None:
        """Say the last line, which had no end."""
        if self._rest:
            self._line(self._rest)
            self._rest = b""

    def _line(self, line: bytes) -> None:
        if self._skipping:
            self._skipping = False
            self._budget.drop(0, len(line))
        elif line.strip():
            self._budget.drop(0, max(0, len(line) - MAX_LINE))
            self._say(line[:MAX_LINE].decode("utf-8", "replace").rstrip("\r"))
