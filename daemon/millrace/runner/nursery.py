"""Where children come from: the fork server, started when the first child is wanted, and what is done when it falls."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from contextlib import ExitStack
from itertools import count
from typing import TYPE_CHECKING, Final

from millrace.runner.leftovers import end_adopted
from millrace.runner.life import Birth, ChildProcess, ServerLost
from millrace.runner.prctl import become_subreaper
from millrace.runner.server import Server

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from millrace.clock import Clock

BIRTH_S: Final = 30.0


def _pipe(ours: ExitStack, theirs: ExitStack) -> tuple[int, int]:
    """Return the ends of a pipe, which each side closes."""
    reading, writing = os.pipe()
    ours.callback(os.close, reading)
    theirs.callback(os.close, writing)
    return reading, writing


class Nursery:
    """
    Brings children into being. Thread-safe.

    Args:
        root, jobs, queues, mark: See `Server`.
        scratch: A folder of this daemon alone, in which each child gets one of its own; emptied now.
        memory: Bytes that a child of the queue may allocate, None or absent for no bound.
    """

    def __init__(
        self,
        *,
        root: Path,
        jobs: str,
        queues: Collection[str],
        mark: str,
        scratch: Path,
        memory: Mapping[str, int | None],
        clock: Clock,
    ) -> None:
        self._root, self._jobs, self._queues, self._mark = root, jobs, frozenset(queues), mark
        self._scratch, self.memory, self._clock = scratch, memory, clock
        self._lock = threading.Lock()
        self._server: Server | None = None
        self._numbers = count(1)
        self.closed = False
        become_subreaper()  # if the fork server is killed, what its children leave behind comes to us
        shutil.rmtree(scratch, ignore_errors=True)

    def born(self, queue: str) -> ChildProcess:
        """Return a new child. Raises Birth with the reason if none can be had."""
        try:
            return self._born(queue)
        except ServerLost:  # it fell, or was let go as idle, just as it was asked
            return self._born(queue)

    def helper(self) -> int | None:
        """Return the pid of the fork server, None while there is none."""
        with self._lock:
            return self._server.pid if self._server else None

    def rest(self) -> None:
        """Let the fork server go until it is needed; any child it still has falls."""
        with self._lock:
            server, self._server = self._server, None
        if server is not None:
            server.close()

    def close(self) -> None:
        """Let the fork server go for good, with all children."""
        with self._lock:
            self.closed = True
        self.rest()
        shutil.rmtree(self._scratch, ignore_errors=True)

    def make_certain(self, child: ChildProcess, known: Collection[int]) -> None:
        """The server of the child was killed: its children fell with it, and what they leave behind is ours to end."""
        if child.server is not None:
            self._dismiss(child.server)  # only when it is down for good have its children come to us
        end_adopted(self._mark, known, self.helper() or 0, self._clock)

    def _born(self, queue: str) -> ChildProcess:
        server = self._serving()
        try:
            return self._ordered(server, queue)
        except ServerLost:
            self._dismiss(server)
            raise

    def _serving(self) -> Server:
        with self._lock:
            if self.closed:
                raise Birth("the daemon goes down")
            if self._server is None:
                self._server = Server(root=self._root, jobs=self._jobs, queues=self._queues, mark=self._mark)
            return self._server

    def _dismiss(self, server: Server) -> None:
        with self._lock:
            if self._server is server:
                self._server = None
        server.close()

    def _ordered(self, server: Server, queue: str) -> ChildProcess:
        scratch = self._scratch / str(next(self._numbers))
        try:
            with ExitStack() as theirs, ExitStack() as ours:  # what the child keeps, and what we do
                ours.callback(shutil.rmtree, scratch, ignore_errors=True)
                scratch.mkdir(parents=True)
                words, its_words = socket.socketpair()
                ours.enter_context(words)
                theirs.enter_context(its_words)
                (out_r, out_w), (life_r, life_w) = _pipe(ours, theirs), _pipe(ours, theirs)
                child = ChildProcess(queue, words, out_r, life_r, scratch)
                ours.pop_all()  # they are the child's now
                ours.callback(child.close)
                child.server = server
                fds = [its_words.fileno(), child.tray.theirs.fileno(), out_w, life_w]
                server.order(fds, {"memory": self.memory.get(queue), "scratch": str(scratch)})
                theirs.close()  # before the wait: that the other end is closed tells of its death
                child.await_birth(BIRTH_S)
                ours.pop_all()
                return child
        except OSError as error:
            raise Birth(f"no process could be prepared: {error.strerror or error}") from error
