"""The effects journal: intents, outcomes, doubts, and what a person says about them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from millrace.errors import LostClaim, NotFound, WrongStatus
from millrace.ledger.effect_rows import EffectCounts, EffectEnd, Intent
from millrace.ledger.rows import JobError
from tests.ledger.rig import LIMIT_S, Book

if TYPE_CHECKING:
    from millrace.ledger.rows import Claim

CALL = "send 0123"


def begin(book: Book, held: Claim, key: str = "mail-7", call: str = CALL, *, park: bool = False) -> dict[str, Any]:
    """Ask what is to be done."""
    return book.ledger.moves.effect_begin(held, Intent(key, call, park)).wait(LIMIT_S)


def end(book: Book, held: Claim, status: str, result: str | None = None, error: JobError | None = None) -> None:
    """Write an outcome of the one effect."""
    book.ledger.moves.effect_end(held, EffectEnd("mail-7", status, result, error)).wait(LIMIT_S)


def settle(book: Book, *, done: bool, result: str | None = None) -> str:
    """Decide about the one effect, as a person does."""
    return book.ledger.moves.effect_settle("default", "mail-7", actor="cli:ann", done=done, result=result).wait(LIMIT_S)


def cut_off(book: Book, held: Claim) -> None:
    """End an attempt that said nothing more; its job is queued again."""
    book.ledger.moves.release(held, "shutdown", duration_s=0.0).wait(LIMIT_S)


def parked(book: Book) -> Claim:
    """Leave the one effect in doubt, with a job that waits for a person; return its last claim."""
    held = book.one()
    begin(book, held)
    cut_off(book, held)
    (again,) = book.claim()
    assert begin(book, again, park=True) == {"do": "park"}
    book.ledger.moves.park(again, "doubt", due_at=None, duration_s=0.0).wait(LIMIT_S)
    return again


def test_an_effect_that_is_done_is_not_begun_again_by_any_job(book: Book) -> None:
    """The key is the client's, not the job's: two jobs that would do the same do it once."""
    one, two = book.one(), book.one()
    assert begin(book, one) == {"do": "call"}
    end(book, one, "done", '{"id":7}')
    assert begin(book, two) == begin(book, one) == {"do": "known", "result": '{"id":7}'}
    row = book.ledger.reads.effect("default", "mail-7")
    assert (row.status, row.what, row.job_id, row.attempt) == ("done", "send", one.job_id, 1)
    assert begin(book, book.one(client="acme")) == {"do": "call"}


def test_an_intent_without_outcome_is_in_doubt_once_its_attempt_has_ended(book: Book) -> None:
    """While that attempt is alive it may be calling at this moment: others wait."""
    first, other = book.one(), book.one()
    begin(book, first)
    assert begin(book, other) == {"do": "wait"}
    assert book.ledger.reads.effect("default", "mail-7").status == "begun"
    assert book.ledger.reads.effect_counts() == EffectCounts(0, 0)
    cut_off(book, first)
    assert book.ledger.reads.effect("default", "mail-7").status == "doubt"
    assert book.ledger.reads.effect_counts() == EffectCounts(1, 0)
    (again,) = book.claim()
    assert begin(book, other) == {"do": "ask"}
    assert begin(book, again) == {"do": "wait"}, "two would find out at once, and both call"
    end(book, other, "done", "1")
    assert begin(book, again) == {"do": "known", "result": "1"}


def test_what_was_not_done_for_certain_is_done_by_the_next(book: Book) -> None:
    """The other side has refused it: nothing happened, so there is nothing to double."""
    held = book.one()
    begin(book, held)
    end(book, held, "not_done", error=JobError("Refused", "no money"))
    row = book.ledger.reads.effect("default", "mail-7")
    assert (row.status, row.error) == ("not_done", JobError("Refused", "no money"))
    assert begin(book, held, call="send 4567") == {"do": "call"}, "a call that was never made binds nobody"


def test_a_call_that_raised_leaves_doubt_also_within_its_attempt(book: Book) -> None:
    """An error on the way back does not mean that nothing happened."""
    held = book.one()
    begin(book, held)
    end(book, held, "doubt", error=JobError("TimeoutError", "no answer"))
    assert begin(book, held) == {"do": "ask"}
    end(book, held, "done", "null")
    assert begin(book, held) == {"do": "known", "result": "null"}


def test_a_key_belongs_to_one_call(book: Book) -> None:
    """Else the second would look done though it never was."""
    held = book.one()
    begin(book, held)
    end(book, held, "done", "1")
    refused = begin(book, held, call="send 4567")
    assert refused["do"] == "refused"
    assert "send with other arguments" in refused["why"]
    assert "another call, send," in begin(book, held, call="refund 0123")["why"]


def test_an_effect_within_itself_is_refused(book: Book) -> None:
    """It would wait for itself until its time is up."""
    held = book.one()
    begin(book, held)
    assert begin(book, held)["do"] == "refused"


def test_an_attempt_that_was_taken_back_begins_nothing(book: Book) -> None:
    """Its successor may be calling already."""
    late = book.one()
    cut_off(book, late)
    with pytest.raises(LostClaim):
        begin(book, late)
    assert book.ledger.reads.effects() == []


def test_a_late_outcome_counts_until_somebody_else_has_taken_over(book: Book) -> None:
    """What the outside world has seen is true whoever owns the job; but the successor's outcome must not be lost."""
    late = book.one()
    begin(book, late)
    cut_off(book, late)
    (owner,) = book.claim()
    assert begin(book, owner) == {"do": "ask"}
    with pytest.raises(LostClaim):
        end(book, late, "done", '"late"')
    end(book, owner, "done", '"right"')
    with pytest.raises(LostClaim):
        end(book, owner, "done", '"again"')
    assert begin(book, owner) == {"do": "known", "result": '"right"'}
    other = book.one(client="acme")
    begin(book, other)
    cut_off(book, other)
    end(book, other, "done", '"it was"')
    assert book.ledger.reads.effect("acme", "mail-7").status == "done"


def test_a_job_that_waits_in_doubt_goes_on_when_a_person_has_settled_it(book: Book) -> None:
    """Who decided stands in the effect, in the job's history and in the audit log."""
    held = parked(book)
    book.ledger.moves.effects_to_tell().wait(LIMIT_S)
    before = book.ledger.reads.effect("default", "mail-7")
    assert (book.row(held.job_id).status, book.row(held.job_id).reason) == ("waiting", "doubt")
    assert settle(book, done=True, result='{"id":7}') == "done"
    assert book.row(held.job_id).status == "queued"
    (again,) = book.claim()
    assert begin(book, again, park=True, call="renamed 0123") == {"do": "known", "result": '{"id":7}'}
    promoted = book.ledger.reads.events(held.job_id)[-1]
    assert (promoted.event, promoted.actor, promoted.facts) == ("promote", "cli:ann", {"effect": "mail-7"})
    assert [(row.action, row.subject) for row in book.ledger.reads.audit()] == [("effect.settle", "mail-7")]
    after = book.ledger.reads.effect("default", "mail-7")
    assert after.settled_by == "cli:ann"
    assert (after.call, after.told_at) == (before.call, before.told_at), "what it was stays"
    assert before.told_at is not None
    assert book.balanced()


def test_what_a_person_says_was_not_done_is_done(book: Book) -> None:
    """The job that waited makes the call."""
    parked(book)
    assert settle(book, done=False) == "not_done"
    (again,) = book.claim()
    assert begin(book, again, park=True) == {"do": "call"}


def test_a_settlement_while_the_attempt_is_ending_is_not_missed(book: Book) -> None:
    """Else the job would wait for what has happened already, for ever."""
    held = book.one()
    begin(book, held)
    cut_off(book, held)
    (again,) = book.claim()
    begin(book, again, park=True)
    settle(book, done=True)
    book.ledger.moves.park(again, "doubt", due_at=None, duration_s=0.0).wait(LIMIT_S)
    assert book.row(again.job_id).status == "queued"
    assert book.sql("SELECT count(*) FROM effect_wait") == [(0,)]
    assert book.balanced()


def test_all_jobs_that_wait_for_an_effect_go_on(book: Book) -> None:
    """Also when another job has found out what became of it."""
    first = parked(book)
    second = book.one()
    assert begin(book, second, park=True) == {"do": "park"}
    book.ledger.moves.park(second, "doubt", due_at=None, duration_s=0.0).wait(LIMIT_S)
    third = book.one()
    assert begin(book, third) == {"do": "ask"}
    end(book, third, "done", "1")
    assert {book.row(held.job_id).status for held in (first, second)} == {"queued"}


def test_a_job_that_waits_otherwise_is_left_alone(book: Book) -> None:
    """It was in doubt once, was cancelled, put back, and waits for its backoff now."""
    held = parked(book)
    moves = book.ledger.moves
    moves.cancel(held.job_id, actor="cli:ann").wait(LIMIT_S)
    moves.requeue(held.job_id, actor="cli:ann").wait(LIMIT_S)
    (again,) = book.claim()
    moves.retry(again, JobError("E", "e"), due_at=book.clock.ms + 1000, duration_s=0.0).wait(LIMIT_S)
    settle(book, done=True)
    assert book.row(held.job_id).reason == "backoff"


def test_an_effect_that_is_being_done_cannot_be_settled(book: Book) -> None:
    """The attempt would come and say otherwise."""
    held = book.one()
    begin(book, held)
    for done in (True, False):
        with pytest.raises(WrongStatus, match="is being done"):
            settle(book, done=done)
    assert book.ledger.reads.audit() == [], "what was refused was not done"


def test_what_is_done_cannot_be_undone_by_saying_so(book: Book) -> None:
    """But its result can be given, where there was none that could be kept; and what is known not to be done may be."""
    held = book.one()
    with pytest.raises(NotFound, match="mail-7"):
        settle(book, done=True)
    begin(book, held)
    end(book, held, "done", error=JobError("ResultNotJSON", "an object"))
    assert "could not be kept" in begin(book, held)["why"]
    with pytest.raises(WrongStatus, match="is done"):
        settle(book, done=False)
    settle(book, done=True)
    assert begin(book, held) == {"do": "known", "result": "null"}
    settle(book, done=True, result="3")
    settle(book, done=True)
    assert begin(book, held) == {"do": "known", "result": "3"}
    book.sql("UPDATE effect SET status = 'not_done', result = NULL")
    with pytest.raises(WrongStatus, match="not done"):
        settle(book, done=False)
    assert settle(book, done=True, result="4") == "done"


def test_a_doubt_that_no_job_will_clear_up_is_told_once(book: Book) -> None:
    """While its job is to be tried again, it may find out by itself; then nobody need be woken."""
    moves, reads = book.ledger.moves, book.ledger.reads
    held = book.one()
    begin(book, held)
    assert not reads.doubts_to_tell()
    moves.retry(held, JobError("E", "e"), due_at=book.clock.ms, duration_s=0.0).wait(LIMIT_S)
    assert not reads.doubts_to_tell()
    assert moves.effects_to_tell().wait(LIMIT_S) == []
    moves.promote_due().wait(LIMIT_S)
    (again,) = book.claim()
    moves.give_up(again, JobError("E", "e"), duration_s=0.0, cause="poison").wait(LIMIT_S)
    assert reads.doubts_to_tell()
    assert moves.effects_to_tell().wait(LIMIT_S) == [("default", "mail-7", held.job_id)]
    assert moves.effects_to_tell().wait(LIMIT_S) == []
    assert reads.effect_counts() == EffectCounts(1, 1)
    settle(book, done=True)
    assert reads.effect_counts() == EffectCounts(0, 0)


def test_a_doubt_for_which_a_job_waits_is_told(book: Book) -> None:
    """It waits for a person, who must know of it."""
    held = parked(book)
    assert book.ledger.moves.effects_to_tell().wait(LIMIT_S) == [("default", "mail-7", held.job_id)]


@pytest.mark.parametrize("text", ["CAST(x'7b2261223aff7d' AS TEXT)", "'{\"a\":'"])
def test_an_effect_that_is_damaged_hides_no_other(book: Book, text: str) -> None:
    """One flipped bit must not take the list away that somebody settles doubts with."""
    held = book.one()
    begin(book, held)
    end(book, held, "done", "7")
    begin(book, held, "mail-8")
    book.sql(f"UPDATE effect SET result = {text}, error = {text} WHERE key = 'mail-7'")  # noqa: S608 - our own text
    shown = {row.key: row.as_json() for row in book.ledger.reads.effects()}
    assert shown.keys() == {"mail-7", "mail-8"}
    assert "$damaged" in shown["mail-7"]["result"]
    assert shown["mail-7"]["error"]["type"] == "Damaged"


def test_effects_are_listed_newest_first_and_by_job(book: Book) -> None:
    """By client, and those in doubt alone."""
    held, other = book.one(), book.one(client="acme")
    for key in ("a", "b"):
        begin(book, held, key)
        book.clock.advance(1)
    begin(book, other, "c")
    cut_off(book, held)
    reads = book.ledger.reads
    assert [row.key for row in reads.effects()] == ["c", "b", "a"]
    assert [row.key for row in reads.effects(limit=1)] == ["c"]
    assert [row.key for row in reads.effects(doubt=True)] == ["b", "a"]
    assert [row.key for row in reads.effects(client="acme")] == ["c"]
    assert [row.key for row in reads.effects(client="acme", doubt=True)] == []
    assert [row.key for row in reads.effects_of(held.job_id)] == ["a", "b"]
    as_json = reads.effects_of(other.job_id)[0].as_json()
    assert (as_json["key"], as_json["client"], as_json["status"], as_json["call"]) == ("c", "acme", "begun", "send")


def test_no_statement_walks_through_the_journal(book: Book) -> None:
    """It is kept for ever; each look must cost what it finds, and each outcome nothing but its own row."""
    held = book.one()
    asked: list[tuple[str, Any]] = []
    reader = book.ledger.reads.connection()

    def note(_cursor: object, sql: str, values: Any) -> bool:
        asked.append((sql, values))
        return True

    reader.exec_trace = note
    book.ledger.writer.submit(lambda tx: setattr(tx.connection, "exec_trace", note)).wait(LIMIT_S)
    begin(book, held)
    end(book, held, "doubt")
    begin(book, held, park=True)
    book.ledger.moves.park(held, "doubt", due_at=None, duration_s=0.0).wait(LIMIT_S)
    reads = book.ledger.reads
    reads.effects(doubt=True)
    reads.effects_of(held.job_id)
    reads.effect_counts()
    assert reads.doubts_to_tell()
    book.ledger.moves.effects_to_tell().wait(LIMIT_S)
    settle(book, done=True)
    reader.exec_trace = None
    book.ledger.writer.submit(lambda tx: setattr(tx.connection, "exec_trace", None)).wait(LIMIT_S)
    ours = [(sql, values) for sql, values in asked if "effect" in sql]
    assert len(ours) > 10
    for sql, values in ours:
        for row in book.sql(f"EXPLAIN QUERY PLAN {sql}", values or ()):
            assert "SCAN" not in row[3] or "effect_open" in row[3], f"{sql}: {row[3]}"
