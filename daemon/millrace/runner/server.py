"""The daemon's hold on its fork server: starts it, orders children from it, lets it go."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any, Final

from millrace.runner.life import ServerLost
from millrace.runner.tree import MARK

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

END_S: Final = 10.0


class Server:
    """
    A fork server that runs. Thread-safe: an order is one packet.

    Args:
        root: The site's folder; children work in it.
        jobs: The package of job files beside config.toml.
        queues: Names that tasks may give as their queue.
        mark: What the environment of all its children carries, so that a later daemon finds those that were left.
    """

    def __init__(self, *, root: Path, jobs: str, queues: Collection[str], mark: str) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        argv = [sys.executable, "-m", "millrace.runner.forkserver", "--control", str(theirs.fileno())]
        argv += ["--root", str(root), "--jobs", jobs, *(f"--queue={name}" for name in sorted(queues))]
        with theirs:
            self._process = subprocess.Popen(
                argv,
                pass_fds=[theirs.fileno()],
                env={**os.environ, MARK: mark},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C at the terminal is for the daemon, which then drains
            )
        self._control = ours

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def order(self, fds: list[int], wanted: dict[str, Any]) -> None:
        """Order a child that gets these: socket, tray, output, life. Raises ServerLost if the server has gone."""
        try:
            socket.send_fds(self._control, [json.dumps(wanted).encode()], fds)
        except OSError as error:
            raise ServerLost(f"the fork server died: {error.strerror}") from error

    def close(self) -> None:
        """Let it go: it ends its children, all that descends from them, and itself."""
        self._control.close()
        try:
            self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
