"""
Enqueue: how fast work is taken in, durable. One by one, each submission on disk before the next begins, against Huey's
own durable enqueue; the same from several threads at once; and many by one caller, as `millrace submit --lines` does,
from outside with the start of the process, and inside through the one door in.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import peer
import scratch
from figure import QUICK_ROUNDS, ROUNDS, Figure, in_child, main, ratio, rivals
from scratch import folder, make_site

from millrace.config.load import load_site
from millrace.ledger.reads import Reads
from millrace.queue.site import OpenSite
from millrace.queue.submit import Submission

if TYPE_CHECKING:
    from collections.abc import Iterator

ONE_BY_ONE: Final = 2_000
THREADS: Final = 8
LINES: Final = 100_000
QUICK_LINES: Final = 20_000
TARGET_PER_S: Final = 20_000
LIMIT_S: Final = 60.0
LEAD: Final = {
    "email": "ada@example.com", "company": "Analytical Engines Ltd", "employees": 1850, "country": "GB",
    "budget": 125_000, "source": "fair", "visits": 12, "newsletter": True, "note": "asked for a call after the fair",
}  # fmt: skip


def one_by_one(place: Path, jobs: int) -> float:
    """Return the seconds for submitting jobs, each of which is on disk when the next begins."""
    site = load_site(place / "config.toml", {})
    with OpenSite(site) as opened:
        opened.submitter.submit(Submission("noop"))
        began = perf_counter()
        for _ in range(jobs):
            opened.submitter.submit(Submission("noop"))
        return perf_counter() - began


def at_once(place: Path, jobs: int) -> float:
    """Return the seconds in which threads submit jobs, each of which waits for its own to be on disk."""
    site = load_site(place / "config.toml", {})
    with OpenSite(site) as opened:

        def submit() -> None:
            for _ in range(jobs // THREADS):
                opened.submitter.submit(Submission("noop"))

        opened.submitter.submit(Submission("noop"))
        began = perf_counter()
        scratch.at_once(THREADS, submit)
        return perf_counter() - began


def inside(place: Path, jobs: int) -> float:
    """Return the seconds for submitting the lines of a file, in a process that is up."""
    site = load_site(place / "config.toml", {})
    with OpenSite(site) as opened, (place / "leads.jsonl").open(encoding="utf-8") as lines:
        began = perf_counter()
        taken = sum(map(len, opened.submitter.submit_many(Submission("lead", text=line) for line in lines)))
        took = perf_counter() - began
    if taken != jobs:
        raise RuntimeError(f"{taken} of {jobs} lines were answered")
    return took


def outside(jobs: int) -> float:
    """Return lines a second of `millrace submit --lines`, from the start of the process to its end."""
    with folder() as place:
        site = make_site(place, workers=1)
        _write_lines(place, jobs)
        argv = [
            str(Path(sys.executable).with_name("millrace")), "-c", str(site.places.config), "submit", "lead",
            "--lines", str(place / "leads.jsonl"),
        ]  # fmt: skip
        began = perf_counter()
        subprocess.run(argv, stdout=subprocess.DEVNULL, check=True, timeout=LIMIT_S)
        took = perf_counter() - began
        reads = Reads.open(site.places.ledger)
        queued = reads.status_counts()["queued"]
        reads.close()
        if queued != jobs:
            raise RuntimeError(f"{queued} of {jobs} lines are queued")
        return jobs / took


def child(what: str, place: str, jobs: str) -> dict[str, Any]:
    """Take one measurement in this process."""
    run = {"one": one_by_one, "at once": at_once, "inside": inside}[what]
    return {"per_s": int(jobs) / run(Path(place), int(jobs))}


def measured(what: str, jobs: int) -> float:
    """Return jobs a second, in a process and a site of its own."""
    with folder() as place:
        make_site(place, workers=1)
        _write_lines(place, jobs)
        return float(in_child(__file__, what, place, jobs)["per_s"])


def figures(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one option that all scripts have
    """Return the figures of taking work in."""
    rounds, lines = (QUICK_ROUNDS, QUICK_LINES) if quick else (ROUNDS, LINES)
    values = rivals(
        rounds,
        {
            "peer": lambda: peer.measured("enqueue", ONE_BY_ONE, "durable"),
            "one": lambda: measured("one", ONE_BY_ONE),
            "peer at once": lambda: peer.measured("at once", ONE_BY_ONE, THREADS),
            "at once": lambda: measured("at once", ONE_BY_ONE),
            "outside": lambda: outside(lines),
            "inside": lambda: measured("inside", lines),
        },
    )
    return list(_figures(values, lines))


def _figures(values: dict[str, list[float]], lines: int) -> Iterator[Figure]:
    per_s = {name: median(found) for name, found in values.items()}
    times, told = _against(values, "one", "peer")
    yield Figure("submit one by one", "≥ 1 × peer", told, times >= 1)
    _, told = _against(values, "at once", "peer at once")
    yield Figure(f"{THREADS} threads submit at once", "", told, note="each waits for its own commit")
    for name, words in (("outside", "`submit --lines`, whole process"), ("inside", "the same, inside the process")):
        yield Figure(
            f"{words}, {lines:,} lines of {len(LEAD)} fields",
            f"≥ {TARGET_PER_S:,}/s",
            f"{per_s[name]:,.0f}/s",
            per_s[name] >= TARGET_PER_S,
        )


def _against(values: dict[str, list[float]], ours: str, theirs: str) -> tuple[float, str]:
    times = ratio(values[ours], values[theirs])
    return times, f"{times:.2f} × ({median(values[ours]):,.0f}/s : {median(values[theirs]):,.0f}/s)"


def _write_lines(place: Path, jobs: int) -> None:
    with (place / "leads.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({**LEAD, "visits": number}) + "\n" for number in range(jobs))


if __name__ == "__main__":
    main(__doc__, figures, child)
