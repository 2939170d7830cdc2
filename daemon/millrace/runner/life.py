"""One child process as the daemon holds it: its socket, its output, and the pipe that tells of its life and death."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from millrace.runner import tree
from millrace.runner.protocol import BROKEN, CHUNK, Lines
from millrace.runner.tray import Tray
from millrace.runner.words import Words

if TYPE_CHECKING:
    import socket
    from pathlib import Path

    from millrace.runner.server import Server

POLL_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class Gone:
    """
    How a child ended. By then nothing that descends from it is left.

    Args:
        status: The wait status; None when the fork server died with it and nobody could wait.
        facts: `killed` descendants, `rss_kb`, `cpu_s`, as far as known.
    """

    status: int | None
    facts: dict[str, Any]

    @property
    def signal_name(self) -> str | None:
        """The signal that ended it, None if it exited."""
        if self.status is None or not os.WIFSIGNALED(self.status):
            return None
        number = os.WTERMSIG(self.status)
        return signal.Signals(number).name if number in signal.valid_signals() else f"signal {number}"

    @property
    def exit_code(self) -> int | None:
        """The code that it exited with, None if a signal ended it."""
        return None if self.status is None or not os.WIFEXITED(self.status) else os.WEXITSTATUS(self.status)

    def words(self) -> str:
        """Say how it ended."""
        if self.status is None:
            return "its fork server died"
        if self.exit_code == BROKEN:
            return "lost its connection to the daemon: did it close descriptors that are not its own?"
        return f"ended by {self.signal_name}" if self.signal_name else f"exited with code {self.exit_code}"


class Birth(Exception):
    """No child came of an order; the message says why."""


class ServerLost(Birth):
    """Because the fork server is dead or does not answer."""


class ChildProcess:
    """
    One child process. Owned by one supervisor thread at a time; only `wake` may be called from others.

    Args:
        queue: The queue whose jobs it runs; its memory limit is the queue's.
        scratch: Its folder for temporary files, removed with it.
    """

    def __init__(self, queue: str, sock: socket.socket, out: int, life: int, scratch: Path) -> None:
        self.queue = queue
        self.out = out
        self.life = life
        self.scratch = scratch
        self.tray = Tray()
        try:
            self.waker = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        except OSError:
            self.tray.close()
            raise
        self.ended = 0.0  # when its last job ended, on the monotonic clock
        self.idle_since = 0.0
        self.killed: set[int] = set()  # descendants, by pid
        self.server: Server | None = None  # where it came from
        self.gone: Gone | None = None
        self.process = tree.Process(0, 0, 0, 0, 0, zombie=True)
        self._news = Lines()
        self._sock = sock
        self._heeds_output = True
        self.poller = select.poll()
        for fd in (sock.fileno(), out, life):
            os.set_blocking(fd, False)
        for fd in (self.tray.fileno(), out, life, self.waker):
            self.poller.register(fd, select.POLLIN)
        self.words = Words(sock, self.poller)

    @property
    def pid(self) -> int:
        """Its process id, which is also its session's and group's."""
        return self.process.pid

    @property
    def stillborn(self) -> bool:
        """Whether it has ended before it came to a job."""
        return self.gone is not None and self.ended == 0.0

    def await_birth(self, limit_s: float) -> None:
        """Wait until the fork server tells its pid. Raises Birth with the reason if it does not."""
        poller = select.poll()
        poller.register(self.life, select.POLLIN)
        if not poller.poll(limit_s * 1000):
            raise ServerLost(f"no answer of the fork server within {limit_s:g} s: does a job file hang when loaded?")
        news = self._read_life()
        if not news:
            raise ServerLost("the fork server died")
        if "error" in news[0]:
            raise Birth(str(news[0]["error"]))
        if "pid" not in news[0]:
            raise Birth("the child died at its birth")
        pid = int(news[0]["pid"])
        self.process = tree.Process(pid, 0, pid, pid, int(news[0]["ticks"]), zombie=False)
        self._note(news[1:])

    def wake(self) -> None:
        """Wake the supervisor; from any thread."""
        with contextlib.suppress(OSError):
            os.eventfd_write(self.waker, 1)

    def clear_wake(self) -> None:
        """Take notice of having been woken."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.waker)

    def quiet(self) -> bool:
        """Whether an idle child is alive and has nothing to say: one that talks between jobs is not fit for another."""
        poller = select.poll()
        for fd in (self._sock.fileno(), self.out, self.life):
            poller.register(fd, select.POLLIN)
        return self.gone is None and not poller.poll(0)

    def heed_output(self, *, heeds: bool) -> None:
        """Watch its output, or leave it where it is until the child says that it is there."""
        if heeds is not self._heeds_output:
            self._heeds_output = heeds
            if heeds:
                self.poller.register(self.out, select.POLLIN)
            else:
                self.poller.unregister(self.out)

    def read_output(self) -> bytes:
        """Return what it has written, b"" when there is nothing more for now."""
        try:
            data = os.read(self.out, CHUNK)
        except BlockingIOError:
            return b""
        if not data:  # the job closed its standard output: a closed pipe would be reported as ready for ever
            self.heed_output(heeds=False)
        return data

    def look_for_end(self) -> bool:
        """Read the life pipe; return whether the child is gone."""
        if self.gone is None:
            news = self._read_life()
            if news is None:
                self.gone = Gone(None, {})  # the server fell; whoever closes us makes certain of the child
            else:
                self._note(news)
        return self.gone is not None

    def kill(self) -> Gone:
        """Kill it and all that descends from it, and return when none of them is left."""
        while not self.look_for_end():
            self.killed |= tree.kill_tree(self.process)
            poller = select.poll()
            poller.register(self.life, select.POLLIN)
            poller.poll(POLL_S * 1000)
        return self.gone or Gone(None, {})

    def close(self) -> None:
        """Give back its descriptors and its folder. Only when it is gone."""
        self._sock.close()
        self.tray.close()
        for fd in (self.out, self.life, self.waker):
            os.close(fd)
        shutil.rmtree(self.scratch, ignore_errors=True)

    def _note(self, news: list[dict[str, Any]]) -> None:
        for item in news:
            if "status" in item:
                self.gone = Gone(int(item.pop("status")), item)

    def _read_life(self) -> list[dict[str, Any]] | None:
        """Return what the server has told, None when it told nothing and will not any more."""
        try:
            data = os.read(self.life, 4096)
        except BlockingIOError:
            return []
        return [json.loads(line) for line in self._news.feed(data)] if data else None
