"""The claim: the first queued jobs of the lanes that are furthest behind, each under a new attempt."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from millrace.errors import LostClaim, ValueDamaged
from millrace.ledger import arguments, editions
from millrace.ledger.blobs import size_of
from millrace.ledger.finish import End, finish
from millrace.ledger.rows import Claim, JobError
from millrace.ledger.seals import checksum
from millrace.ledger.states import Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from millrace.ledger.run_counts import Book
    from millrace.ledger.transaction import Transaction

_LANES: Final = """  -- lanes of the queue that have work, those furthest behind first; none while the queue is paused
SELECT client, vtime, queued FROM lane
 WHERE queue = ?1 AND queued > 0 AND NOT EXISTS (SELECT 1 FROM pause WHERE queue = ?1)
 ORDER BY vtime, client"""

_FIRST: Final = """SELECT id FROM job WHERE status = 'queued' AND queue = ?1 AND client = ?2
  ORDER BY priority DESC, queued_at, id LIMIT ?3"""

# A row is written anew with its payload: so many bytes take about as long as a batch may hold the write lock, and that
# many may wait in memory.
MOST_BYTES: Final = 2**20
_OUTLINE: Final = 2  # columns of a row that was left out: its id, and the bytes of its payload

# One row for all: the driver gives up the interpreter's lock at each row, and gets it back only when a job lets go of
# it. Large payloads are looked up one by one: together they might be more than a value of SQLite can hold. So are the
# columns behind them, which SQLite finds only by reading the payload.
_ROW: Final = """json_array(priority, queued_at, id, task, attempt + 1, failures, crashes, daemon_deaths, max_attempts,
  {payload}, correlation_id, run_id, stage, record, payload_hash)"""
_NEXT: Final = f"""  -- the first queued jobs of a lane; of large payloads only how large; served by job_queued
SELECT CAST(json_group_array(iif(octet_length(payload) <= {arguments.SMALL}, {_ROW.format(payload="payload")},
    json_array(id, octet_length(payload)))) AS BLOB)
  FROM job WHERE id IN ({_FIRST})"""  # noqa: S608 - made of our own text

_ORDER: Final = f"""  -- the same jobs, in the order in which they should start
SELECT CAST(json_group_array(id) AS BLOB) FROM ({_FIRST})"""  # noqa: S608

_LARGE: Final = f"""  -- a job of which the payload was too large to come with the others
SELECT CAST({_ROW.format(payload="NULL")} AS BLOB), CAST(payload AS BLOB) FROM job WHERE id = ?"""  # noqa: S608

_CLAIM: Final = f"""  -- the same jobs, fenced by their new attempt
UPDATE job SET status = 'running', attempt = attempt + 1, daemon = ?4, started_at = ?5
 WHERE status = 'queued' AND id IN ({_FIRST})"""  # noqa: S608

_SERVED: Final = """  -- advance the lane's virtual time by what it was given
UPDATE lane SET vtime = vtime + ? WHERE queue = ? AND client = ?"""

_DAMAGED: Final = JobError("Damaged", "the payload on disk is not the one that was accepted")


def claim(tx: Transaction, queue: str, slots: int, daemon: str, weights: Mapping[str, float]) -> list[Claim]:
    """
    Claim up to `slots` jobs of a queue for a daemon; fewer, but at least one, if their payloads are large together.

    Args:
        slots: How many at most, ≥ 1.
        weights: The share of each client that is not 1; a client of weight 2 is given twice as much.
    Returns: The claims, in the order in which they should start.
    """
    lanes = tx.rows(_LANES, (queue,))
    claims: list[Claim] = []
    room = MOST_BYTES
    for client, share in _shares(lanes, slots, weights):
        taken, room = _taken(tx, (queue, client), share, room, daemon)
        claims += [held for row in taken if (held := _checked(tx, queue, client, daemon, row))]
        if len(lanes) > 1:
            tx.run(_SERVED, ((share if room else len(taken)) / weights.get(client, 1.0), queue, client))
        if not room:
            tx.changes.queued.add(queue)  # fewer claims than were asked for, and yet there may be more work
            break
    return _with_arguments(tx, [held for held in claims if not _superseded(tx, held, daemon)])


def _taken(tx: Transaction, lane: tuple[str, str], share: int, room: int, daemon: str) -> tuple[list[list[Any]], int]:
    """
    Make up to `share` queued jobs of a lane running, and count them.

    Args:
        lane: Its queue and client.
        room: How many bytes their payloads may have together, > 0.
    Returns: Their rows, in the order in which they should start, and the room that is left.
    """
    ((found,),) = tx.rows(_NEXT, (*lane, share))
    rows = _read(found)
    if len(found) > room or any(len(row) == _OUTLINE for row in rows):
        rows, room = _fitting(tx, lane, rows, room)
    else:
        room -= len(found)
    if tx.run(_CLAIM, (*lane, len(rows), daemon, tx.now_ms)) != len(rows):
        raise LostClaim("the queue changed within the transaction that looked at it")
    for (task, run_id, stage), number in Counter((row[3], row[11], row[12]) for row in rows).items():
        tx.moved((*lane, task), Status.QUEUED, Status.RUNNING, number)
        tx.runs.moved(run_id, stage, Status.QUEUED, Status.RUNNING, number)
    return sorted(rows, key=_order), room


def _read(found: bytes) -> Any:
    # A text that is damaged must not keep the others from being claimed; by its checksum it is found out further below.
    return json.loads(found.decode(errors="replace"))


def _fitting(tx: Transaction, lane: tuple[str, str], rows: list[list[Any]], room: int) -> tuple[list[list[Any]], int]:
    """Return the first of these rows, as many as have room and one in any case, and the room that is left."""
    found: dict[str, list[Any]] = {row[0] if len(row) == _OUTLINE else row[2]: row for row in rows}
    ((order,),) = tx.rows(_ORDER, (*lane, len(rows)))
    fitting: list[list[Any]] = []
    for job_id in _read(order):
        row = found[job_id]
        room -= row[1] if len(row) == _OUTLINE else size_of(row[9])
        if room < 0 and fitting:
            break
        fitting.append(_large(tx, job_id) if len(row) == _OUTLINE else row)
    return fitting, max(0, room)


def _large(tx: Transaction, job_id: str) -> list[Any]:
    ((found, payload),) = tx.rows(_LARGE, (job_id,))
    row: list[Any] = _read(found)
    row[9] = payload.decode(errors="replace")
    return row


def _superseded(tx: Transaction, held: Claim, daemon: str) -> bool:
    """
    Return whether a later edition of its run has taken a job's place, which then is cancelled: it ran when that began,
    and has come back since.
    """
    if held.run_id is None or held.stage is None or editions.of_record(held.record):
        return False
    book = _book(tx, held.run_id)
    node = None if book is None else book.net.nodes.get(held.stage)
    if book is None or node is None or not node.edited or held.record == book.place(node):
        return False
    finish(tx, held, End("stop", 0.0, facts={"why": "superseded"}), daemon)
    tx.changes.queued.add(held.queue)  # fewer claims than were asked for, and yet there may be more work
    return True


def _with_arguments(tx: Transaction, claims: list[Claim]) -> list[Claim]:
    """Add what other stages came to, for all records of a stage at once: one by one each costs its worker a look."""
    of_stage: dict[tuple[str, str], list[str]] = {}
    for held in claims:
        if held.run_id is not None and held.stage is not None and held.record is not None:
            of_stage.setdefault((held.run_id, held.stage), []).append(held.record)
    given = {key: _given(tx, *key, records) for key, records in of_stage.items()}
    if not any(given.values()):
        return claims
    return [
        held._replace(given=given.get((held.run_id or "", held.stage or ""), {}).get(held.record or ""))
        for held in claims
    ]


def _given(tx: Transaction, run_id: str, stage: str, records: list[str]) -> dict[str, dict[str, str]]:
    book = _book(tx, run_id)
    if book is None or stage not in book.net.nodes or book.net.nodes[stage].stage.fanout is None:
        return {}
    try:
        return arguments.of_records(tx.rows, book.net, run_id, stage, records)
    except ValueDamaged:  # whose it is shows when each of them is run
        return {}


def _book(tx: Transaction, run_id: str) -> Book | None:
    """Return the run; None also if its plan is damaged on disk, which its own jobs find out when they are run."""
    try:
        return tx.runs.book(run_id)
    except ValueError:
        return None


def _shares(lanes: list[tuple[str, float, int]], slots: int, weights: Mapping[str, float]) -> list[tuple[str, int]]:
    """Hand out slots one by one to the lane with the lowest virtual time; return how many each lane gets."""
    if len(lanes) == 1:
        return [(lanes[0][0], slots)]
    given = dict.fromkeys((client for client, _, _ in lanes), 0)
    left = {client: queued for client, _, queued in lanes}
    times = {client: vtime for client, vtime, _ in lanes}
    for _ in range(min(slots, sum(left.values()))):
        client = min(times, key=times.__getitem__)
        given[client] += 1
        times[client] += 1 / weights.get(client, 1.0)
        if given[client] == left[client]:
            del times[client]
    return [(client, share) for client, share in given.items() if share]


def _order(row: list[Any]) -> tuple[int, int, str]:
    return -row[0], row[1], row[2]


def _checked(tx: Transaction, queue: str, client: str, daemon: str, row: list[Any]) -> Claim | None:
    """Return the claim of a row; None, and the job is dead, if its payload is not what was accepted."""
    (_, queued_at, job_id, task, attempt, failures, crashes, deaths, max_attempts, payload, correlation, run_id, stage,
     record, digest) = row  # fmt: skip
    held = Claim(
        job_id, task, queue, client, attempt, failures, crashes, deaths, max_attempts, payload, correlation,
        queued_at, tx.now_ms, run_id, stage, record,
    )  # fmt: skip
    if checksum(payload) == digest:
        return held
    finish(tx, held, End("give_up", 0.0, error=_DAMAGED), daemon)
    tx.changes.queued.add(queue)  # fewer claims than were asked for, and yet there may be more work
    return None
