"""
Pipelines, end to end on an engine of their own: leads that are enriched beside being scored, joined, routed and summed
up; one source at two sizes through three stages, where time must grow in proportion and memory must not grow; and what
a stage costs beside a plain job that does the same.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from statistics import median
from threading import Event as Flag
from time import perf_counter, process_time
from typing import TYPE_CHECKING, Any, Final

from figure import QUICK_ROUNDS, ROUNDS, Figure, in_child, main, ratio, rivals
from scratch import Ends, folder, serving

from millrace.config.load import load_site
from millrace.events import AttemptEnded, RunEnded
from millrace.ledger.reads import Reads
from millrace.queue.runs import RunSubmission
from millrace.queue.submit import Submission

if TYPE_CHECKING:
    from collections.abc import Callable

    from millrace.events import Event
    from millrace.process.engine import Engine

LEADS: Final = 9_240
QUICK_LEADS: Final = 1_000
SIZES: Final = (100_000, 300_000)
QUICK_SIZES: Final = (15_000, 45_000)
JOBS: Final = 10_000
QUICK_JOBS: Final = 2_000
LIMIT_S: Final = 900.0
LEADS_TARGET_S: Final = 30.0
MEMORY_TARGET: Final = 0.10
STAGE_TARGET: Final = 0.25
SHOW_TARGET_MS: Final = 300.0
GROWTH_TARGET: Final = 1.25  # of the time for one record, from the small size to the large one
LOOKS: Final = 5

CONFIG: Final = """
[queues.thread]
kind = "thread"
workers = 4

[queues.process]
kind = "process"
workers = 2

[defaults]
retries = 0
"""

JOB_FILE: Final = '''
"""A small job, plain and as a stage, and pipelines over made-up leads."""

from collections.abc import Iterator

from pydantic import BaseModel

from millrace import Pipeline, Results, task

SOURCES = ("Google", "Direct", "Olark Chat", "Reference")
COUNTRIES = ("IN", "US", "DE", "GB", None)


class Lead(BaseModel):
    """As many fields as an everyday lead has."""

    number: int
    origin: str
    country: str | None
    visits: int
    minutes: float
    pages: float
    activity: str
    occupation: str
    city: str
    note: str


def _leads(count: int) -> Iterator[dict]:
    for n in range(count):
        yield {
            "number": n, "origin": SOURCES[n % 4], "country": COUNTRIES[n % 5], "visits": str(n % 11),
            "minutes": n % 97 / 3, "pages": n % 7, "activity": "Email Opened", "occupation": "Student", "city": "Pune",
            "note": "asked for a call back, but not before noon, and then again not at all",
        }


leads = Pipeline("leads", inputs={"count": int}, queue="process")


@leads.stage
def lead(count: int) -> Iterator[Lead]:
    yield from _leads(count)


@leads.stage
def company(lead: Lead) -> str:
    return f"{lead.city} {lead.number % 100}"


@leads.stage
def points(lead: Lead) -> int:
    return lead.visits * 5 + int(lead.minutes)


@leads.route
def segment(lead: Lead, company: str, points: int) -> str:
    return "large" if points > 40 else "small"


@segment.to("large")
def call(lead: Lead, points: int) -> str:
    return f"call {lead.number}: {points}"


@segment.otherwise
def mail(lead: Lead) -> str:
    return f"mail {lead.number}"


@leads.collect
def summary(points: Results[int], segment: Results[str]) -> dict:
    return {"sum": sum(points), "large": sum(one == "large" for one in segment), "count": len(points)}


three = Pipeline("three", inputs={"count": int}, queue="thread")


@three.stage
def item(count: int) -> Iterator[int]:
    yield from range(count)


@three.stage
def doubled(item: int) -> int:
    return item * 2


@three.stage
def text(doubled: int) -> str:
    return str(doubled)


@three.collect
def total(doubled: Results[int], text: Results[str]) -> int:
    return sum(doubled) + len(text)


chain = Pipeline("chain", inputs={"count": int}, queue="thread")


@chain.stage
def first(count: int) -> Iterator[int]:
    yield from range(count)


@chain.stage
def second(first: int) -> int:
    return first + 1


@chain.stage
def third(second: int) -> int:
    return second + 1


@chain.stage
def fourth(third: int) -> int:
    return third + 1


@chain.stage
def fifth(fourth: int) -> int:
    return fourth + 1


@task(queue="thread")
def plain(number: int) -> int:
    """Do what a stage of `chain` does."""
    return number + 1
'''


class Ending(Ends):
    """Counts attempts that are over and jobs that succeeded, and says when a run is over."""

    def __init__(self) -> None:
        super().__init__()
        self.status = ""
        self.jobs = 0
        self._over = Flag()

    def wait_for_run(self, limit_s: float) -> None:
        """Wait for the end of a run; RuntimeError if it does not come in time, or the run did not succeed."""
        if not self._over.wait(limit_s) or self.status != "succeeded":
            raise RuntimeError(f"the run is {self.status or 'open'} after {limit_s:g} s")

    def __call__(self, event: Event) -> None:
        """See an event."""
        super().__call__(event)
        self.jobs += isinstance(event, AttemptEnded) and event.status == "succeeded"
        if isinstance(event, RunEnded):
            self.status = event.status
            self._over.set()


def _run(engine: Engine, ends: Ending, pipeline: str, count: int) -> None:
    engine.submitter.start_run(RunSubmission(pipeline, payload={"count": count}))
    ends.wait_for_run(LIMIT_S)


def _plain(engine: Engine, ends: Ending, count: int) -> None:
    ends.expect(count)
    list(engine.submitter.submit_many(Submission("plain", payload={"number": n}) for n in range(count)))
    ends.wait(LIMIT_S)


def child(place: str, what: str, count: str) -> dict[str, Any]:
    """Work off one run, or as many plain jobs, in this process."""
    site, number, ends = load_site(Path(place) / "config.toml", {}), int(count), Ending()
    with serving(site, ends) as engine:
        began, spent = perf_counter(), process_time()
        if what == "plain":
            _plain(engine, ends, number)
        else:
            _run(engine, ends, what, number)
        took, spent = perf_counter() - began, process_time() - spent
    return {"took_s": took, "cpu_s": spent, "jobs": ends.jobs, "peak_mb": _peak_mb()}


def _peak_mb() -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def _make_site(place: Path) -> None:
    (place / "jobs").mkdir()
    (place / "jobs" / "bench.py").write_text(JOB_FILE, encoding="utf-8")
    (place / "config.toml").write_text(CONFIG, encoding="utf-8")


def measured(what: str, count: int, look: Callable[[Path], float] = lambda _: 0.0) -> dict[str, Any]:
    """Return what one run took in a site of its own, once the ledger has been looked at; `look` adds a figure."""
    with folder() as place:
        _make_site(place)
        found = in_child(__file__, place, what, count, limit_s=LIMIT_S + 60)
        _check(place, found["jobs"])
        print(f"  {what} {count:,}: {found}", file=sys.stderr, flush=True)
        return {**found, "look": look(place)}


def _check(place: Path, jobs: int) -> None:
    """Look from outside whether each job succeeded and the balance is zero; RuntimeError with what is there instead."""
    reads = Reads.open(load_site(place / "config.toml", {}).places.ledger)
    counts, balance = reads.status_counts(), reads.balance(count_rows=True)
    reads.close()
    if (counts["succeeded"], sum(counts.values()), balance.difference) != (jobs, jobs, 0):
        raise RuntimeError(f"{jobs} successes: {counts}, balance {balance.difference}")


def _show_ms(place: Path) -> float:
    """Return the milliseconds of `millrace runs show` from start to exit, as a person waits for it."""
    argv = [sys.executable, "-m", "millrace.cli.main", "-c", str(place / "config.toml"), "runs"]
    listed = subprocess.run([*argv, "list", "--json"], capture_output=True, text=True, check=True).stdout
    run_id = listed.split('"id"', 1)[1].split('"')[1]
    times = []
    for _ in range(LOOKS):
        began = perf_counter()
        subprocess.run([*argv, "show", run_id], capture_output=True, check=True)
        times.append((perf_counter() - began) * 1000)
    return median(times)


def figures(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one option that all scripts have
    """Return the figures of runs, and of a stage beside a plain job."""
    return [_leads(QUICK_LEADS if quick else LEADS), *_growth(*(QUICK_SIZES if quick else SIZES)), _stage(quick=quick)]


def _leads(count: int) -> Figure:
    found = measured("leads", count)
    return Figure(
        f"{count:,} leads through seven stages in processes",
        f"< {LEADS_TARGET_S:g} s",
        f"{found['took_s']:.1f} s, {found['jobs']:,} jobs, daemon at most {found['peak_mb']:.0f} MB",
        found["took_s"] < LEADS_TARGET_S,
    )


def _growth(small: int, large: int) -> list[Figure]:
    one, three = measured("three", small), measured("three", large, _show_ms)
    each = [found["took_s"] / count * 1e6 for found, count in ((one, small), (three, large))]
    more = three["peak_mb"] / one["peak_mb"] - 1
    sizes = f"{small:,} and {large:,} records"
    return [
        Figure(
            f"{sizes} through three stages: time for a record",
            f"≤ {GROWTH_TARGET:g} ×",
            f"{each[1] / each[0]:.2f} × ({each[0]:,.0f} µs : {each[1]:,.0f} µs; {three['took_s']:.0f} s)",
            each[1] / each[0] <= GROWTH_TARGET,
        ),
        Figure(
            f"{sizes}: highest memory of the daemon",
            f"< {MEMORY_TARGET:.0%} more",
            f"{more:+.1%} ({one['peak_mb']:.0f} MB : {three['peak_mb']:.0f} MB)",
            more < MEMORY_TARGET,
        ),
        Figure(
            f"`runs show` of {large:,} records", f"< {SHOW_TARGET_MS:g} ms", f"{three['look']:.0f} ms",
            three["look"] < SHOW_TARGET_MS,
        ),
    ]  # fmt: skip


def _stage(*, quick: bool) -> Figure:
    jobs = QUICK_JOBS if quick else JOBS

    def each(what: str, count: int) -> float:
        found = measured(what, count)
        return float(found["took_s"] / found["jobs"] * 1e6)

    values = rivals(
        QUICK_ROUNDS if quick else ROUNDS,
        {"stage": lambda: each("chain", jobs // 4), "plain": lambda: each("plain", jobs)},
    )
    more = ratio(values["stage"], values["plain"]) - 1
    return Figure(
        "a stage beside a plain job, fan-out and submission included, thread queue",
        f"< {STAGE_TARGET:.0%} more",
        f"{more:+.0%} ({median(values['stage']):,.0f} µs : {median(values['plain']):,.0f} µs)",
        more < STAGE_TARGET,
    )


if __name__ == "__main__":
    main(__doc__, figures, child)
