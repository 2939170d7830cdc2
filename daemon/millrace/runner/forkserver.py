"""
The fork server: one small single-threaded process that has the job modules loaded and forks a child whenever the
daemon asks. The daemon itself cannot fork: it has threads. Start it with `python -m millrace.runner.forkserver`.

Over its control socket (SOCK_SEQPACKET, one JSON object a packet) come orders, each with four descriptors: the
child's socket, its tray, its output pipe, and a *life* pipe. On the life pipe the child writes one line when it is
born (pid, start time), and the server one when it is gone *with everything that descended from it*. If the pipe closes
without the second line, the server itself has died. When the daemon's end of the control socket closes, all children
fall.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import select
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from millrace.runner import child, tree
from millrace.runner.line import SocketLine
from millrace.runner.prctl import become_subreaper
from millrace.runner.protocol import BROKEN
from millrace.runner.tray import Orders

if TYPE_CHECKING:
    from collections.abc import Sequence

    from millrace.define.registry import Registry

MAX_ORDER: Final = 65536
_FDS: Final = 4


class ForkServer:
    """Forks, reaps, reports; keeps no other state than who lives."""

    def __init__(self, control: socket.socket, registry: Registry, root: Path) -> None:
        self._control = control
        self._registry = registry
        self._root = root
        self._alive: dict[int, int] = {}  # pid → its life pipe
        self._gone: list[tuple[int, dict[str, Any]]] = []  # life pipe, report; held back until no orphan is left
        self._killed: set[tuple[int, int]] = set()
        self._wake, self._woken = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def serve(self) -> None:
        """Work until the daemon lets go, then end every child and return."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        poller = select.poll()
        poller.register(self._control, select.POLLIN)
        poller.register(self._wake, select.POLLIN)
        open_ = True
        while open_ or self._alive or self._gone:
            ready = [fd for fd, _ in poller.poll()]
            if self._wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
            self._reap()
            if open_ and self._control.fileno() in ready and not self._take_order():
                open_ = False
                poller.unregister(self._control)
                self._end_all()
                self._reap()

    def _take_order(self) -> bool:
        data, fds, _, _ = socket.recv_fds(self._control, MAX_ORDER, _FDS, socket.MSG_CMSG_CLOEXEC)
        if not data or len(fds) != _FDS:
            return False
        sock, tray, out, life = fds
        order = {**json.loads(data), "server": os.getpid()}
        try:
            pid = os.fork()
        except OSError as error:
            _say(life, {"error": f"cannot fork: {error.strerror}"})
            os.close(life)
        else:
            if pid == 0:
                self._be_child(sock, tray, out, life, order)
            self._alive[pid] = life
        for fd in (sock, tray, out):
            os.close(fd)
        return True

    def _be_child(self, sock: int, tray: int, out: int, life: int, order: dict[str, Any]) -> None:
        """Become the child. Never returns: what stands above on the stack is the server's."""
        code = BROKEN
        try:
            # Said by the child, while it is still of the server's session: a server that is killed right after the
            # fork would leave a process of its own session behind that nobody knows.
            born = tree.look(os.getpid())
            _say(life, {"pid": os.getpid(), "ticks": born.start_ticks if born else 0})
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            # A child that kept another's life pipe would keep that one's death from being seen.
            for fd in (self._control.detach(), self._wake, self._woken, life, *self._alive.values()):
                os.close(fd)
            for fd, _ in self._gone:
                os.close(fd)
            line = SocketLine(socket.socket(fileno=sock), Orders(socket.socket(fileno=tray)))
            code = child.main(line, out, order, self._registry, self._root)
        except BaseException:  # noqa: BLE001 - nothing may get past: the server's own stack lies above
            traceback.print_exc()
        finally:
            os._exit(code)

    def _reap(self) -> None:
        while self._reap_one():
            pass
        if self._gone and not self._orphans_left():
            for life, report in self._gone:
                _say(life, {**report, "killed": len(self._killed)})
                os.close(life)
            self._gone.clear()
            self._killed.clear()

    def _reap_one(self) -> bool:
        try:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid in self._alive:
            report = {"status": status, "rss_kb": usage.ru_maxrss, "cpu_s": round(usage.ru_utime + usage.ru_stime, 3)}
            self._gone.append((self._alive.pop(pid), report))
        return pid != 0

    def _orphans_left(self) -> bool:
        """Kill whom a dead child has left to us; True while some of them are still to be reaped."""
        here = os.getpid()
        orphans = [p for p in tree.snapshot().values() if p.ppid == here and p.pid not in self._alive]
        for process in orphans:
            if tree.send(process, signal.SIGKILL):
                self._killed.add((process.pid, process.start_ticks))
        return bool(orphans)  # their own orphans come to us with the next SIGCHLD

    def _end_all(self) -> None:
        for pid in list(self._alive):
            process = tree.look(pid)
            if process is not None:
                tree.kill_tree(process)


def _say(life: int, message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):  # the daemon has gone, and nobody wants to know
        os.write(life, json.dumps(message).encode() + b"\n")


def main(argv: Sequence[str]) -> int:
    """Load the job modules, then serve. Exit code 0 after the daemon has let go."""
    parser = argparse.ArgumentParser(prog="millrace.runner.forkserver", description="Millrace's own helper process.")
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--jobs", required=True)
    parser.add_argument("--queue", action="append", default=[])
    args = parser.parse_args(argv)
    # The daemon decides when we end, by closing its socket; a TERM to the whole service must not take us first.
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    become_subreaper()
    os.chdir(args.root)
    registry = child.load(args.root, args.jobs, args.queue)
    gc.collect()
    gc.freeze()  # so that the collector of a child does not write to, and thereby copy, what it shares with us
    ForkServer(socket.socket(fileno=args.control), registry, args.root).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
