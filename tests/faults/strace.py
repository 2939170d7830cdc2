"""
strace, which stands between a process and the kernel: it stops it at a system call, lets one fail or take its time, and
writes down what was called. It counts the calls of each thread by themselves; of the ledger there is one that writes.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
from collections import Counter
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from millrace.clock import SYSTEM
from tests.process.scratch import until

if TYPE_CHECKING:
    from typing import Self

_BIN: Final = shutil.which("strace") or ""
# -D: what is traced stays the child of whoever started it. --seccomp-bpf: other calls do not stop, and cost nothing.
_QUIET: Final = ("-D", "-f", "-qq", "--seccomp-bpf", "-e", "signal=none")
_PATIENCE_S: Final = 20
_LOOK_S: Final = 0.005
_HELD_US: Final = 60_000_000


def need_strace() -> None:
    """Skip the test where strace is missing, or may not trace."""
    if reason := _trouble():
        pytest.skip(reason)


@cache
def _trouble() -> str:
    if not _BIN:
        return "strace is not installed"
    argv = [_BIN, "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", "inject=fsync:delay_enter=1", "true"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    return f"strace may not trace here: {done.stderr.strip()}" if done.returncode else ""


def injecting(call: str, fault: str, when: str, log: Path) -> list[str]:
    """
    Return the words to put before a command, so that its system calls go wrong.

    Args:
        call: Which.
        fault: What befalls them: `error=EIO`, `delay_enter=500000` (µs).
        when: Which of each thread's: `3`, `3+` for it and all after it, `3..9`.
        log: Where the calls are written down, without their bytes.
    """
    return [_BIN, *_QUIET, "-s", "0", "-o", str(log), "-e", f"trace={call}", "-e", f"inject={call}:{fault}:when={when}"]


def attached(pid: int, call: str, fault: str) -> subprocess.Popen[bytes]:
    """Let all calls of a process that runs go wrong from now on; return the tracer, which ends with it."""
    words = ["-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:{fault}:when=1+"]
    tracer = subprocess.Popen([_BIN, *words, "-p", str(pid)])
    tasks = Path(f"/proc/{pid}/task")
    until(lambda: tracer.poll() is not None or all("TracerPid:\t0\n" not in (task / "status").read_text()
                                                   for task in tasks.iterdir()), "strace to attach")  # fmt: skip
    if tracer.returncode:
        pytest.skip("strace may not attach here")
    return tracer


def recording(calls: str, log: Path) -> list[str]:
    """Return the words to put before a command, so that its system calls are written down with all their bytes."""
    return [_BIN, *_QUIET, "-y", "-xx", "-s", str(2**20), "-o", str(log), "-e", f"trace={calls}"]


class Killer:
    """
    Kills a process at its n-th call, before the kernel has done it or after, and before the process knows.

    strace could send the signal itself, but then it stops all other calls too, and everything takes ten times as long.
    It holds the process instead, until this has seen that it does.

    Args:
        call: The system call.
        n: The how many-th of a thread.
        after: Whether the kernel does it first.
        log: Where strace writes; made anew.
    """

    def __init__(self, call: str, n: int, log: Path, *, after: bool = False) -> None:
        log.unlink(missing_ok=True)  # what stands in it is of somebody else
        self.words = injecting(call, f"delay_{'exit' if after else 'enter'}={_HELD_US}", str(n), log)
        self.struck = False
        self._begin = re.compile(rf"^(\d+) +{call}\(", re.MULTILINE)
        self._n = n
        self._log = log
        self._after = after
        self._pid = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="killer")

    def aim(self, pid: int) -> Self:
        """Say whom to kill; then use it as a context, in which it does."""
        self._pid = pid
        return self

    def __enter__(self) -> Self:
        """Begin to watch."""
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        """Watch no more."""
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.is_set():
            if self._held():
                self._strike()
                return
            SYSTEM.wait(self._over, _LOOK_S)

    def _strike(self) -> None:
        """Kill it, and then its tracer, which would not let it go before the time for which it holds it is over."""
        self.struck = True
        status = Path(f"/proc/{self._pid}/status").read_text()
        tracer = int(status.split("TracerPid:")[1].split()[0])
        os.kill(self._pid, signal.SIGKILL)
        if tracer:  # 0 would be all of us
            os.kill(tracer, signal.SIGKILL)

    def _held(self) -> bool:
        text = self._log.read_text(errors="replace") if self._log.exists() else ""
        if self._after:
            return "(DELAYED)" in text
        return self._n in Counter(self._begin.findall(text)).values()
