"""The audit log: written with the act, and whole or visibly not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from millrace.errors import WrongStatus
from millrace.ledger.audit import AuditRow, chain, verify
from millrace.ledger.rows import DAMAGED
from tests.ledger.rig import LIMIT_S
from tests.ledger.runs_rig import DIAMOND, Works, plan, stage

if TYPE_CHECKING:
    from tests.ledger.rig import Book

ACTOR = "cli:ann"


def log_of(book: Book) -> list[AuditRow]:
    """Return all of it."""
    return book.ledger.reads.audit()


def filled(book: Book) -> tuple[list[AuditRow], str | None]:
    """Let three things be decided; return the log and what the ledger says of its newest row."""
    moves = book.ledger.moves
    moves.pause("q", actor=ACTOR).wait(LIMIT_S)
    moves.resume("q", actor=ACTOR).wait(LIMIT_S)
    moves.audit("daemon", "settings.reload", "config.toml", {"applied": ["defaults.retries"]}).wait(LIMIT_S)
    return log_of(book), book.ledger.reads.audit_head()


def test_an_act_is_written_with_who_and_what(book: Book) -> None:
    """The question that is asked after an accident."""
    rows, _ = filled(book)
    assert [(row.id, row.actor, row.action, row.subject) for row in rows] == [
        (1, ACTOR, "queue.pause", "q"),
        (2, ACTOR, "queue.resume", "q"),
        (3, "daemon", "settings.reload", "config.toml"),
    ]
    assert rows[2].as_json()["facts"] == {"applied": ["defaults.retries"]}


def test_facts_that_are_damaged_hide_no_row(book: Book) -> None:
    """The chain tells that the row was changed; the list tells what is left."""
    filled(book)
    book.sql("UPDATE audit SET facts = '{' WHERE id = 3")
    assert [row.as_json()["facts"] for row in log_of(book)] == [{}, {}, {"$damaged": DAMAGED}]


def test_what_was_refused_is_not_written(book: Book) -> None:
    """The log tells what was done; act and row are one transaction."""
    job = book.accept()
    with pytest.raises(WrongStatus):
        book.ledger.moves.requeue(job, actor=ACTOR).wait(LIMIT_S)
    assert log_of(book) == []


def test_a_resume_in_several_parts_is_written_once(book: Book) -> None:
    """However many transactions it takes, one person asked once."""
    works = Works(book)
    run_id = with_dead_records(works, 5)
    for goes_on in (False, True, True, True):
        works.moves.resume_run(run_id, actor=ACTOR, limit=2, goes_on=goes_on).wait(LIMIT_S)
    assert [(row.actor, row.action, row.subject) for row in log_of(book)] == [(ACTOR, "run.resume", run_id)]


def test_a_resume_of_nothing_is_not_written(book: Book) -> None:
    """It is refused by whoever asked for it."""
    works = Works(book)
    run_id = works.start(plan(stage("a")))
    works.work_off()
    assert works.moves.resume_run(run_id, actor=ACTOR).wait(LIMIT_S) == ("succeeded", 0)
    assert log_of(book) == []


def with_dead_records(works: Works, count: int) -> str:
    """Let records of a run die, and the run end."""
    run_id = works.start(DIAMOND)
    works.fan_out(count)
    for held in works.claim("company"):
        works.die(held)
    works.work_off()
    return run_id


def test_an_untouched_log_holds(book: Book) -> None:
    """Empty, and filled."""
    assert verify([], book.ledger.reads.audit_head()).broken_at is None
    rows, head = filled(book)
    assert verify(rows, head) == (3, None, "")


@pytest.mark.parametrize("field", ["at", "actor", "action", "subject", "facts"])
def test_a_changed_field_shows(book: Book, field: str) -> None:
    """Whoever writes another name into the second row breaks it."""
    rows, head = filled(book)
    changed: dict[str, Any] = {field: 1 if field == "at" else "cli:bob"}
    forged = rows[1]._replace(**changed)
    assert verify([rows[0], forged, rows[2]], head).broken_at == 2


def test_a_row_that_was_taken_out_shows(book: Book) -> None:
    """In the middle, at the start, and at the end, where only the head can tell."""
    rows, head = filled(book)
    assert verify([rows[0], rows[2]], head).broken_at == 2
    assert verify(rows[1:], head).broken_at == 1
    assert verify(rows[:2], head).broken_at == 3
    assert verify([], head).broken_at == 1


def test_a_row_that_was_put_in_shows(book: Book) -> None:
    """Even with a right hash of its own: those behind it are chained to another."""
    rows, head = filled(book)
    fake = AuditRow(2, rows[1].at, "cli:bob", "job.discard", "x", "", "")
    fake = fake._replace(hash=chain(rows[0].hash, fake))
    later = [row._replace(id=row.id + 1) for row in rows[1:]]
    assert verify([rows[0], fake, *later], head).broken_at == 3


def test_fields_cannot_borrow_from_each_other(book: Book) -> None:
    """A separator inside a field must not make two rows look alike."""
    row = filled(book)[0][0]
    moved = row._replace(actor=row.actor + row.action, action="")
    assert chain("", row) != chain("", moved)
