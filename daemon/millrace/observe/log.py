"""
Events as log lines on stderr: one JSON object a line, or a readable form on a terminal.

Emitting threads only queue; a thread of its own renders and writes. Among the emitters is the ledger's writer, and
a log that nobody reads (a full pipe) must not stop the daemon: beyond a bound lines are dropped, and the log says how
many.
"""

from __future__ import annotations

import json
import os
import threading
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, NamedTuple

from millrace.clock import SYSTEM, Clock
from millrace.events import JobLogged, LibraryLogged, LinesDropped
from millrace.observe.line import RANKS, as_json
from millrace.observe.line import console as readable_form

if TYPE_CHECKING:
    from typing import TextIO

    from millrace.events import Event

MOST_PENDING: Final = 20_000
FLUSH_S: Final = 2.0
GATHER_S: Final = 0.02
_MOST_AT_ONCE: Final = 500
_NEWLINE: Final = ord("\n")
_CARRIERS: Final = (JobLogged, LibraryLogged)  # their level is that of the line which they carry


class _Line(NamedTuple):
    at_ms: int
    event: Event


class Log:
    """
    The subscriber that writes the log.

    Args:
        stream: Where lines go.
        level: The least level that is written: debug, info, warning, error or critical.
        console: Readable lines instead of JSON; None asks the stream whether it is a terminal.
        colors: Whether readable lines are coloured.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        level: str = "info",
        console: bool | None = None,
        colors: bool = "NO_COLOR" not in os.environ,
        clock: Clock = SYSTEM,
    ) -> None:
        self._stream = stream
        self._file = _descriptor(stream)
        self._least = RANKS[level]
        self._clock = clock
        readable = stream.isatty() if console is None else console
        self._render = readable_form(colors=colors) if readable else as_json
        self._pending: SimpleQueue[_Line | threading.Event | None] = SimpleQueue()
        self._dropped = 0
        self._torn = False  # the last line was cut off
        self._hurry = threading.Event()
        self._thread = threading.Thread(target=self._work, name="millrace-log", daemon=True)
        self._thread.start()

    def __call__(self, event: Event) -> None:
        """Write the event's line soon, if its level is high enough."""
        if RANKS[event.LEVEL] < self._least:  # first of all: debug events come thousands a second
            return
        if isinstance(event, _CARRIERS) and RANKS.get(event.level, RANKS["info"]) < self._least:
            return
        if self._pending.qsize() >= MOST_PENDING:
            self._dropped += 1
            return
        self._pending.put(_Line(self._clock.now_ms(), event))
        if event.LEVEL == "critical":
            self.flush()  # the process may be about to end

    def flush(self, timeout_s: float = FLUSH_S) -> bool:
        """Wait until what was logged is written, at most `timeout_s` seconds; return whether it is."""
        written = threading.Event()
        self._pending.put(written)
        return self._clock.wait(written, timeout_s)

    def close(self, timeout_s: float = FLUSH_S) -> None:
        """Write what is left and end the thread."""
        self._hurry.set()
        self._pending.put(None)
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while True:
            batch = self._next_batch()
            lost, self._dropped = self._dropped, 0
            lines = [item for item in batch if isinstance(item, _Line)]
            if lost:
                lines.insert(0, _Line(self._clock.now_ms(), LinesDropped(lost)))
            left = self._write("".join(map(self._text, lines)))
            # That lines were lost must not be lost itself: it is told again, unless it was.
            self._dropped += left + (lost - 1 if lost and left == len(lines) else 0)
            for item in batch:
                if isinstance(item, threading.Event):
                    item.set()
            if None in batch:
                return

    def _next_batch(self) -> list[_Line | threading.Event | None]:
        batch = [self._pending.get()]
        if isinstance(batch[0], _Line):
            # A thread that woke for every line would fight the others for the interpreter's lock: soon is soon enough.
            self._clock.wait(self._hurry, GATHER_S)
        try:
            while len(batch) < _MOST_AT_ONCE and batch[-1] is not None:
                batch.append(self._pending.get_nowait())
        except Empty:
            pass
        return batch

    def _text(self, line: _Line) -> str:
        try:
            return f"{self._render(line.event, line.at_ms)}\n"
        except Exception as error:  # noqa: BLE001 - one strange event must not end the log
            return json.dumps({"event": line.event.EVENT, "unreadable": repr(error)}) + "\n"

    def _write(self, text: str) -> int:
        """Write lines; return how many were not, for the next ones may get through, and will tell."""
        try:
            if self._file is not None:
                return self._write_file(self._file, text.encode("utf-8", "backslashreplace"))
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError):  # a closed pipe
            return text.count("\n")
        return 0

    def _write_file(self, file: int, rest: bytes) -> int:
        """Write past the stream's own buffer, in which what a full disk refused would stay, and be told of twice."""
        if rest and self._torn:
            rest = b"\n" + rest
        told = len(rest)
        try:
            while rest:
                written = os.write(file, rest)
                self._torn = rest[written - 1] != _NEWLINE
                rest = rest[written:]
        except OSError:
            pass
        return rest.count(b"\n") - (len(rest) == told and rest.startswith(b"\n"))


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError):  # it is no file
        return None
