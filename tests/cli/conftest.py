"""A small site, and ways to call the command line on it."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from millrace.cli.main import main
from millrace.ledger.ledger import Ledger
from millrace.ledger.moves import Moves
from millrace.ledger.plan import Plan, PlanStage
from millrace.ledger.rows import Claim, JobError, NewJob
from millrace.ledger.run_rows import NewRun

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

CONFIG = """\
[site]
jobs = "cli_jobs"   # not "jobs": that is the repository's own, which other tests import

[queues.io]
kind = "thread"
workers = 2

[clients.acme]
"""
JOBS = '''\
from millrace import task


@task
def add(left: int, right: int = 1) -> int:
    """Add two numbers."""
    return left + right


@task(queue="io", retries=0)
def greet(name: str) -> str:
    """Greet somebody."""
    return f"Hello, {name}"
'''

PIPELINE = '''\
"""Parcels: priced, sorted and totalled."""

from collections.abc import Iterator

from pydantic import BaseModel

from millrace import Pipeline, Results

parcels = Pipeline("parcels", inputs={"day": str, "rate": (int, 2)})


class Parcel(BaseModel):
    number: int
    grams: int


@parcels.stage
def parcel(day: str) -> Iterator[Parcel]:
    """Yield the parcels of a day."""
    yield Parcel(number=1, grams=5)


@parcels.stage(retries=0)
def price(parcel: Parcel, rate: int) -> int:
    return parcel.grams * rate


@parcels.route
def way(parcel: Parcel) -> str:
    return "light"


@way.to("heavy", "bulky")
def pallet(parcel: Parcel) -> str:
    return "pallet"


@way.otherwise(queue="io")
def label(parcel: Parcel, price: int) -> str:
    return "label"


@parcels.collect
def total(price: Results[int]) -> int:
    return sum(price)
'''


@dataclass(frozen=True)
class Done:
    """What a call came to."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


# Whoever runs the suite may ignore Ctrl-C, as a shell does for what it starts in the background; it is inherited.
UNHINDERED = """
import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
os.execv(sys.argv[1], sys.argv[1:])
"""


class Site:
    """A site in a folder of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.config = root / "config.toml"
        self.state = root / "var"
        self.ledger = self.state / "millrace.db"
        self.config.write_text(CONFIG)
        (root / "cli_jobs").mkdir()
        (root / "cli_jobs" / "sums.py").write_text(JOBS)

    def open(self) -> Ledger:
        return Ledger(self.ledger, synchronous="normal")

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "millrace.cli.main", "-c", str(self.config), *words]

    def interruptible(self, *words: str) -> list[str]:
        """Return the words of a command line that Ctrl-C ends, whatever it inherits."""
        return [sys.executable, "-c", UNHINDERED, *self.argv(*words)]

    def process(self, *words: str, stdin: bytes = b"", environ: Mapping[str, str] | None = None) -> Done:
        """Call the command line in a process of its own."""
        path = str(Path(__file__).resolve().parents[2] / "daemon")
        done = subprocess.run(
            self.argv(*words),
            input=stdin,
            capture_output=True,
            cwd=self.root,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": path, "LANG": "C.UTF-8", "LOGNAME": "tess", **(environ or {})},
            timeout=60,
            check=False,
        )
        return Done(done.returncode, done.stdout.decode(), done.stderr.decode())


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Make a site with two tasks."""
    return Site(tmp_path)


@pytest.fixture
def parcels(site: Site) -> Site:
    """Give the site a pipeline."""
    (site.root / "cli_jobs" / "parcels.py").write_text(PIPELINE)
    return site


@pytest.fixture
def call(site: Site, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Call the command line in this process."""

    def run(*words: str) -> Done:
        capsys.readouterr()
        code = main(["-c", str(site.config), *words])
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return run


class Past:
    """Makes things have happened in a ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.moves = Moves(ledger.writer, daemon="daemon-1")

    def job(self, task: str = "add", payload: str = '{"left":1}', **given: Any) -> str:
        return (
            self.moves.accept([NewJob(task=task, queue=given.pop("queue", "default"), payload=payload, **given)])
            .wait()[0]
            .id
        )

    def run(self, *stages: PlanStage, pipeline: str = "parcels", **given: Any) -> str:
        """Start a run; without stages, of one stage whose queue nobody works."""
        plan = Plan(pipeline, stages or (PlanStage("only", f"{pipeline}.only", "idle"),))
        return self.moves.start_run(NewRun(pipeline, plan, **given)).wait().id

    def of_stage(self, run_id: str, stage: str, queue: str = "default") -> list[Claim]:
        """Claim what a queue has; return the jobs of a stage of a run, by record."""
        claims = self.moves.claim(queue, 500).wait()
        found = [held for held in claims if (held.run_id, held.stage) == (run_id, stage)]
        return sorted(found, key=lambda held: int((held.record or "0").lstrip("@")))

    def claimed(self, **given: Any) -> Claim:
        job_id = self.job(**given)
        held = {claim.job_id: claim for claim in self.moves.claim(given.get("queue", "default"), 100).wait()}
        return held[job_id]

    def succeeded(self, result: str = "2", **given: Any) -> str:
        held = self.claimed(**given)
        self.moves.succeed(held, result, duration_s=0.25).wait()
        return held.job_id

    def dead(self, message: str = "no luck", **given: Any) -> str:
        held = self.claimed(**given)
        error = JobError("ValueError", message, f"Traceback (most recent call last):\n  in add\nValueError: {message}")
        self.moves.give_up(held, error, duration_s=0.5, cause="out of retries").wait()
        return held.job_id


@pytest.fixture
def past(site: Site) -> Iterator[Past]:
    """Open the site's ledger, to fill it with history."""
    with site.open() as ledger:
        yield Past(ledger)
