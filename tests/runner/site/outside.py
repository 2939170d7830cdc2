"""Jobs that touch the outside world, which is a file that keeps each touch, whoever dies. Copied into test sites."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from millrace import Done, GiveUp, context, once, step, task

MOMENTS = ("before", "within", "after", "beyond")


def touch(file: str, line: str) -> None:
    """Append a line; it is on disk when this returns."""
    out = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(out, f"{line}\n".encode())
    os.fsync(out)
    os.close(out)


def lines(file: str) -> list[str]:
    """Return what a file holds."""
    return Path(file).read_text().splitlines() if Path(file).exists() else []


def die(at: str, moment: str, victim: int) -> None:
    """Kill a process, at one moment of the first attempt: this one, or the daemon, whose end takes this one along."""
    if at == moment and context().attempt == 1:
        touch("deaths", at)
        os.kill(victim or os.getpid(), signal.SIGKILL)
        threading.Event().wait(60)


def charge(order: str, idempotency_key: str, at: str = "", victim: int = 0) -> dict[str, str]:
    """Charge an order at a provider that knows its callers' keys: the same key again is one charge."""
    die(at, "before", victim)
    touch("calls", idempotency_key)
    if not any(line.split()[1] == idempotency_key for line in lines("effects")):
        touch("effects", f"{order} {idempotency_key}")
    die(at, "within", victim)
    return {"order": order}


def send(order: str, at: str = "", victim: int = 0) -> dict[str, str]:
    """Send something at a provider that would do it twice."""
    die(at, "before", victim)
    touch("effects", f"{order} sent")
    die(at, "within", victim)
    return {"order": order}


def was_sent(order: str, at: str = "", victim: int = 0) -> Done[dict[str, str]] | None:
    """Ask the provider."""
    touch("asked", f"{order} {at} {victim}")
    return Done({"order": order}) if f"{order} sent" in lines("effects") else None


@task(timeout="60s", backoff="1ms..20ms", retries=5)
def pay(order: str, way: str, at: str = "", victim: int = 0) -> dict[str, str]:
    """Do one thing to the outside world in one of the three ways; die at a moment of the first attempt."""
    if way == "repeat":
        found = once(f"charge-{order}", charge, order, at=at, victim=victim, in_doubt="repeat")
    elif way == "verify":
        found = once(f"send-{order}", send, order, at=at, victim=victim, verify=was_sent)
    else:
        found = once(f"send-{order}", send, order, at=at, victim=victim, in_doubt="park")
    die(at, "after", victim)
    step("beyond", touch, "ends", order)
    die(at, "beyond", victim)
    return found


@task(timeout="20s", backoff="1ms..20ms")
def slow(order: str, name: str) -> int:
    """Take a while over one thing: until a file is there."""

    def work(order: str) -> int:
        touch("effects", f"{order} {context().job_id}")
        while not Path(name).exists():
            threading.Event().wait(0.01)
        return len(lines("effects"))

    return once(f"slow-{order}", work, order)


@task(timeout="20s", backoff="1ms..20ms", retries=3)
def refused(how: str) -> str:
    """Meet a provider that says no on the first attempt."""

    def call() -> str:
        touch("effects", how)
        if context().attempt == 1:
            raise {"gave up": GiveUp, "not done": PermissionError, "error": OSError}[how]("no")
        return "done"

    return once("refused", call, not_done=PermissionError, verify=lambda: touch("asked", how))


def nested() -> int:
    """Wait for itself."""
    return once("nested", nested)


class TooSlowError(Exception):
    """An alarm went off."""


@task(timeout="60s", backoff="1ms..20ms")
def impatient(*, bounded: bool) -> None:
    """Send a reminder, under an alarm as decorators for timeouts set it, and then the invoice."""

    def too_slow(*_: object) -> None:
        raise TooSlowError

    if bounded:
        signal.signal(signal.SIGALRM, too_slow)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        try:
            once("reminder", touch, "effects", "reminder")
        except TooSlowError:
            touch("calls", "too slow")
    once("invoice", touch, "effects", "invoice")


@task(timeout="20s", backoff="1ms..20ms")
def strange(how: str) -> object:
    """Return what cannot be kept, take a key for two things, or take none that is one."""
    if how == "no JSON":
        return once("strange", object)
    if how == "nested":
        return once("nested", nested)
    if how == "two":
        once("strange", lines, "a")
        return once("strange", lines, "b")
    return once(how, lines, "a")


@task(timeout="500ms", backoff="1ms..20ms")
def late() -> int:
    """Do something that takes longer than the attempt may."""

    def work() -> int:
        touch("effects", "late")
        threading.Event().wait(0.6)
        return len(lines("effects"))

    return once("late", work)
