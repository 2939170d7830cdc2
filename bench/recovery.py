"""
Recovery: how soon the death of a child is noticed, and how soon a daemon is ready on the ledger of one that died in the
midst of work.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from contextlib import closing
from pathlib import Path
from statistics import median
from time import monotonic
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from figure import Figure, in_child, main
from idle import environment, served
from scratch import folder, make_site, serving

from millrace.clock import SYSTEM
from millrace.config.load import load_site
from millrace.events import AttemptEnded
from millrace.ledger.ledger import Ledger
from millrace.ledger.reads import Reads
from millrace.ledger.rows import NewJob
from millrace.queue.submit import Submission

if TYPE_CHECKING:
    from millrace.config.load import Site
    from millrace.events import Event

DEATHS: Final = 200
QUICK_DEATHS: Final = 20
WAITING: Final = 100_000
QUICK_WAITING: Final = 10_000
RUNNING: Final = 1_000
CHUNK: Final = 1_000
STARTS: Final = 3
NOTICED_S: Final = 1.0
READY_S: Final = 5.0
LIMIT_S: Final = 60.0
LONG_MS: Final = 600_000
_NEVER: Final = threading.Event()


class Start(NamedTuple):
    """A start on what was left behind: seconds until READY, those of processor time, and attempts taken back."""

    ready_s: float
    processor_s: float
    taken: int


class Heard:
    """Says when an attempt has ended."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.at = 0.0

    def __call__(self, event: Event) -> None:
        """Hear an event; that of an end comes after its commit."""
        if isinstance(event, AttemptEnded):
            self.at = monotonic()
            self.ended.set()


def deaths(site: Site, count: int) -> list[float]:
    """Kill the child of a running job again and again; return the seconds until each was on record."""
    heard, noticed = Heard(), []
    with serving(site, heard) as engine:  # type: ignore[arg-type] # it listens, as the counter of ends does
        for number in range(count):
            mark = site.places.root / f"napping-{number}"
            job = engine.submitter.submit(Submission("nap_child", payload={"ms": LONG_MS, "mark": str(mark)})).id
            while not mark.exists():
                SYSTEM.wait(_NEVER, 0.002)
            (pid,) = engine.children.alive()
            heard.ended.clear()
            began = monotonic()
            os.kill(pid, signal.SIGKILL)
            if not heard.ended.wait(LIMIT_S):
                raise RuntimeError("nobody noticed that a child was dead")
            noticed.append(heard.at - began)
            engine.moves.cancel(job, actor="bench").wait()  # it waits for its backoff
    return noticed


def leave_behind(site: Site, waiting: int, running: int) -> None:
    """Leave a ledger behind as a daemon does that dies: jobs that wait, and jobs that run for a daemon that is gone."""
    with Ledger(site.places.ledger) as ledger:
        ledger.moves.daemon = "dead"
        jobs = [("noop", "thread"), ("noop_child", "process")]
        tickets = [
            ledger.moves.accept([NewJob(*jobs[n % 2]) for n in range(CHUNK)])
            for _ in range((waiting + running) // CHUNK)
        ]
        for ticket in tickets:
            ticket.wait()
        held = 0
        for _, queue in jobs:
            while held < running // len(jobs) * (1 + (queue == "process")):
                held += len(ledger.moves.claim(queue, 100).wait())
            ledger.moves.pause(queue, actor="bench").wait()  # to see what is taken back before it runs again


def child(what: str, place: str, count: str) -> dict[str, Any]:
    """Take one measurement in this process."""
    site = load_site(Path(place) / "config.toml", {})
    if what == "deaths":
        return {"noticed": deaths(site, int(count))}
    leave_behind(site, int(count), RUNNING)
    return {}


def start(count: int) -> Start:
    """Start a daemon on what another left behind."""
    with folder() as place:
        site = make_site(place, workers=2)
        in_child(__file__, "leave", place, count, limit_s=600.0)
        variables = environment(site.places.state)
        with served(site.places.state, variables, str(place / "config.toml")) as running:
            ready_s, times = running.ready_s, running.process.cpu_times()
        lines = (site.places.state / "log").read_text(encoding="utf-8").splitlines()
        taken = sum(line["released"] for line in map(json.loads, lines) if line["event"] == "daemon.recovered")
        with closing(Reads.open(site.places.ledger)) as reads:
            if reads.balance(count_rows=True).difference or reads.status_counts()["queued"] != count + RUNNING:
                raise RuntimeError(f"not all is queued again: {reads.status_counts()}")
        return Start(ready_s, times.user + times.system, taken)


def figures(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one option that all scripts have
    """Return how soon a daemon is back at work."""
    deaths_, waiting = (QUICK_DEATHS, QUICK_WAITING) if quick else (DEATHS, WAITING)
    with folder() as place:
        make_site(place, workers=1)
        noticed = in_child(__file__, "deaths", place, deaths_, limit_s=600.0)["noticed"]
    starts = [start(waiting) for _ in range(1 if quick else STARTS)]
    ready_s, processor_s = (median(values) for values in list(zip(*starts, strict=True))[:2])
    taken = {one.taken for one in starts}
    return [
        Figure(
            f"death of a child to its commit, {deaths_} times",
            f"< {NOTICED_S:g} s",
            f"median {median(noticed) * 1000:.0f} ms, longest {max(noticed) * 1000:.0f} ms",
            max(noticed) < NOTICED_S,
        ),
        Figure(
            f"start to READY with {waiting:,} waiting and {RUNNING:,} cut off",
            f"< {READY_S:g} s",
            f"{ready_s:.2f} s",
            ready_s < READY_S and taken == {RUNNING},
            f"took back {', '.join(map(str, sorted(taken)))}; {processor_s:.2f} s of it on a processor",
        ),
    ]


if __name__ == "__main__":
    main(__doc__, figures, child)
