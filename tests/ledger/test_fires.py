"""A due time is decided once: its row, its work and how far the schedule is decided, all or nothing."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from millrace.errors import WrongStatus
from millrace.ledger.fire_rows import ByHand, Decision, Fired, NewFire
from millrace.ledger.rows import NewJob
from tests.ledger.rig import LIMIT_S, START_MS

if TYPE_CHECKING:
    from tests.ledger.rig import Book

JOB = NewJob("report", "q")
PLACE = ("x", "x", "default")
KILLED = """
import os, sys
from pathlib import Path
from millrace.ledger.fire_rows import ByHand, Decision, NewFire
from millrace.ledger.fires import fire
from millrace.ledger.ledger import Ledger
from millrace.ledger.rows import NewJob

path, last, when = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
new = NewFire(last + 60, "on_time", work=NewJob("report", "q"))
decision = Decision("x", "x", "default", last, last + 60, (new,), True)

def unit(tx):
    fired = fire(tx, decision)
    assert fired.verdict == "done"
    if when == "before":
        os.kill(os.getpid(), 9)

with Ledger(path) as ledger:
    ledger.writer.submit(unit).wait()
    os.kill(os.getpid(), 9)
"""


def begin(book: Book) -> int:
    """Make the schedule x known; return since when it is there."""
    return book.ledger.moves.sync_schedules({"x": "1"}).wait(LIMIT_S)["x"].last


def decide(book: Book, last: int, *fires: NewFire, alone: bool = True) -> Fired:
    """Write a decision."""
    upto = fires[-1].due_at
    return book.ledger.moves.fire(Decision("x", "x", "default", last, upto, fires, alone)).wait(LIMIT_S)


@pytest.mark.parametrize(("when", "there"), [("before", 0), ("after", 1)])
def test_a_kill_around_the_commit_fires_once(book: Book, when: str, there: int) -> None:
    """Before it nothing is there, behind it all; who comes next does what is left."""
    last = begin(book)
    argv = [sys.executable, "-c", KILLED, str(book.path), str(last), when]
    assert subprocess.run(argv, check=False, timeout=60).returncode == -9
    assert len(book.ledger.reads.fires("x")) == there
    again = decide(book, last, NewFire(last + 60, "late", work=JOB))
    assert again.verdict == ("stale" if there else "done")
    assert len(book.ledger.reads.fires("x")) == 1
    assert book.ledger.reads.status_counts()["queued"] == 1


def test_a_decision_from_an_old_state_writes_nothing(book: Book) -> None:
    """Two daemons, one due time."""
    last = begin(book)
    assert decide(book, last, NewFire(last + 60, "on_time", work=JOB), alone=False).verdict == "done"
    assert decide(book, last, NewFire(last + 60, "on_time", work=JOB), alone=False) == Fired("stale")
    assert book.ledger.reads.status_counts()["queued"] == 1
    assert book.ledger.reads.schedules()["x"].last == last + 60


def test_what_runs_alone_is_not_started_beside_another(book: Book) -> None:
    """What was seen before the transaction may not hold in it."""
    last = begin(book)
    decide(book, last, NewFire(last + 60, "on_time", work=JOB))
    assert decide(book, last + 60, NewFire(last + 120, "on_time", work=JOB)) == Fired("busy")
    assert book.ledger.reads.schedules()["x"].last == last + 60


def test_what_waits_starts_when_nothing_is_open_and_once(book: Book) -> None:
    """Two who promote it at the same time, and one who comes too early."""
    last, moves = begin(book), book.ledger.moves
    decide(book, last, NewFire(last + 60, "on_time", work=JOB))
    decide(book, last + 60, NewFire(last + 120, "on_time", waits=True), alone=False)
    assert moves.fire_next("x", last + 120, "clock", JOB).wait(LIMIT_S) is None
    (held,) = book.claim()
    moves.succeed(held, "1", duration_s=0.1).wait(LIMIT_S)
    tickets = [moves.fire_next("x", last + 120, "clock", JOB) for _ in range(2)]
    assert [ticket.wait(LIMIT_S) is not None for ticket in tickets] == [True, False]
    newest, before = book.ledger.reads.fires("x")
    assert (newest.state, before.state) == ("open", "over")


@pytest.mark.parametrize("status", ["waiting", "dead"])
def test_a_job_that_waits_for_its_next_attempt_is_open_and_a_dead_one_is_over(book: Book, status: str) -> None:
    """A run is over when nothing more comes of it by itself."""
    last, moves = begin(book), book.ledger.moves
    decide(book, last, NewFire(last + 60, "on_time", work=JOB))
    (held,) = book.claim()
    if status == "waiting":
        moves.park(held, "rate:crm", due_at=None, duration_s=0.1).wait(LIMIT_S)
    else:
        moves.stop(held, duration_s=0.1).wait(LIMIT_S)
    verdict = decide(book, last + 60, NewFire(last + 120, "on_time", work=JOB)).verdict
    assert verdict == ("busy" if status == "waiting" else "done")


def test_new_times_begin_now_and_a_pause_stays(book: Book) -> None:
    """A changed schedule makes up for nothing; who paused it did not mean its old times alone."""
    moves = book.ledger.moves
    begin(book)
    moves.pause_schedule("x", actor="cli:ann").wait(LIMIT_S)
    book.clock.advance(3600)
    same = moves.sync_schedules({"x": "1"}).wait(LIMIT_S)["x"]
    other = moves.sync_schedules({"x": "2"}).wait(LIMIT_S)["x"]
    assert (same.last, other.last) == (START_MS, START_MS + 3_600_000)
    assert (other.paused_by, other.paused_at) == ("cli:ann", START_MS)
    assert moves.sync_schedules({}).wait(LIMIT_S) == {}


def test_fires_by_hand_in_one_millisecond_are_two(book: Book) -> None:
    """Nobody's wish is dropped for the time it came at."""
    moves = book.ledger.moves
    new = NewFire(START_MS, "on_time", work=JOB)
    first = moves.fire_now([ByHand(PLACE, new, "allow")], actor="cli:ann").wait(LIMIT_S)[0]
    second = moves.fire_now([ByHand(PLACE, new, "allow")], actor="cli:ann").wait(LIMIT_S)[0]
    assert (first[1], second[1]) == (START_MS, START_MS + 1)
    with pytest.raises(WrongStatus, match="--anyway"):
        moves.fire_now([ByHand(PLACE, new, "skip")], actor="cli:ann").wait(LIMIT_S)
    assert [row.action for row in book.ledger.reads.audit()] == ["schedule.fire"] * 2


def test_a_fire_by_hand_is_for_all_clients_or_none(book: Book) -> None:
    """One that runs refuses all, and is named: else who fires again doubles those that were started."""
    moves, new = book.ledger.moves, NewFire(START_MS, "on_time", work=JOB)
    both = [ByHand((f"x@{client}", "x", client), new, "skip") for client in ("aa", "bb")]
    moves.fire_now(both[1:], actor="cli:ann").wait(LIMIT_S)
    with pytest.raises(WrongStatus, match=r"^schedule x@bb: .*nothing was fired"):
        moves.fire_now(both, actor="cli:ann").wait(LIMIT_S)
    assert book.ledger.reads.fires("x@aa") == []
    assert len(book.ledger.reads.audit()) == 1
    fired = moves.fire_now(both, actor="cli:ann", anyway=True).wait(LIMIT_S)
    assert [work_id is not None for work_id, _ in fired] == [True, True]
    with pytest.raises(WrongStatus, match=r"^schedules x@aa, x@bb: "):
        moves.fire_now(both, actor="cli:ann").wait(LIMIT_S)
    waiting = [one._replace(overlap="queue") for one in both]
    assert [work_id for work_id, _ in moves.fire_now(waiting, actor="cli:ann").wait(LIMIT_S)] == [None, None]


def test_the_looks_at_what_is_open_use_their_index(book: Book) -> None:
    """A year of fires must not be read to know whether one runs."""
    for state in ("open", "pending"):
        sql = f"SELECT 1 FROM fire WHERE key = 'x' AND state IN ('pending', 'open') AND state = '{state}'"  # noqa: S608
        plan = " ".join(str(row[3]) for row in book.sql(f"EXPLAIN QUERY PLAN {sql}"))
        assert "fire_open" in plan, plan
