"""Events as lines."""

from __future__ import annotations

import io
import json
import logging
import os
import resource
import signal
import threading
import warnings
from typing import TYPE_CHECKING, Any

import pytest

from millrace.events import (
    AttemptEnded,
    AttemptStarted,
    DaemonFailed,
    JobLogged,
    LibraryLogged,
    LinesDropped,
    SubscriberFailed,
)
from millrace.observe import log as log_module
from millrace.observe.bus import Bus
from millrace.observe.library import LibraryLog, catch_library_logs
from millrace.observe.log import Log

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from millrace.events import Event

STARTED = AttemptStarted("0199", "add", "default", "acme", 1, 0.25, "order-17")
ENDED = AttemptEnded("0199", "add", "default", "acme", 1, "succeeded", "succeeded", None, None, 0.5, "order-17")


class OneSecond:
    """A clock that stands still."""

    def now_ms(self) -> int:
        return 1_700_000_000_123

    def monotonic(self) -> float:
        return 1.0

    def wait(self, event: threading.Event, timeout_s: float | None) -> bool:
        return event.wait(timeout_s)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    """What was written, parsed."""
    return [json.loads(text) for text in stream.getvalue().splitlines()]


def test_an_event_is_one_json_line_with_its_facts() -> None:
    """The name is fixed, ids are fields of their own, units stand in the names: what a log search needs."""
    stream = io.StringIO()
    log = Log(stream, clock=OneSecond())
    log(ENDED)
    log.close()
    assert lines(stream) == [
        {
            "timestamp": "2023-11-14T22:13:20.123Z",
            "level": "info",
            "event": "job.ended",
            "job_id": "0199",
            "task": "add",
            "queue": "default",
            "client": "acme",
            "attempt": 1,
            "outcome": "succeeded",
            "status": "succeeded",
            "duration_s": 0.5,
            "correlation_id": "order-17",
        }
    ]


def test_levels_choose() -> None:
    """Debug events come thousands a second: written only when asked for."""
    quiet, loud = io.StringIO(), io.StringIO()
    for stream, level in ((quiet, "info"), (loud, "debug")):
        log = Log(stream, level=level)
        log(STARTED)
        log(ENDED)
        log.close()
    assert [line["event"] for line in lines(quiet)] == ["job.ended"]
    assert [line["event"] for line in lines(loud)] == ["job.started", "job.ended"]


def test_a_line_of_a_job_keeps_its_own_level() -> None:
    """`log.debug` in a job is not information; and a level that nobody knows is no reason to lose the line."""
    stream = io.StringIO()
    log = Log(stream)
    for level in ("debug", "error", "loud"):
        log(JobLogged("0199", "add", 1, level, f"a {level} line", "c"))
    log.close()
    assert [(line["level"], line["message"]) for line in lines(stream)] == [
        ("error", "a error line"),
        ("info", "a loud line"),
    ]


def test_a_line_stays_one_line() -> None:
    """A message with line breaks and quotes must not forge other lines."""
    stream = io.StringIO()
    log = Log(stream)
    log(JobLogged("0199", "add", 1, "info", 'a\n{"event": "daemon.failed"}\r\n"\u2028ü', "c"))
    log.close()
    assert [line["event"] for line in lines(stream)] == ["job.log"]
    assert lines(stream)[0]["message"].endswith("\u2028ü")


def test_a_terminal_gets_readable_lines_that_cannot_steer_it() -> None:
    """Escape sequences in a job's output are shown, not obeyed."""
    stream = io.StringIO()
    log = Log(stream, console=True, colors=False)
    log(JobLogged("0199", "add", 1, "info", "red \x1b[31mand\nbroken", "c"))
    log.close()
    text = stream.getvalue()
    assert "job.log" in text
    assert "job_id=0199" in text
    assert "\x1b" not in text
    assert text.count("\n") == 1


def test_a_reader_that_does_not_read_stops_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a full pipe emitters go on, and the log says afterwards how many lines are missing."""
    monkeypatch.setattr(log_module, "MOST_PENDING", 10)
    reader, writer = os.pipe()
    written: list[str] = []
    with os.fdopen(reader) as back:
        late_reader = threading.Thread(target=lambda: written.extend(back))
        with os.fdopen(writer, "w") as stream:
            log = Log(stream)
            log(JobLogged("0199", "add", 1, "info", "x" * 200_000, "c"))  # more than a pipe holds
            for _ in range(100):
                log(ENDED)  # returns, though nobody reads
            late_reader.start()
            assert log.flush(20)
            log(ENDED)
            log.close(20)
        late_reader.join(20)
    found = [json.loads(text) for text in written]
    lost = sum(line["lines"] for line in found if line["event"] == LinesDropped.EVENT)
    assert lost >= 80
    assert len([line for line in found if line["event"] == ENDED.EVENT]) + lost == 101


def test_a_stream_that_breaks_is_survived() -> None:
    """When the disk of the log is full, the work goes on; what was lost is counted."""

    class Full(io.StringIO):
        full = True

        def write(self, text: str) -> int:
            if self.full:
                raise OSError(28, "No space left on device")
            return super().write(text)

    stream = Full()
    log = Log(stream)
    log(ENDED)
    log(ENDED)
    assert log.flush()
    stream.full = False
    log(ENDED)
    log.close()
    assert [(line["event"], line.get("lines")) for line in lines(stream)] == [("log.dropped", 2), ("job.ended", None)]


def test_what_a_full_disk_cut_off_is_counted_and_spoils_no_other_line(tmp_path: Path) -> None:
    """Half a line must not swallow the one after it, which says how many are missing, nor may that number be lost."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write fails instead, as on a full disk
    path = tmp_path / "log"
    try:
        with path.open("w") as stream:
            log = Log(stream, clock=OneSecond())
            log(ENDED)
            assert log.flush()
            resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size * 5 // 2, hard))
            for _ in range(3):
                log(ENDED)
                log(ENDED)
                assert log.flush()
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            log(ENDED)
            log.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    whole = [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")]
    assert [line["event"] for line in whole] == ["job.ended", "job.ended", "log.dropped", "job.ended"]
    assert whole[2]["lines"] == 5


def test_a_critical_line_is_written_before_the_emitter_goes_on() -> None:
    """The process may be about to end."""
    stream = io.StringIO()
    log = Log(stream)
    log(DaemonFailed("ledger", "disk I/O error"))
    assert lines(stream)[0]["reason"] == "disk I/O error"
    log.close()


def test_one_listener_that_fails_is_told_to_the_others() -> None:
    """Not to the emitter, who has work to do; and not a thousand times."""
    heard: list[Event] = []

    def broken(_event: Event) -> None:
        raise ZeroDivisionError("division by zero")

    bus = Bus([broken, heard.append])
    for _ in range(150):
        bus.emit(ENDED)
    failures = [event for event in heard if isinstance(event, SubscriberFailed)]
    assert heard.count(ENDED) == 150
    assert [failure.times for failure in failures] == [1, 10, 100]
    assert failures[0].during == "job.ended"
    assert "division by zero" in failures[0].error


def test_a_failure_that_nobody_can_be_told_is_written_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    """Silence is the one thing that it must not be."""
    bus = Bus()

    def broken(_event: Event) -> None:
        raise KeyError("nothing")

    bus.add(broken)
    bus.emit(ENDED)
    assert "KeyError" in capsys.readouterr().err


@pytest.fixture
def heard() -> Iterator[list[Event]]:
    """What libraries say while a test runs, as events; the process's own logging is put back afterwards."""
    root, hook = logging.getLogger(), threading.excepthook
    handlers, level = list(root.handlers), root.level
    events: list[Event] = []
    catch_library_logs(events.append)
    yield events
    logging.captureWarnings(capture=False)
    root.handlers[:] = handlers
    root.setLevel(level)
    threading.excepthook = hook


def test_what_libraries_say_becomes_an_event(heard: list[Event]) -> None:
    """Warnings, errors with their traceback, Python's own warnings, and the death of a thread; no chatter."""
    logger = logging.getLogger("somebody.else")
    logger.info("chatter")
    logger.warning("watch %s", "out")
    try:
        int("no good")
    except ValueError:
        logger.exception("it failed")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("old way", DeprecationWarning, stacklevel=1)

    def dies() -> None:
        raise LookupError("lost")

    thread = threading.Thread(target=dies, name="a worker")
    thread.start()
    thread.join()

    said = [(event.library, event.level, event.message) for event in heard if isinstance(event, LibraryLogged)]
    assert said[0] == ("somebody.else", "warning", "watch out")
    assert said[1][:2] == ("somebody.else", "error")
    assert "ValueError: invalid literal" in said[1][2]
    assert "old way" in said[2][2]
    assert said[3][2].startswith("a worker ended with an error")
    assert "LookupError: lost" in said[3][2]
    assert len(said) == 4


def test_a_library_that_logs_nonsense_is_heard_too() -> None:
    """Arguments that do not fit the template must not lose the line."""
    events: list[Event] = []
    record = logging.LogRecord("lib", logging.WARNING, __file__, 1, "%d items", ("many",), None)
    LibraryLog(events.append).emit(record)
    assert isinstance(events[0], LibraryLogged)
    assert "many" in events[0].message
