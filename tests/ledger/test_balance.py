"""The conservation proof: counters, lanes and rows agree after any sequence of moves, and a difference is shown."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from millrace.errors import KeyConflict, LostClaim, NotFound, WrongStatus
from millrace.ledger.ledger import Ledger
from millrace.ledger.rows import Claim, JobError, NewJob
from millrace.ledger.trails import trails
from tests.ledger.rig import LIMIT_S, Book, OwnClock

if TYPE_CHECKING:
    from collections.abc import Callable

ERROR = JobError("ValueError", "no")
QUEUES = st.sampled_from(["q", "r"])
CLIENTS = st.sampled_from(["a", "b", "c"])
TASKS = st.sampled_from(["add", "sub"])


class AllMoves(RuleBasedStateMachine):
    """Makes moves in any order, legal or not, with claims that may be long lost."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.clock = OwnClock()
        self.ledger = Ledger(Path(self.folder.name) / "l.db", clock=self.clock, synchronous="normal")
        self.ledger.moves.daemon = "d1"
        self.ledger.moves.weights["a"] = 3.0
        self.jobs: list[str] = []
        self.claims: list[Claim] = []
        self.owners: dict[str, int] = {}

    def teardown(self) -> None:
        self.ledger.close()
        self.folder.cleanup()

    def attempt(self, call: Callable[[], Any]) -> Any:
        """Make a move; a refusal is as good as a success, so long as the counts hold."""
        try:
            return call().wait(LIMIT_S)
        except (LostClaim, WrongStatus, NotFound, KeyConflict):
            return None

    @rule(queue=QUEUES, client=CLIENTS, task=TASKS, delay=st.integers(-1, 3), key=st.sampled_from([None, None, "k"]))
    def accept(self, queue: str, client: str, task: str, delay: int, key: str | None) -> None:
        due_at = self.clock.ms + delay * 1000 if delay >= 0 else None
        jobs = [NewJob(task, queue, client=client, due_at=due_at, key=key), NewJob(task, queue, client=client)]
        self.jobs += [one.id for one in self.attempt(lambda: self.ledger.moves.accept(jobs)) or []]

    @rule(queue=QUEUES, slots=st.integers(1, 4))
    def claim(self, queue: str, slots: int) -> None:
        for held in self.attempt(lambda: self.ledger.moves.claim(queue, slots)):
            assert held.attempt > self.owners.get(held.job_id, 0), "the fence only rises"
            self.owners[held.job_id] = held.attempt
            self.claims.append(held)

    @rule(pick=st.integers(0, 10**6), move=st.sampled_from(["succeed", "retry", "give_up", "park", "release", "stop"]))
    def end(self, pick: int, move: str) -> None:
        if not self.claims:
            return
        held, moves = self.claims[pick % len(self.claims)], self.ledger.moves
        due_at = self.clock.ms + 500
        self.attempt(
            {
                "succeed": lambda: moves.succeed(held, "1", duration_s=0.1),
                "retry": lambda: moves.retry(held, ERROR, due_at=due_at, duration_s=0.1, crashed=bool(pick % 2)),
                "give_up": lambda: moves.give_up(held, ERROR, duration_s=0.1, cause="gave up"),
                "park": lambda: moves.park(held, "doubt", due_at=None, duration_s=0.1),
                "release": lambda: moves.release(held, "shutdown", duration_s=0.1),
                "stop": lambda: moves.stop(held, duration_s=0.1),
            }[move]
        )

    @rule(
        pick=st.integers(0, 10**6),
        move=st.sampled_from(["cancel", "requeue", "discard", "promote", "hold", "abandon", "answer"]),
    )
    def decide(self, pick: int, move: str) -> None:
        if not self.jobs:
            return
        job_id, moves = self.jobs[pick % len(self.jobs)], self.ledger.moves
        own: dict[str, Callable[[], Any]] = {
            "cancel": lambda: moves.cancel(job_id, actor="ann"),
            "requeue": lambda: moves.requeue(job_id, actor="ann"),
            "discard": lambda: moves.discard(job_id, actor="ann"),
        }
        given = {"hold": {"reason": "limit"}, "answer": {"result": "2"}}.get(move, {})
        self.attempt(own.get(move) or (lambda: moves.move(move, job_id, actor="ann", **given)))

    @rule(seconds=st.floats(0, 3))
    def promote(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.attempt(self.ledger.moves.promote_due)

    @rule(task=TASKS)
    def fits_again(self, task: str) -> None:
        self.attempt(lambda: self.ledger.moves.promote_fitting("doubt", task))

    @rule(limit=st.integers(1, 5))
    def another_daemon_takes_back(self, limit: int) -> None:
        self.ledger.moves.daemon = "d2" if self.ledger.moves.daemon == "d1" else "d1"
        self.attempt(lambda: self.ledger.moves.take_back({"q"}, limit))

    @rule(count=st.integers(2, 6), queue=QUEUES)
    def many_at_once(self, count: int, queue: str) -> None:
        """Moves of one batch meet each other's uncommitted counts."""
        tickets: list[Any] = []
        for number in range(count):
            tickets.append(self.ledger.moves.accept([NewJob("add", queue, client="abc"[number % 3])]))
            tickets.append(self.ledger.moves.claim(queue, 1))
        for ticket in tickets:
            for found in ticket.wait(LIMIT_S):
                if isinstance(found, Claim):
                    self.owners[found.job_id] = found.attempt
                    self.claims.append(found)
                else:
                    self.jobs.append(found.id)

    @invariant()
    def nothing_vanished_and_nothing_doubled(self) -> None:
        balance = self.ledger.reads.balance(count_rows=True)
        assert balance.difference == 0, balance.details
        assert balance.accepted == sum(balance.by_status.values())
        assert trails(self.ledger.reads) == []

    @invariant()
    def lanes_are_the_sums_of_the_rows(self) -> None:
        connection = self.ledger.reads.connection()
        rows = connection.execute(
            """SELECT queue, client, sum(status = 'waiting'), sum(status = 'queued'), sum(status = 'running')
                 FROM job GROUP BY 1, 2 ORDER BY 1, 2"""
        ).fetchall()
        lanes = connection.execute("SELECT queue, client, waiting, queued, running FROM lane ORDER BY 1, 2").fetchall()
        assert lanes == rows

    @invariant()
    def attempts_are_as_many_as_claims(self) -> None:
        """Every claim is in the history once it is over, none is there twice."""
        off = self.ledger.reads.connection().execute(
            """SELECT id FROM job WHERE attempt <> (status = 'running')
                 + (SELECT count(*) FROM attempt WHERE job_id = job.id)"""
        )
        assert off.fetchall() == []


AllMoves.TestCase.settings = settings(
    max_examples=25, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAllMoves = AllMoves.TestCase


def test_a_row_that_was_deleted_by_hand_shows_as_a_difference(book: Book) -> None:
    """That is what the proof is for: it must not be blind to rows that vanish."""
    book.accept()
    book.accept(client="acme")
    book.sql("DELETE FROM job WHERE client = 'acme'")
    balance = book.ledger.reads.balance(count_rows=True)
    assert balance.difference == 1
    assert balance.details == ["q/acme/add: 1 queued by the counter, 0 rows"]
    assert book.ledger.reads.balance(count_rows=False).difference == 0, "the counters alone cannot know"


def test_a_row_that_no_counter_knows_shows_as_a_difference(book: Book) -> None:
    """The other direction: a row that was never accepted."""
    job_id = book.accept()
    book.sql("UPDATE job SET task = 'smuggled' WHERE id = ?", (job_id,))
    balance = book.ledger.reads.balance(count_rows=True)
    assert balance.difference == 2
    assert "q/default/smuggled: 1 rows that no counter knows" in balance.details


def test_counters_that_contradict_each_other_show_without_a_count_of_rows(book: Book) -> None:
    """The cheap check, which health makes all the time, sees counters that do not add up."""
    book.accept()
    book.sql("UPDATE tally SET accepted = accepted + 3")
    balance = book.ledger.reads.balance(count_rows=False)
    assert balance.difference == 3
    assert balance.details == ["q/default/add: accepted and accounted for differ by 3"]


def test_differences_in_opposite_directions_do_not_cancel_out(book: Book) -> None:
    """One job lost here and one doubled there is two faults, not none."""
    book.accept()
    book.accept(client="acme")
    book.sql("UPDATE tally SET accepted = accepted + CASE client WHEN 'acme' THEN 1 ELSE -1 END")
    assert book.ledger.reads.balance(count_rows=False).difference == 2


def test_the_balance_is_a_snapshot(book: Book) -> None:
    """It names every status and sums over queues, clients and tasks."""
    book.accept()
    book.accept(queue="r", task="sub")
    balance = book.ledger.reads.balance(count_rows=True)
    assert (balance.accepted, balance.pruned, balance.difference, balance.details) == (2, 0, 0, [])
    assert balance.by_status["queued"] == 2
    assert balance.as_json()["queued"] == 2
    assert [(t.queue, t.task, t.difference) for t in book.ledger.reads.tallies()] == [("q", "add", 0), ("r", "sub", 0)]
