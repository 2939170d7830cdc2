"""Successes that are written together must mean what each of them would mean alone."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from millrace.errors import LostClaim
from millrace.ledger.ledger import Ledger
from millrace.ledger.rows import NewJob

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from millrace.ledger.rows import Claim
    from millrace.ledger.ticket import Ticket
    from millrace.ledger.transaction import Transaction

LIMIT_S = 20.0


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger of a daemon's own."""
    with Ledger(tmp_path / "ledger.db", synchronous="normal") as ledger:
        ledger.moves.daemon = "d"
        yield ledger


def claimed(ledger: Ledger, count: int) -> list[Claim]:
    """Accept jobs and claim them."""
    ledger.moves.accept([NewJob("t", "q") for _ in range(count)]).wait(LIMIT_S)
    return ledger.moves.claim("q", count).wait(LIMIT_S)


def in_one_batch(ledger: Ledger, claims: list[Claim]) -> list[Ticket[str]]:
    """Hand all in while the writer is held, so that they are taken up together."""
    held, free = threading.Event(), threading.Event()

    def hold(_tx: Transaction) -> None:
        held.set()
        free.wait(LIMIT_S)

    ledger.writer.submit(hold)
    assert held.wait(LIMIT_S)
    tickets = [
        ledger.moves.succeed(claim, f'{{"n":{number}}}', duration_s=number / 1000, facts={"pid": number})
        for number, claim in enumerate(claims)
    ]
    free.set()
    return tickets  # type: ignore[return-value] # a Status is a str


@pytest.mark.parametrize("count", [2, 3, 5, 64, 90, 300])
def test_each_of_many_is_in_its_row_and_in_the_history(ledger: Ledger, count: int) -> None:
    """Whatever statements their number is cut into."""
    claims = claimed(ledger, count)
    for ticket in in_one_batch(ledger, claims):
        assert ticket.wait(LIMIT_S) == "succeeded"
    for number, claim in enumerate(claims):
        row = ledger.reads.job(claim.job_id)
        (attempt,) = ledger.reads.attempts(claim.job_id)
        assert (row.status, row.result, row.duration_s) == ("succeeded", f'{{"n":{number}}}', number / 1000)
        assert (attempt.outcome, attempt.duration_s, attempt.facts) == ("succeeded", number / 1000, {"pid": number})
        assert (attempt.daemon, attempt.started_at) == ("d", claim.started_at)
    assert ledger.reads.balance(count_rows=True).difference == 0


def test_a_lost_claim_among_them_fails_alone(ledger: Ledger) -> None:
    """Its neighbours are written, it is refused, and its successor's attempt stands."""
    claims = claimed(ledger, 70)
    lost = claims[33]
    ledger.moves.release(lost, "lost", duration_s=0.0).wait(LIMIT_S)
    (successor,) = ledger.moves.claim("q", 1).wait(LIMIT_S)
    tickets = in_one_batch(ledger, claims)
    with pytest.raises(LostClaim):
        tickets[33].wait(LIMIT_S)
    assert [ticket.wait(LIMIT_S) for ticket in tickets if ticket is not tickets[33]] == ["succeeded"] * 69
    row = ledger.reads.job(lost.job_id)
    assert (row.status, row.attempt) == ("running", successor.attempt)
    assert ledger.reads.balance(count_rows=True).difference == 0


def test_the_same_attempt_twice_succeeds_once(ledger: Ledger) -> None:
    """A result that is handed in twice must not be counted twice, nor stop the others."""
    claims = claimed(ledger, 6)
    tickets = in_one_batch(ledger, [*claims, claims[2]])
    assert [ticket.wait(LIMIT_S) for ticket in tickets[:6]] == ["succeeded"] * 6
    with pytest.raises(LostClaim):
        tickets[6].wait(LIMIT_S)
    assert ledger.reads.balance(count_rows=True).difference == 0
