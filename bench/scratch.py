"""A site of its own for each measurement, on the disk that the repository lies on, and an engine that serves it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from millrace.clock import SYSTEM
from millrace.config.load import load_site
from millrace.events import AttemptEnded
from millrace.ledger.reads import Reads
from millrace.observe.bus import Bus
from millrace.observe.log import Log
from millrace.observe.metrics import Metrics
from millrace.process.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from millrace.config.load import Site
    from millrace.events import Event

REPOSITORY: Final = Path(__file__).resolve().parent.parent
IN_MEMORY: Final = frozenset({"tmpfs", "ramfs"})

CONFIG: Final = """
[queues.thread]
kind = "thread"
workers = {workers}

[queues.process]
kind = "process"
workers = {workers}

[defaults]
child_idle = "{child_idle}"
"""

JOBS: Final = '''
"""Jobs that do next to nothing."""

import os
import time

from millrace import task


@task(queue="thread")
def noop() -> None:
    """Do nothing, in a thread."""


@task(queue="process")
def noop_child() -> None:
    """Do nothing, in a child."""


@task(queue="thread")
def lead(
    email: str, company: str, employees: int, country: str, budget: int, source: str, visits: int, newsletter: bool,
    note: str,
) -> None:
    """Take a payload of an everyday size."""


@task(queue="thread")
def nap(ms: int) -> None:
    """Sleep, in a thread."""
    time.sleep(ms / 1000)


@task(queue="process", backoff="1h..1h")
def nap_child(ms: int, mark: str) -> None:
    """Leave a file, and sleep, in a child."""
    os.close(os.open(mark, os.O_WRONLY | os.O_CREAT))
    time.sleep(ms / 1000)


@task(queue="thread")
def stamp(fifo: str) -> None:
    """Tell when the first line ran, in a thread."""
    _tell(time.monotonic_ns(), fifo)


@task(queue="process")
def stamp_child(fifo: str) -> None:
    """Tell when the first line ran, in a child."""
    _tell(time.monotonic_ns(), fifo)


def _tell(now: int, fifo: str) -> None:
    file = os.open(fifo, os.O_WRONLY)
    os.write(file, b"%d\\n" % now)
    os.close(file)
'''


@contextmanager
def folder() -> Iterator[Path]:
    """Give an empty folder on the repository's disk ($BENCH_DIR for another one), and remove it afterwards."""
    base = Path(os.environ.get("BENCH_DIR", REPOSITORY / "var" / "bench"))
    base.mkdir(parents=True, exist_ok=True)
    if _file_system(base) in IN_MEMORY:
        raise SystemExit(f"{base} lies in memory, where a sync costs nothing: set BENCH_DIR to a folder on a disk")
    path = Path(tempfile.mkdtemp(prefix=f"{os.getpid()}-", dir=base))  # whose it is, should a run be killed
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _file_system(path: Path) -> str:
    device = path.stat().st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text(encoding="utf-8").splitlines():
        fields, _, rest = line.partition(" - ")
        if fields.split()[2] == wanted:
            return rest.split()[0]
    return ""


def make_site(root: Path, *, workers: int, child_idle: str = "1m") -> Site:
    """Write a site into a folder and return it, checked."""
    (root / "jobs").mkdir()
    (root / "jobs" / "__init__.py").touch()
    (root / "jobs" / "bench.py").write_text(JOBS, encoding="utf-8")
    config = root / "config.toml"
    config.write_text(CONFIG.format(workers=workers, child_idle=child_idle), encoding="utf-8")
    return load_site(config, {})


def at_once(threads: int, work: Callable[[], object]) -> None:
    """Do the same work in so many threads at once; raises what one of them raised."""
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work) for _ in range(threads)]:
            done.result()


class Ends:
    """Counts attempts that are over, committed and all, and says when there were enough."""

    def __init__(self) -> None:
        self._wanted = 0
        self._count = 0
        self._enough = threading.Event()

    def expect(self, count: int) -> None:
        """Begin to count anew."""
        self._count, self._wanted = 0, count
        self._enough.clear()

    def wait(self, limit_s: float) -> None:
        """Wait until there were as many as expected; RuntimeError if there are not in time."""
        if not self._enough.wait(limit_s):
            raise RuntimeError(f"{self._count} of {self._wanted} attempts ended within {limit_s:g} s")

    def __call__(self, event: Event) -> None:
        """Count an event; the ledger's writer alone emits those that matter."""
        if isinstance(event, AttemptEnded):
            self._count += 1
            if self._count == self._wanted:
                self._enough.set()


@contextmanager
def serving(site: Site, ends: Ends) -> Iterator[Engine]:
    """Serve a site in this process as the daemon does: its engine, its log in a file, its metrics."""
    with (site.places.root / "log").open("a", encoding="utf-8") as stream:
        log = Log(stream)
        bus = Bus([log, Metrics(version="bench"), ends])
        engine = Engine(site, clock=SYSTEM, emit=bus.emit)
        engine.start()
        try:
            yield engine
        finally:
            hurry = threading.Event()
            engine.drain(0.0, hurry)
            engine.stop(2.0, hurry)
            log.close()


def check(site: Site, jobs: int) -> None:
    """
    Look from outside whether the ledger tells of all jobs: each succeeded, in one attempt that is in the history.

    Raises: RuntimeError with what it found instead.
    """
    reads = Reads.open(site.places.ledger)
    with closing(reads):
        counts, balance = reads.status_counts(), reads.balance(count_rows=True)
    with closing(sqlite3.connect(site.places.ledger)) as database:
        attempts, distinct = database.execute("SELECT count(*), count(DISTINCT job_id) FROM attempt").fetchone()
        sound = database.execute("PRAGMA quick_check").fetchone()[0]
    found = (counts["succeeded"], sum(counts.values()), attempts, distinct, balance.difference, sound)
    if found != (jobs, jobs, jobs, jobs, 0, "ok"):
        raise RuntimeError(f"{jobs} jobs: succeeded, all, attempts, distinct, balance, check = {found}")
