"""What jobs do to the process that runs them. Copied into a site of its own for each test."""

from __future__ import annotations

import ctypes
import locale
import math
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from decimal import Decimal, getcontext
from pathlib import Path

from millrace import GiveUp, Pipeline, RetryLater, context, log, rules, settings, step, task

GRACEFUL = "cleaned up"

getcontext()  # a job file that looks at it, or sets it, makes one that all jobs of the process begin with


def _forever() -> None:
    threading.Event().wait()


def _deaf() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


@task
def add(a: int, b: int = 0) -> int:
    """Add."""
    return a + b


@task
def who() -> dict[str, object]:
    """Tell what the context says, and who runs this."""
    here = context()
    return {
        "job": here.job_id,
        "attempt": here.attempt,
        "client": here.client,
        "pid": os.getpid(),
        "remaining": here.remaining_s(),
        "threshold": settings.get("threshold"),
        "cwd": str(Path.cwd()),
        "tmp": tempfile.gettempdir(),
    }


@task
def note(path: str, text: str, seconds: float = 0.0) -> int:
    """Write a line into a file, and work on for so long."""
    with Path(path).open("a") as file:
        file.write(f"{text}\n")
    threading.Event().wait(seconds)
    return os.getpid()


@task
def say(text: str, size: int = 0) -> None:
    """Write to standard output in three ways, and leave the last line without an end."""
    print(f"{text} printed")  # noqa: T201
    os.write(1, f"{text} written\n".encode() + b"x" * size + b"\n")
    os.system(f"echo {text} echoed")  # noqa: S605
    sys.stdout.write(f"{text} unfinished")


@task
def fail(message: str = "it broke") -> None:
    """Raise."""
    raise RuntimeError(message)


@task(never_on=ValueError, retry_on=(OSError, ValueError))
def choosy(how: str) -> None:
    """Raise what the policy knows."""
    raise {"never": ValueError, "retry": ConnectionError, "other": KeyError}[how]("chosen")


@task
def later(after: str = "5m") -> None:
    """Ask to be retried."""
    raise RetryLater(after)


@task
def give_up() -> None:
    """Not worth it."""
    raise GiveUp("the customer is gone")


@task
def leave(code: int = 3) -> None:
    """Call sys.exit."""
    sys.exit(code)


@task
def leave_now(code: int = 3) -> None:
    """Leave without a word."""
    os._exit(code)


@task
def segfault() -> None:
    """Read at address 0."""
    ctypes.string_at(0)


@task
def term_self() -> None:
    """Send itself a TERM."""
    os.kill(os.getpid(), signal.SIGTERM)
    _forever()


@task
def kill_self() -> None:
    """End itself by KILL."""
    os.kill(os.getpid(), signal.SIGKILL)


@task(on_crash="fail")
def kill_self_once() -> None:
    """End itself by KILL; once is enough."""
    os.kill(os.getpid(), signal.SIGKILL)


@task(timeout=0.3)
def stop_self() -> None:
    """Stop itself."""
    os.kill(os.getpid(), signal.SIGSTOP)


@task
def out_of_memory() -> None:
    """Raise MemoryError."""
    raise MemoryError


@task
def hoard() -> int:
    """Take more memory than the queue allows."""
    return len(bytearray(2**30))


@task(timeout=0.3)
def hang(note: str) -> None:
    """Wait for ever, and clean up when it is ended."""
    Path(note).write_text("started")
    try:
        _forever()
    finally:
        Path(note).write_text(GRACEFUL)


@task(timeout=0.3)
def deaf_hang() -> None:
    """Wait for ever and ignore whatever can be ignored, whichever way it comes."""
    _deaf()
    while True:
        try:
            _forever()
        except BaseException:  # noqa: BLE001, S112 - this is the trick
            continue


@task(timeout=0.3)
def family(note: str) -> None:
    """Fork, setsid and double-fork deaf descendants, then wait for ever."""
    _deaf()
    _breed(note)
    _forever()


@task
def orphan(note: str) -> str:
    """Leave a deaf descendant of another session behind, and succeed."""
    _breed(note)
    return "done"


@task
def orphan_and_die(note: str) -> None:
    """Leave a descendant behind and die."""
    _breed(note)
    os._exit(9)


def _breed(note: str) -> None:
    ready, told = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            _deaf()
            os.setsid()
            Path(note).write_text(str(os.getpid()))
            os.write(told, b"x")
            _forever()
        os._exit(0)
    os.read(ready, 1)
    os.close(ready)
    os.close(told)


@task
def threads() -> str:
    """Leave threads behind that never end."""
    for _ in range(3):
        threading.Thread(target=_forever, daemon=False).start()
    return "done"


@task(timeout=60)
def flood(megabytes: int) -> str:
    """Write a lot to standard output."""
    block = b"x" * 99 + b"\n"
    block *= 10_000
    for _ in range(megabytes):
        os.write(1, block)
    return "done"


@task
def speak() -> None:
    """Print and log, and leave the last line without an end."""
    print("printed")  # noqa: T201
    print("complained", file=sys.stderr)  # noqa: T201
    log("logged", level="warning", rows=3)
    sys.stdout.write("unfinished")


@task
def close_all() -> str:
    """Close every descriptor."""
    os.closerange(0, 1000)
    return "done"


@task
def close_standard() -> str:
    """Close standard output only."""
    os.close(1)
    return "done"


@task
def not_a_number() -> float:
    """Return NaN."""
    return math.nan


@task
def echo(text: str) -> str:
    """Return what it was given."""
    return text


@task
def weigh(text: str) -> int:
    """Tell how much it was given."""
    return len(text)


@task
def huge(size: int) -> str:
    """Return a large text."""
    return "x" * size


@task
def leave_timers(handled: bool) -> None:  # noqa: FBT001
    """Leave timers behind that are about to go off, with a handler or without."""
    if handled:
        signal.signal(signal.SIGALRM, lambda *_: 1 / 0)
    signal.setitimer(signal.ITIMER_REAL, 0.2)
    signal.setitimer(signal.ITIMER_PROF, 5)


@task
def look_around() -> dict[str, object]:
    """Tell what this process gives to its jobs."""
    umask = os.umask(0)
    os.umask(umask)
    return {
        "pid": os.getpid(),
        "environ": dict(os.environ),
        "umask": umask,
        "folder": str(Path.cwd()),
        "tmp": tempfile.gettempdir(),
        "third": str(Decimal(1) / 3),
        "locale": locale.setlocale(locale.LC_ALL),
        "zone": time.strftime("%z", time.localtime(0)),
        "children": signal.getsignal(signal.SIGCHLD),
        "pipes": signal.getsignal(signal.SIGPIPE),
    }


@task
def rearrange(secret: str) -> int:
    """Change all of what `look_around` tells."""
    os.environ.update({"TZ": "Asia/Tokyo", "SECRET_OF_ACME": secret})
    del os.environ["PATH"]
    time.tzset()
    Path(tempfile.gettempdir(), "mine").touch()
    os.umask(0o777)
    os.chdir("/")
    tempfile.tempdir = "/"
    getcontext().prec = 3
    locale.setlocale(locale.LC_ALL, "C")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    return os.getpid()


@task
def hold_down(how: str) -> str:
    """Lower what cannot be raised again, or not by everybody."""
    if how == "priority":
        os.nice(1)
    elif how == "files":
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    else:
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    return how


@task
def round_to(digits: int | None = None) -> str:
    """Divide, rounded as decimals are here, or from here on."""
    if digits is not None:
        getcontext().prec = digits
    return str(Decimal(1) / 3)


@task
def nap(seconds: float) -> None:
    """Take a while."""
    threading.Event().wait(seconds)


@task
def litter() -> str:
    """Leave a temporary file behind."""
    handle, name = tempfile.mkstemp()
    os.close(handle)
    return name


@task
def in_steps(ledger_of_calls: str, fail_after: bool) -> list[int]:  # noqa: FBT001
    """Do two steps; each writes down that it was done."""

    def work(n: int) -> tuple[int, int]:
        with Path(ledger_of_calls).open("a") as calls:
            calls.write(f"{n}\n")
        return (n, n * n)

    one = step("one", work, 1)
    if fail_after:
        raise RuntimeError("between the steps")
    two = step("two", work, 2)
    return [*one, *two]


@task
def fetch_in_a_step(calls: str, size: int) -> int:
    """Keep as a step what is too large for one; each call is written down."""

    def fetch() -> str:
        with Path(calls).open("a") as book:
            book.write("called\n")
        return "x" * size

    return len(step("fetch", fetch))


@task
def decide(table: str, times: int, *, adds: bool) -> int:
    """Ask a decision table again and again."""
    asked = rules(table)
    for n in range(times):
        _ = asked.total({"n": n}) if adds else asked.first({"n": n})
    return times


@task(timeout="30d")
def patient() -> str:
    """Have a month."""
    return "in time"


@task(timeout=0.3)
def cooperative() -> None:
    """Never end, but log."""
    while True:
        log("still here", level="debug")
        threading.Event().wait(0.01)


@task(timeout=0.2)
def stubborn(release: str) -> str:
    """Not look at the clock until it finds a file."""
    pause = threading.Event()
    while not Path(release).exists():
        pause.wait(0.01)
    return "late"


@task
def kill_server() -> None:
    """Kill the process that all children come from."""
    os.kill(os.getppid(), signal.SIGKILL)
    _forever()


@task
def wait_for(release: str, started: str = "") -> str:
    """Wait for a file."""
    if started:
        Path(started).write_text(str(os.getpid()))
    pause = threading.Event()
    while not Path(release).exists():
        pause.wait(0.01)
    return "released"


@task
def asks(question: str) -> object:
    """Ask the supervisor something, after a remark."""
    line = context().line
    if line is None:
        return None
    line.tell("called", {"done": 1})
    return line.ask(question, {"key": "k"})


@task
def fork_and_return(first: str) -> int:
    """Return twice: in this process and in a copy of it, in the order that is asked for."""
    pid = os.fork()
    if (pid == 0) is (first == "parent"):
        threading.Event().wait(0.2)
    return os.getpid()


@task
def remarks() -> None:
    """Say something to which nobody answers."""
    log("logged")


tens = Pipeline("tens", inputs={"n": int})


@tens.stage
def last(n: int) -> int:
    """Succeed, and take the process down before it begins another job: it tidies up in between."""
    os.chdir = lambda _path: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
    return 10 * n


@tens.stage
def behind(n: int = 1) -> int:
    """Stand behind it."""
    return 10 * n
