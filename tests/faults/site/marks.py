"""Jobs that leave marks: each start and end goes, with job, attempt and process, to a file that nobody rewrites."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from millrace import context, task

if TYPE_CHECKING:
    from collections.abc import Iterator

EFFECTS = "effects.log"
LOCKS = "alone.lock"


def note(kind: str) -> None:
    """Append one line; O_APPEND makes it whole, whoever else writes."""
    ctx = context()
    line = f"{kind} {ctx.job_id} {ctx.attempt} {os.getpid()} {time.monotonic_ns()}\n"
    file = os.open(EFFECTS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, line.encode())
    os.close(file)


@contextmanager
def alone(n: int) -> Iterator[None]:
    """Leave marks around what is done, alone: the kernel holds byte `n` of a file for us until we end, anyhow."""
    file = os.open(LOCKS, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, n, 1, 0))
        except BlockingIOError:
            note("overlap")
        note("start")
        yield
        note("end")
    finally:
        os.close(file)


def work(n: int, ms: float) -> None:
    """Work a while."""
    with alone(n):
        threading.Event().wait(ms / 1000)


@task(timeout="60s", backoff="1ms..20ms")
def mark(n: int, ms: float = 0) -> int:
    """Leave marks around some work."""
    work(n, ms)
    return n


@task(timeout="60s", backoff="1ms..20ms", retries=10)
def die(n: int, how: str, times: int) -> int:
    """Take its own process down on the first `times` attempts, then work."""
    note("start")
    if context().attempt <= times:
        if how == "exit":
            os._exit(0)
        os.kill(os.getpid(), signal.Signals[f"SIG{how}"])
        threading.Event().wait(30)
    note("end")
    return n


@task(timeout="60s", backoff="1ms..20ms")
def until_file(n: int, name: str) -> int:
    """Work until a file is there."""
    file = os.open(LOCKS, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, n, 1, 0))
    except BlockingIOError:
        note("overlap")
    note("start")
    while not Path(name).exists():
        threading.Event().wait(0.01)
    note("end")
    os.close(file)
    return n


@task(timeout="60s", backoff="1ms..20ms")
def swell(n: int, name: str, size: int) -> str:
    """Work until a file is there, and give back more than came in."""
    with alone(n):
        while not Path(name).exists():
            threading.Event().wait(0.01)
    return "x" * size


@task(timeout="60s", backoff="1ms..20ms")
def bulk(n: int, fill: str) -> str:
    """Leave marks, and give back a part of what it was given."""
    work(n, 0)
    return fill[:1000]


@task(timeout="60s", backoff="1ms..20ms", retries=10)
def stumble(n: int) -> int:
    """Fail the first attempt, work on the others."""
    with alone(n):
        if context().attempt == 1:
            raise RuntimeError("stumbled")
    return n


@task(timeout="60s", backoff="1ms..20ms", retries=20)
def fragile(n: int, crash: str, times: int, name: str) -> int:
    """Wait for a file, take its process down on the first `times` attempts, then work until another file is there."""
    note("start")
    while not Path(crash).exists():
        threading.Event().wait(0.01)
    if context().attempt <= times:
        os.kill(os.getpid(), signal.SIGKILL)
    while not Path(name).exists():
        threading.Event().wait(0.01)
    note("end")
    return n
