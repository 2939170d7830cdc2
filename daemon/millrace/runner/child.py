"""
The child: a process of its own session that runs one job after another, until its socket closes or it is not fit for
another one. It never touches the ledger; what it needs of the daemon it asks for over its socket.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import shutil
import signal
import sys
import tempfile
import termios
import threading
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from millrace.clock import SYSTEM
from millrace.define.load import load_jobs
from millrace.define.stage import Stage
from millrace.errors import UnknownTask
from millrace.runner.attempt import attempt
from millrace.runner.context import Context, Entered
from millrace.runner.prctl import become_subreaper, die_with_parent
from millrace.runner.protocol import BROKEN
from millrace.runner.stop import INTERRUPTED, StopJob
from millrace.runner.surroundings import Surroundings, handler
from millrace.runner.text import bounded, error_of
from millrace.runner.verdict import Verdict, as_message

if TYPE_CHECKING:
    from collections.abc import Sequence
    from io import TextIOWrapper

    from millrace.define.registry import Registry
    from millrace.runner.line import SocketLine
    from millrace.runner.protocol import Message

DONE: Final = 0
ORPHANED: Final = 71
MAX_JOBS: Final = 5_000  # then a fresh child: what foreign code leaks (memory, descriptors) is given back

_TIMERS: Final = (
    (signal.ITIMER_REAL, signal.SIGALRM),
    (signal.ITIMER_VIRTUAL, signal.SIGVTALRM),
    (signal.ITIMER_PROF, signal.SIGPROF),
)


def load(root: Path, jobs: str, queues: Sequence[str]) -> Registry:
    """Load the site's job files in the fork server. The daemon has reported those that are broken already."""
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    registry = load_jobs(root, jobs, queues=frozenset(queues))
    for task in registry.runnable():
        with contextlib.suppress(TypeError):  # a signature that is none shows when it is called
            _ = task.shape  # built once, here, so that no child has to load pydantic
            if isinstance(task, Stage):
                _ = task.items if task.kind == "fanout" else task.reading
    return registry


def main(line: SocketLine, out: int, order: dict[str, Any], registry: Registry, root: Path) -> int:
    """
    Serve jobs, in a process that was just forked.

    Args:
        line: The way to the supervisor.
        out: The pipe that takes standard output and error.
        order: `server` (the parent's pid), `memory` (bytes or None) and `scratch` (the folder for temporary files).
    Returns: The exit code.
    """
    os.setsid()
    die_with_parent(signal.SIGKILL)
    if os.getppid() != order["server"]:  # it died before the line above: no signal will come any more
        return ORPHANED
    become_subreaper()
    _default_signals()
    _standard_streams(out)
    _limits(order["memory"])
    with contextlib.suppress(OSError):  # its socket, which the job may have closed
        return Child(line, registry, root, Path(order["scratch"]), order["memory"]).serve()
    return BROKEN


def _default_signals() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def _standard_streams(out: int) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    for fd, standard in ((null, 0), (out, 1), (out, 2)):
        os.dup2(fd, standard)
    os.close(null)
    os.close(out)
    # New objects: those of the server began as something else, and cannot be made into a pipe's.
    sys.stdout = sys.__stdout__ = _text_stream(1)  # type: ignore[misc]
    sys.stderr = sys.__stderr__ = _text_stream(2)  # type: ignore[misc]


def _text_stream(fd: int) -> TextIOWrapper:
    return open(fd, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)


def _limits(memory: int | None) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a segfault must not fill the disk
    if memory is not None:
        # DATA, not AS: it counts what the job allocates, not the libraries that all children share.
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))


class Child:
    """Runs jobs one after another and keeps itself fit for the next."""

    def __init__(self, line: SocketLine, registry: Registry, root: Path, scratch: Path, memory: int | None) -> None:
        self._line = line
        self._registry = registry
        self._scratch = str(scratch)
        self._memory = memory
        self._pid = os.getpid()
        self._armed = False
        self._streams = (sys.stdout, sys.stderr)
        self._standard = _standard_files()
        os.environ["TMPDIR"] = tempfile.tempdir = self._scratch
        signal.signal(signal.SIGTERM, self._terminated)
        self._surroundings = Surroundings(str(root))

    def serve(self) -> int:
        """Run what comes until the supervisor closes, or until this process is not fit for another job."""
        for left in range(MAX_JOBS - 1, -1, -1):
            order = self._line.next_order()
            if order is None:
                return DONE
            verdict = self._run(order)
            if os.getpid() != self._pid:  # a copy that the job forked has come back from it, as its parent does
                os._exit(DONE)
            ended = SYSTEM.monotonic()
            fit = self._fit() and left > 0
            unread = fit and _unread() > 0
            done = as_message(verdict, clean_child=fit)
            # Before the next job begins: whatever that one does to this process, this one is done.
            self._line.send({**done, "job": order["job"], "at": ended, "unread": unread})
            if not fit:
                return DONE
            if unread:
                self._line.await_reader()
            self._tidy()
        return DONE

    def _run(self, order: Message) -> Verdict:
        self._line.asked = None
        try:
            task = self._registry.find(order["task"])
        except UnknownTask as error:
            return Verdict("unknown_task", error=error_of(error))
        ctx = _context(order, self._line)
        try:
            with Entered(ctx, whole_process=True):
                self._armed = True
                try:
                    verdict = copy_context().run(attempt, task, order["payload"])
                finally:
                    self._armed = False
        except StopJob as stop:  # the TERM came in the moment between the job's end and the line above
            return Verdict(stop.why)
        if verdict.error is None:
            return verdict
        return replace(verdict, error=bounded(verdict.error, order["queue"], self._memory))

    def _terminated(self, *_: object) -> None:
        """Raise in the job, once, so that its `finally` blocks run; KILL follows after the grace time."""
        if self._armed:
            self._armed = False
            raise StopJob(self._line.asked or INTERRUPTED)

    def _fit(self) -> bool:
        """Return whether this process may run another job: nothing of this one goes on in it."""
        sys.stdout, sys.stderr = self._streams
        _stop_timers()
        if self._line.cut_off:  # the next job would get its answers
            return False
        try:
            for stream in self._streams:
                stream.flush()
            intact = _standard_files() == self._standard
        except (OSError, ValueError):  # it closed what is not its own
            return False
        if not (intact and self._surroundings.intact()):
            return False
        return threading.active_count() == 1 and not _has_children()

    def _tidy(self) -> None:
        """Take back what the job may have changed for the next one."""
        tempfile.tempdir = self._scratch
        with contextlib.suppress(OSError):
            self._surroundings.restore()
            if os.listdir(self._scratch):  # noqa: PTH208 - each job pays for this line
                shutil.rmtree(self._scratch, ignore_errors=True)
                os.mkdir(self._scratch)  # noqa: PTH102


def _stop_timers() -> None:
    """Let no alarm of this job go off in the next one."""
    for timer, number in _TIMERS:
        signal.setitimer(timer, 0)
        if handler(number) != signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)


def _standard_files() -> list[tuple[int, int]]:
    return [(stat.st_dev, stat.st_ino) for stat in map(os.fstat, (0, 1, 2))]


def _unread() -> int:
    """Return how many bytes of output the daemon has not read."""
    return int.from_bytes(fcntl.ioctl(1, termios.FIONREAD, b"\0\0\0\0"), sys.byteorder)


def _has_children() -> bool:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _context(order: Message, line: SocketLine) -> Context:
    return Context(
        job_id=order["job"],
        task=order["task"],
        queue=order["queue"],
        attempt=order["attempt"],
        client=order["client"],
        correlation_id=order["corr"],
        run_id=order.get("run"),
        stage=order.get("stage"),
        record=order.get("record"),
        deadline=SYSTEM.monotonic() + order["timeout"] if "timeout" in order else None,
        settings=order.get("settings", {}),
        line=line,
    )
