"""Runs as a whole: starting, cancelling and resuming them. What is long is cut into chunks that a crash may part."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from millrace.errors import NotFound, WrongStatus
from millrace.ledger import control, editions, flow
from millrace.ledger.blob_rows import keep
from millrace.ledger.blobs import reference
from millrace.ledger.ids import new_id
from millrace.ledger.run_keys import known_run
from millrace.ledger.run_rows import Started
from millrace.ledger.seals import checksum

if TYPE_CHECKING:
    from millrace.ledger.run_counts import Book
    from millrace.ledger.run_rows import NewRun
    from millrace.ledger.transaction import Transaction

_PLAN: Final = """  -- the graph that runs follow, once
INSERT INTO plan (id, pipeline, text, created_at) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING"""
_RUN: Final = """  -- one run
INSERT INTO run (id, pipeline, plan, client, status, inputs, inputs_hash, priority, key, source_kind, source_name,
  correlation_id, edition, created_at) VALUES (?, ?, ?, ?, 'running', ?, ?, ?, ?, ?, ?, ?, 1, ?)"""
_COUNT: Final = """  -- the counters of a stage of the run
INSERT INTO run_count (run_id, stage, edition, waiting, queued, running, succeeded, dead, cancelled, skipped)
VALUES (?, ?, 1, 0, 0, 0, 0, 0, 0, 0)"""
_UNDONE: Final = """  -- jobs of records that may be put back, save those somebody decided against; by job_undone
SELECT id, stage FROM job INDEXED BY job_undone
 WHERE run_id = ? AND run_id IS NOT NULL AND status IN ('dead', 'cancelled') AND id > ?
   AND record IS NOT NULL AND record NOT LIKE '@%' AND finished_at <= ?
   AND coalesce((SELECT event FROM event WHERE job_id = job.id ORDER BY event.id DESC LIMIT 1), '') <> 'discard'
 ORDER BY id LIMIT ?"""
_OWN: Final = """  -- the run's own job of a stage, if it may be put back; served by job_run
SELECT id FROM job
 WHERE run_id = ?1 AND stage = ?2 AND coalesce(record, '') = coalesce(?3, '') AND +status IN ('dead', 'cancelled')
   AND finished_at <= ?4
   AND coalesce((SELECT event FROM event WHERE job_id = job.id ORDER BY event.id DESC LIMIT 1), '') <> 'discard'"""

_GOES_ON: Final = """  -- more is to be put back: until then nothing is collected
UPDATE run SET resume_by = ?, resume_at = ? WHERE id = ?"""
_WANTED: Final = """  -- what had ended by when is to be put back, after which job, and who said so
SELECT resume_at, resume_by FROM run WHERE id = ? AND resume_at IS NOT NULL"""

_EVER: Final = 1 << 62
_HOLD: Final = json.dumps([0, ""])  # a place behind which nothing is to be put back: others do so, one by one


def start(tx: Transaction, new: NewRun) -> Started:
    """
    Write a run and the jobs that it begins with.

    Raises: KeyConflict if the key belongs to a run of another pipeline or with other inputs.
    """
    digest = checksum(new.inputs)
    known = known_run(tx.rows, new)
    if known is not None:
        if (again := reference(new.inputs)) is not None:
            tx.changes.gone.append(again.name)
        return Started(known, existed=True)
    run_id = new.id or new_id(tx.now_ms)
    keep(tx, new.inputs, run_id, new.client)
    tx.run(_PLAN, (new.plan.id, new.pipeline, new.plan.to_json(), tx.now_ms))
    tx.run(
        _RUN,
        (
            run_id, new.pipeline, new.plan.id, new.client, new.inputs, digest, new.priority, new.key, new.source.kind,
            new.source.name, new.correlation_id or run_id, tx.now_ms,
        ),
    )  # fmt: skip
    tx.connection.executemany(_COUNT, [(run_id, stage.name) for stage in new.plan.stages])
    flow.proceed(tx, _book(tx, run_id))
    return Started(run_id, existed=False)


def resume(tx: Transaction, run_id: str, actor: str, *, limit: int, before: int | None = None) -> tuple[str, int]:
    """
    Put dead and cancelled jobs of a run back on their queues, but for those that somebody discarded.

    Args:
        limit: How many at most, ≥ 1; if it was reached there may be more, for the next call. Until that has come, here
            or by `resume_some`, the run neither collects nor ends.
        before: Only what had ended by this time, in UTC epoch milliseconds; None takes all.
    Returns: The run's status, and how many were put back.
    Raises: NotFound; WrongStatus if the run is being cancelled.
    """
    book = _book(tx, run_id)
    if book.cancelled and book.status == "running":
        raise WrongStatus(f"run {run_id} is being cancelled: resume it when that is over")
    until, after = _EVER if before is None else before, ""
    if before is not None and (wanted := tx.rows(_WANTED, (run_id,))):
        known, place = json.loads(wanted[0][0])
        until = max(before, known)  # one that broke off may have wanted more
        after = place if known == until else ""
    return _put_back(tx, book, actor, limit, (until, after))


def hold(tx: Transaction, run_id: str, actor: str) -> bool:
    """
    Let a run neither collect nor end while several of its jobs are put back one by one, until `resume_some` has come.

    Else what is put back first may be over before the rest has come, and each part would make an edition of its own.

    Returns: Whether it is held now; False for one that is resumed or cancelled as a whole.
    """
    book = tx.runs.book(run_id)
    if book is None or book.resuming or (book.cancelled and book.status == "running"):
        return False
    tx.run(_GOES_ON, (actor, _HOLD, run_id))
    book.resuming = True
    return True


def resume_some(tx: Transaction, run_id: str, limit: int) -> int:
    """
    Put more jobs back of a run of which somebody resumed only a part; end a `hold`.

    Args:
        limit: How many at most, ≥ 1.
    Returns: How many were put back; fewer than the limit once there are no more.
    """
    book, wanted = tx.runs.book(run_id), tx.rows(_WANTED, (run_id,))
    if book is None or not wanted:
        return 0
    place, actor = wanted[0]
    if place == _HOLD:
        _let_go(tx, book)
        return 0
    until, after = json.loads(place)
    return _put_back(tx, book, actor, limit, (until, after))[1]


def _let_go(tx: Transaction, book: Book) -> None:
    tx.run(_GOES_ON, (None, None, book.run_id))
    book.resuming = False
    if book.status == "running":
        flow.proceed(tx, book, book.net.of_fanout)


def _put_back(tx: Transaction, book: Book, actor: str, limit: int, place: tuple[int, str]) -> tuple[str, int]:
    """Put jobs back that had ended by a time, after one of them; keep the place, if there may be more."""
    until, after = place
    found = tx.rows(_UNDONE, (book.run_id, after, until, limit))
    more = len(found) == limit
    if more or book.resuming:
        # From its place on, or many that die again at once would all be looked at for each part.
        rest = (actor, json.dumps([min(until, tx.now_ms), found[-1][0]])) if more else (None, None)
        tx.run(_GOES_ON, (*rest, book.run_id))
        book.resuming = more
    if found or book.cancelled:
        editions.reopen(tx, book, {stage for _, stage in found})
    count = len([control.put_back(tx, job_id, actor) for job_id, _ in found])
    if not more:  # the run's own jobs come last: only now is it known which edition they belong to
        count += _resume_own(tx, book, actor, until)
    flow.proceed(tx, book, book.net.of_fanout)
    return book.status, count


def _resume_own(tx: Transaction, book: Book, actor: str, until: int) -> int:
    count = 0
    for node in book.net.of_run:
        for (job_id,) in tx.rows(_OWN, (book.run_id, node.name, book.place(node), until)):
            editions.reopen(tx, book, ())
            control.put_back(tx, job_id, actor)
            count += 1
    return count


def settle(tx: Transaction, run_id: str) -> str:
    """Do what a run as it stands makes possible, its end included; return its status."""
    book = _book(tx, run_id)
    flow.proceed(tx, book, book.net.of_fanout)
    return str(book.status)


def _book(tx: Transaction, run_id: str) -> Book:
    book = tx.runs.book(run_id)
    if book is None:
        msg = f"no run {run_id}"
        raise NotFound(msg)
    return book
