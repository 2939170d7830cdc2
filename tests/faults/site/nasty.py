"""Jobs that misbehave on their first attempt, and do their work on the second."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from millrace import context, task

if TYPE_CHECKING:
    from collections.abc import Callable

MEGABYTE = 2**20


def _deaf() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def _for_ever() -> None:
    while True:
        try:
            threading.Event().wait()
        except BaseException:  # noqa: BLE001, S112 - this is the trick
            continue


def _flee(note: str, *, hold: bool) -> None:
    """Leave a process of another session behind that ignores signals and has lost its parents."""
    Path(note).unlink(missing_ok=True)
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            _deaf()
            Path(f"{note}.new").write_text(str(os.getpid()))
            Path(f"{note}.new").rename(note)
            _for_ever()
        os._exit(0)
    while not Path(note).exists():
        threading.Event().wait(0.01)
    if hold:
        _for_ever()


@task(timeout="500ms", backoff="1ms..20ms")
def misbehave(how: str, note: str) -> str:  # noqa: C901 - a list of things, each of a line or two
    """Do one of the things that a job should not do."""
    if context().attempt > 1:
        return "did its work"
    match how:
        case "hang":
            threading.Event().wait()
        case "deaf":
            _deaf()
            _for_ever()
        case "flee and hang":
            _deaf()
            _flee(note, hold=True)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "sys.exit":
            sys.exit(0)
        case "segfault":
            ctypes.string_at(0)
        case "flee and die":
            _flee(note, hold=False)
            os._exit(1)
    return "misbehaved in vain"


@task(timeout="60s")
def flee(note: str) -> str:
    """Succeed, and leave a process behind."""
    _flee(note, hold=False)
    return "did its work"


@task(timeout="60s")
def flood(megabytes: int) -> str:
    """Write without end to standard output."""
    piece = b"x" * 1023 + b"\n"
    for _ in range(megabytes):
        for _ in range(1024):
            os.write(1, piece)
    return "did its work"


@task(timeout="60s", retries=2)
def odd(how: str) -> Any:
    """Return what cannot be kept."""
    loop: list[Any] = []
    loop.append(loop)
    makers: dict[str, Callable[[], Any]] = {
        "nan": lambda: float("nan"),
        "deep nan": lambda: {"values": [1.0, {"worst": float("-inf")}]},
        "object": object,
        "bytes": lambda: b"\xff",
        "loop": lambda: loop,
        "huge": lambda: "x" * 50 * MEGABYTE,
    }
    return makers[how]()


@task(timeout="60s", backoff="1ms..20ms", retries=1)
def gorge(megabytes: int) -> int:
    """Take a lot of memory on the first attempt."""
    if context().attempt > 1:
        return 0
    kept = [bytearray(MEGABYTE) for _ in range(megabytes)]
    return len(kept)
