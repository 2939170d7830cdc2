"""
Latency: from the call of `submit` to the first line of the function, on a daemon that has nothing else to do. On the
way lie two commits, the job's acceptance and its claim. The scale is a bare thread that is woken and syncs once, taken
in turns with the jobs.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from statistics import median
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

from figure import Figure, in_child, main, percentile
from scratch import Ends, folder, make_site, serving

from millrace.clock import SYSTEM
from millrace.config.load import load_site
from millrace.queue.site import OpenSite
from millrace.queue.submit import Submission, Submitter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from millrace.process.engine import Engine

SAMPLES: Final = 300
QUICK_SAMPLES: Final = 60
COLD: Final = 5
QUICK_COLD: Final = 2
GAP_S: Final = 0.01
WARM_UP: Final = 5
P50_MS: Final = 5.0
COLD_MS: Final = 500.0
TASKS: Final = {"thread": "stamp", "child": "stamp_child"}
COLD_IDLE: Final = "100ms"
_NEVER: Final = threading.Event()


class Stamps:
    """Where jobs write the moment of their first line: a named pipe, held open at both ends."""

    def __init__(self, place: Path) -> None:
        self.path = place / f"stamps-{os.getpid()}"
        os.mkfifo(self.path)
        self._file = os.open(self.path, os.O_RDWR)

    def sample(self, submitter: Submitter, task: str) -> float:
        """Submit one job; return the milliseconds until its first line."""
        began = monotonic_ns()
        submitter.submit(Submission(task, payload={"fifo": str(self.path)}))
        took = (int(os.read(self._file, 64)) - began) / 1e6
        SYSTEM.wait(_NEVER, GAP_S)
        return took


class Bare:
    """A thread that is woken, syncs one page to the disk, and notes the time: what no durable design can beat."""

    def __init__(self, place: Path) -> None:
        self._file = os.open(place / "bare", os.O_WRONLY | os.O_CREAT)
        self._page = os.urandom(4096)
        self._go, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._at = 0
        threading.Thread(target=self._work, daemon=True).start()

    def sample(self) -> float:
        """Return the milliseconds of one turn."""
        began = monotonic_ns()
        self._go.release()
        self._done.acquire()
        took = (self._at - began) / 1e6
        SYSTEM.wait(_NEVER, GAP_S)
        return took

    def _work(self) -> None:
        while self._go.acquire():
            os.write(self._file, self._page)
            os.fdatasync(self._file)
            self._at = monotonic_ns()
            self._done.release()


def inside(place: Path, samples: int) -> dict[str, list[float]]:
    """Submit within the daemon's own process, as its API does."""
    with serving(load_site(place / "config.toml", {}), Ends()) as engine:
        stamps, bare = Stamps(place), Bare(place)
        values: dict[str, list[float]] = {"bare": [], **{name: [] for name in TASKS}}
        for turn in range(samples + WARM_UP):
            for name, task in TASKS.items():
                took = stamps.sample(engine.submitter, task)
                if turn >= WARM_UP:
                    values[name].append(took)
            values["bare"].append(bare.sample())
        return values


def beside(place: Path, samples: int) -> dict[str, list[float]]:
    """Serve, and let another process submit into the file and poke, as the command line does."""
    with serving(load_site(place / "config.toml", {}), Ends()):
        found: dict[str, list[float]] = in_child(__file__, "submitter", place, samples)
        return found


def submitter(place: Path, samples: int) -> dict[str, list[float]]:
    """Be that other process."""
    with OpenSite(load_site(place / "config.toml", {})) as opened:
        stamps, bare = Stamps(place), Bare(place)
        values: dict[str, list[float]] = {"bare": [], **{name: [] for name in TASKS}}
        for turn in range(samples + WARM_UP):
            for name, task in TASKS.items():
                took = stamps.sample(opened.submitter, task)
                if turn >= WARM_UP:
                    values[name].append(took)
            values["bare"].append(bare.sample())
        return values


def cold(place: Path, samples: int) -> dict[str, list[float]]:
    """Submit when neither a child nor the process that forks them is there."""
    with serving(load_site(place / "config.toml", {}), Ends()) as engine:
        stamps, values = Stamps(place), []
        for _ in range(samples):
            while not _bare_of_children(engine):
                SYSTEM.wait(_NEVER, GAP_S)
            values.append(stamps.sample(engine.submitter, "stamp_child"))
        return {"cold": values}


def _bare_of_children(engine: Engine) -> bool:
    return not engine.children.alive() and engine.children.helper() is None


MEASUREMENTS: Final[dict[str, Callable[[Path, int], dict[str, list[float]]]]] = {
    "inside": inside,
    "beside": beside,
    "submitter": submitter,
    "cold": cold,
}


def child(what: str, place: str, samples: str) -> dict[str, Any]:
    """Take one measurement in this process."""
    return MEASUREMENTS[what](Path(place), int(samples))


def measured(what: str, samples: int, child_idle: str) -> dict[str, list[float]]:
    """Return milliseconds by kind of queue, in a process and a site of its own."""
    with folder() as place:
        make_site(place, workers=2, child_idle=child_idle)
        found: dict[str, list[float]] = in_child(__file__, what, place, samples)
        return found


def figures(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one option that all scripts have
    """Return the latencies."""
    samples, colds = (QUICK_SAMPLES, QUICK_COLD) if quick else (SAMPLES, COLD)
    return list(_figures(samples, colds))


def _figures(samples: int, colds: int) -> Iterator[Figure]:
    for what, words in (("inside", "submitted in the daemon"), ("beside", "by another process")):
        values = measured(what, samples, "1m")
        scale = percentile(values["bare"], 0.99)
        for name, kind in (("thread", "thread queue"), ("child", "warm child")):
            p50, p99 = median(values[name]), percentile(values[name], 0.99)
            told = f"p50 {p50:.2f} ms, p99 {p99:.1f} ms = {p99 / scale:.1f} × bare"
            note = f"bare thread wake-up and fdatasync: p50 {median(values['bare']):.2f} ms, p99 {scale:.2f} ms"
            yield Figure(
                f"submit to first line, {kind}, {words}",
                f"p50 < {P50_MS:g} ms",
                told,
                p50 < P50_MS,
                note if name == "thread" else "",
            )
    values = measured("cold", colds, COLD_IDLE)
    worst = max(values["cold"])
    told = f"median {median(values['cold']):.0f} ms, worst {worst:.0f} ms"
    yield Figure("submit to first line, cold child", f"< {COLD_MS:g} ms", told, median(values["cold"]) < COLD_MS)


if __name__ == "__main__":
    main(__doc__, figures, child)
