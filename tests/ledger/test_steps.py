"""Checkpoints of named pieces of a job, and API tokens."""

from __future__ import annotations

import pytest

from millrace.errors import LedgerError, LostClaim, NotFound
from millrace.ledger.rows import TokenRow
from tests.ledger.rig import LIMIT_S, START_MS, Book


def test_a_step_is_found_by_the_next_attempt(book: Book) -> None:
    """That is what a checkpoint is for."""
    held, moves = book.one(), book.ledger.moves
    assert moves.step_get(held, "fetch").wait(LIMIT_S) is None
    moves.step_put(held, "fetch", '{"rows":3}').wait(LIMIT_S)
    moves.release(held, "shutdown", duration_s=0.0).wait(LIMIT_S)
    (again,) = book.claim()
    assert moves.step_get(again, "fetch").wait(LIMIT_S) == '{"rows":3}'
    assert moves.step_get(again, "other").wait(LIMIT_S) is None


def test_a_step_belongs_to_its_job(book: Book) -> None:
    """Two jobs of one task have steps of the same names."""
    one, two = book.one(), book.one()
    book.ledger.moves.step_put(one, "fetch", "1").wait(LIMIT_S)
    assert book.ledger.moves.step_get(two, "fetch").wait(LIMIT_S) is None


def test_a_lost_attempt_can_checkpoint_nothing(book: Book) -> None:
    """It would overwrite what its successor did."""
    late, moves = book.one(), book.ledger.moves
    moves.release(late, "shutdown", duration_s=0.0).wait(LIMIT_S)
    with pytest.raises(LostClaim, match="step fetch"):
        moves.step_put(late, "fetch", '"nobody runs it"').wait(LIMIT_S)
    (owner,) = book.claim()
    moves.step_put(owner, "fetch", '"right"').wait(LIMIT_S)
    with pytest.raises(LostClaim):
        moves.step_put(late, "fetch", '"late"').wait(LIMIT_S)
    assert moves.step_get(owner, "fetch").wait(LIMIT_S) == '"right"'
    moves.step_put(owner, "fetch", '"newer"').wait(LIMIT_S)
    assert moves.step_get(owner, "fetch").wait(LIMIT_S) == '"newer"'


def test_tokens_are_found_by_their_hash_until_they_are_revoked(book: Book) -> None:
    """Only the hash is kept; a revoked token stays on record, so that its use can be explained."""
    moves, reads = book.ledger.moves, book.ledger.reads
    row = TokenRow("t1", "ci", "operator", "acme", START_MS, START_MS + 1000, None)
    moves.add_token(row, "ab" * 32, actor="test").wait(LIMIT_S)
    assert reads.tokens() == [row]
    assert reads.token_by_hash("ab" * 32) == row
    assert reads.token_by_hash("cd" * 32) is None
    book.clock.advance(1)
    moves.revoke_token("t1", actor="test").wait(LIMIT_S)
    found = reads.token_by_hash("ab" * 32)
    assert found is not None
    assert found.revoked_at == START_MS + 1000
    for token_id in ("t1", "t9"):
        with pytest.raises(NotFound, match=token_id):
            moves.revoke_token(token_id, actor="test").wait(LIMIT_S)


def test_a_ledger_has_one_first_token(book: Book) -> None:
    """A second start must not open a second door, also after the first was revoked."""
    moves = book.ledger.moves
    first, second = (TokenRow(name, name, "admin", None, START_MS, None, None) for name in ("t1", "t2"))
    assert moves.add_first_token(first, "ab").wait(LIMIT_S)
    moves.revoke_token("t1", actor="test").wait(LIMIT_S)
    assert not moves.add_first_token(second, "cd").wait(LIMIT_S)
    assert [row.id for row in book.ledger.reads.tokens()] == ["t1"]


def test_two_tokens_of_one_text_are_refused(book: Book) -> None:
    """A hash must lead to one token."""
    row = TokenRow("t1", "a", "admin", None, START_MS, None, None)
    book.ledger.moves.add_token(row, "ab", actor="test").wait(LIMIT_S)
    with pytest.raises(LedgerError, match="UNIQUE"):
        book.ledger.moves.add_token(TokenRow("t2", "b", "admin", None, START_MS, None, None), "ab", actor="test").wait(
            LIMIT_S
        )
