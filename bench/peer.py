"""
The peer: Huey with its own SQLite storage, durable, and with its own statistics as the history. A raw Huey keeps none,
and by default syncs at checkpoints only, so that without both it would be asked for less than a ledger is.

Where there was a choice it was made in the peer's favour: statistics in a file of their own, no log lines, no pruning,
no periodic tasks, and its backlog is put in before the clock runs.
"""

from __future__ import annotations

import logging
import sys
import threading
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

import peewee
from figure import Figure, in_child, main
from huey import SqliteHuey
from huey.contrib.stats import HueyEvent, HueyStats
from scratch import at_once, folder

if TYPE_CHECKING:
    from huey.api import TaskWrapper

NAME: Final = "peer"
LIMIT_S: Final = 100.0
SIGNALS_A_JOB: Final = 2  # executing and complete; enqueued is signalled by the process that enqueues


class Peer:
    """
    A durable Huey on a file.

    Args:
        path: The queue's file; made if it is not there.
        fsync: Whether each transaction is on disk when it returns.
    """

    def __init__(self, path: Path, *, fsync: bool = True) -> None:
        self.huey = SqliteHuey(NAME, filename=str(path), fsync=fsync)
        self.done = threading.Event()
        self.left = 0
        self._lock = threading.Lock()
        self.noop: TaskWrapper = self.huey.task(name="noop")(self._noop)

    def _noop(self) -> None:
        with self._lock:
            self.left -= 1
            if self.left == 0:
                self.done.set()

    def fill(self, jobs: int) -> None:
        """Put a backlog in."""
        for _ in range(jobs):
            self.noop()


def drain(path: Path, jobs: int, workers: int) -> float:
    """Return the seconds in which the peer's consumer works off a backlog, its history written."""
    for name in ("huey", "huey.consumer"):
        logging.getLogger(name).setLevel(logging.WARNING)
    Peer(path, fsync=False).fill(jobs)  # the backlog's making is not measured here
    peer = Peer(path)
    database = peewee.SqliteDatabase(
        str(path.with_name("stats.db")), pragmas={"journal_mode": "wal", "synchronous": "full"}
    )
    stats = HueyStats(peer.huey, database, max_events=10**9)
    stats.connect()
    peer.left = jobs
    consumer = peer.huey.create_consumer(workers=workers, periodic=False)
    began = perf_counter()
    consumer.start()
    if not peer.done.wait(LIMIT_S):
        raise RuntimeError(f"the peer has {peer.left} of {jobs} left after {LIMIT_S:g} s")
    stats._flush()  # noqa: SLF001 - what it still holds back is part of the work
    took = perf_counter() - began
    consumer.stop(graceful=True)
    stats.close()
    kept = HueyEvent.select().count()
    if kept < SIGNALS_A_JOB * jobs or peer.huey.pending_count():
        raise RuntimeError(f"{kept} events and {peer.huey.pending_count()} pending after {jobs} jobs")
    return took


def enqueue(path: Path, jobs: int, *, fsync: bool) -> float:
    """Return the seconds for enqueuing jobs one by one."""
    peer = Peer(path, fsync=fsync)
    began = perf_counter()
    peer.fill(jobs)
    return perf_counter() - began


def enqueue_at_once(path: Path, jobs: int, threads: int) -> float:
    """Return the seconds in which threads enqueue jobs, durable, each thread one by one."""
    peer = Peer(path)
    began = perf_counter()
    at_once(threads, lambda: peer.fill(jobs // threads))
    took = perf_counter() - began
    if peer.huey.pending_count() != jobs:
        raise RuntimeError(f"{peer.huey.pending_count()} of {jobs} jobs are pending")
    return took


def child(what: str, place: str, jobs: str, more: str) -> dict[str, Any]:
    """Take one measurement in this process."""
    path, count = Path(place) / "peer.db", int(jobs)
    match what:
        case "drain":
            took = drain(path, count, int(more))
        case "at once":
            took = enqueue_at_once(path, count, int(more))
        case _:
            took = enqueue(path, count, fsync=more == "durable")
    return {"per_s": count / took}


def measured(what: str, jobs: int, more: object) -> float:
    """Return jobs a second of the peer, in a process and on files of its own."""
    with folder() as place:
        return float(in_child(__file__, what, place, jobs, more)["per_s"])


def figures(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one option that all scripts have
    """Return the peer's own figures, for scale."""
    jobs = 1_000 if quick else 10_000
    return [
        Figure("peer: drain", "", f"{measured('drain', jobs, 4):,.0f}/s", note="4 threads, durable, with statistics"),
        Figure("peer: enqueue one by one", "", f"{measured('enqueue', 1_000, 'durable'):,.0f}/s", note="durable"),
    ]


if __name__ == "__main__":
    main(__doc__, figures, child)
    sys.stdout.flush()
