"""
The moves of schedules. A due time is decided once: its row, what is submitted for it and how far its schedule is
decided are one transaction, in which nobody else may have decided. What waits for the one before it is its row alone,
until a later transaction finds that nothing of the schedule is open, and submits it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from millrace.errors import WrongStatus
from millrace.ledger import accept, runs
from millrace.ledger.fire_rows import BACKFILL, EDITION, HAND, Decision, Fired, NewFire, ScheduleState
from millrace.ledger.rows import NewJob

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from millrace.ledger.fire_rows import ByHand
    from millrace.ledger.run_rows import NewRun
    from millrace.ledger.transaction import Transaction

LOOKED_AT: Final = 500  # open ones of a schedule at once: about 10 ms of the write lock
NOTHING: Final = ""  # the fingerprint of a schedule that no daemon has seen

# Whether the work of a row of `fire` goes on. A job or run that is no longer kept is over.
LIVE: Final = """(
  EXISTS (SELECT 1 FROM job WHERE job.id = fire.job_id AND job.status IN ('waiting', 'queued', 'running'))
  OR EXISTS (SELECT 1 FROM run WHERE run.id = fire.run_id AND run.status = 'running'))"""
_STATES: Final = """  -- all schedules that are known
SELECT key, fingerprint, last, paused_at, paused_by FROM schedule"""
_SET: Final = """  -- a schedule that is new, or has other times than before, begins now; a pause stays
INSERT INTO schedule (key, fingerprint, last) VALUES (?1, ?2, ?3)
ON CONFLICT DO UPDATE SET fingerprint = ?2, last = ?3"""
_AHEAD: Final = """  -- the schedules that are decided further than the clock is
SELECT count(*), max(last) FROM schedule WHERE last > ?"""
_TOO_SOON: Final = """  -- due times to come of which nothing ran; served by fire_due
DELETE FROM fire WHERE due_at > ? AND how = 'clock' AND state = 'none' AND job_id IS NULL AND run_id IS NULL"""
_BACK: Final = """  -- they go on from their latest time that has passed; served by the key of fire
UPDATE schedule SET last = coalesce(
  (SELECT max(due_at) FROM fire WHERE fire.key = schedule.key AND due_at <= ?1 AND how = 'clock'), ?1)
 WHERE last > ?1"""
_GONE: Final = """  -- what waited for its turn when its schedule went
UPDATE fire SET state = 'none', outcome = 'skipped', why = 'the schedule was removed'
 WHERE key = ? AND state = 'pending'"""
_SAME: Final = """  -- nobody has decided since
SELECT 1 FROM schedule WHERE key = ? AND last = ?"""
_ADVANCE: Final = """  -- how far it is decided
UPDATE schedule SET last = ? WHERE key = ?"""
_RUNS: Final = f"""  -- whether something of a schedule runs; served by fire_open
SELECT 1 FROM fire INDEXED BY fire_open
 WHERE key = ?1 AND state IN ('pending', 'open') AND state = 'open' AND {LIVE} LIMIT 1"""  # noqa: S608 - text of our own
_RUNS_SO: Final = f"""  -- whether something of a schedule runs that was fired in a way; served by fire_open
SELECT 1 FROM fire INDEXED BY fire_open
 WHERE key = ?1 AND state IN ('pending', 'open') AND state = 'open' AND how = ?2 AND {LIVE} LIMIT 1"""  # noqa: S608 - text of our own
_WAITS: Final = """  -- whether something of a schedule waits for its turn; served by fire_open
SELECT 1 FROM fire WHERE key = ? AND state IN ('pending', 'open') AND state = 'pending' LIMIT 1"""
_TURN: Final = """  -- whether this waits for its turn
SELECT 1 FROM fire WHERE key = ? AND due_at = ? AND how = ? AND state = 'pending'"""
_OVER: Final = f"""  -- those of the first of a schedule that are over; served by fire_open
UPDATE fire SET state = 'over' WHERE (key, due_at, how) IN (
  SELECT key, due_at, how FROM (
    SELECT key, due_at, how, job_id, run_id FROM fire INDEXED BY fire_open
     WHERE key = ?1 AND state IN ('pending', 'open') AND state = 'open' LIMIT ?2) AS fire WHERE NOT {LIVE})"""  # noqa: S608 - text of our own
_FIRE: Final = """  -- a due time that is decided
INSERT INTO fire (key, due_at, how, schedule, client, outcome, why, since, count, state, decided_at, expected_by,
  job_id, run_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"""
_TAKEN: Final = """  -- whether a due time is decided
SELECT 1 FROM fire WHERE key = ? AND due_at = ? AND how = ?"""
_START: Final = """  -- the turn has come of one that waited
UPDATE fire SET state = 'open', job_id = ?1, run_id = ?2
 WHERE key = ?3 AND due_at = ?4 AND how = ?5 AND state = 'pending'"""
_DROP: Final = """  -- the turn has come of one that can no longer run
UPDATE fire SET state = 'none', outcome = 'missed', why = ?1 WHERE key = ?2 AND due_at = ?3 AND how = ?4
   AND state = 'pending'"""
_PAUSE: Final = """  -- stop a schedule, if it is not
INSERT INTO schedule (key, fingerprint, last, paused_at, paused_by) VALUES (?1, ?2, ?3, ?3, ?4)
ON CONFLICT DO UPDATE SET paused_at = ?3, paused_by = ?4 WHERE paused_at IS NULL"""
_RESUME: Final = """  -- let a schedule go on
UPDATE schedule SET paused_at = NULL, paused_by = NULL WHERE key = ? AND paused_at IS NOT NULL"""
_NEWS: Final = """  -- tell daemons that somebody has acted on a schedule
INSERT INTO meta (key, value) VALUES (?, '1') ON CONFLICT DO UPDATE SET value = CAST(value AS INTEGER) + 1"""


def sync(tx: Transaction, wanted: Mapping[str, str]) -> dict[str, ScheduleState]:
    """
    Make the ledger know the schedules that there are: new ones begin now, those that are gone are forgotten.

    Args:
        wanted: The fingerprint of each, by key.
    Returns: Their states, by key.
    """
    known = {row[0]: ScheduleState(*row) for row in tx.rows(_STATES)}
    for key in known.keys() - wanted.keys():
        tx.run("DELETE FROM schedule WHERE key = ?", (key,))
        tx.run(_GONE, (key,))
    changed = [key for key, fingerprint in wanted.items() if key not in known or known[key].fingerprint != fingerprint]
    tx.connection.executemany(_SET, [(key, wanted[key], tx.now_ms) for key in changed])
    return {row[0]: ScheduleState(*row) for row in tx.rows(_STATES)} if changed or known.keys() - wanted else known


def set_back(tx: Transaction) -> tuple[int, int]:
    """
    Let schedules that are decided further than the clock is go on from now: it was ahead, and was set right.

    A due time to come that has fired stays decided; that one was missed or skipped was said too soon, and is forgotten.
    What passed by the right clock while it was ahead is decided now.

    Returns: How many, and how far the furthest was decided (epoch ms; 0 if there are none).
    """
    count, furthest = tx.rows(_AHEAD, (tx.now_ms,))[0]
    if count:
        tx.run(_TOO_SOON, (tx.now_ms,))
        tx.run(_BACK, (tx.now_ms,))
        news(tx)
    return count, furthest or 0


def fire(tx: Transaction, decision: Decision) -> Fired:
    """Write what was decided about a schedule's due times, and submit what is to run; all of it or nothing."""
    if not tx.rows(_SAME, (decision.key, decision.last)):
        return Fired("stale")
    _note_over(tx, decision.key)
    if decision.alone and _in_the_way(tx, decision.key):
        return Fired("busy")
    tx.run(_ADVANCE, (decision.upto, decision.key))
    place = decision.key, decision.schedule, decision.client
    return Fired("done", _write(tx, place, "clock", decision.fires))


def fire_now(tx: Transaction, wanted: Sequence[ByHand], *, anyway: bool) -> list[tuple[str | None, int]]:
    """
    Fire schedules because somebody says so: all of them or none.

    Args:
        anyway: Start them in any case.
    Returns: For each the job or run, None if it waits for its turn, and the time under which it is kept.
    Raises: WrongStatus, naming those of which something is open, where their overlap is skip.
    """
    looked_at = [one for one in wanted if one.overlap != "allow" and not anyway]
    busy = {one.place[0] for one in looked_at if _in_the_way(tx, one.place[0])}
    refused = [one.place[0] for one in looked_at if one.place[0] in busy and one.overlap == "skip"]
    if refused:
        which = f"schedule {refused[0]}" if len(refused) == 1 else f"schedules {', '.join(refused)}"
        tail = " (nothing was fired)" if len(wanted) > 1 else ""
        raise WrongStatus(f"{which}: the run before is not over, and overlap is skip; --anyway starts it{tail}")
    fired = [_by_hand(tx, one, waits=one.place[0] in busy) for one in wanted]
    news(tx)
    return fired


def _by_hand(tx: Transaction, one: ByHand, *, waits: bool) -> tuple[str | None, int]:
    due_at = one.new.due_at
    while tx.rows(_TAKEN, (one.place[0], due_at, HAND)):
        due_at += 1
    new = one.new._replace(due_at=due_at, waits=waits, work=None if waits else one.new.work)
    ids = _write(tx, one.place, HAND, (new,))
    return (ids[0] if ids else None), due_at


def backfill(tx: Transaction, place: tuple[str, str, str], new: Sequence[NewFire]) -> int:
    """Have due times made up for, one after the other; return how many, without those that are so already."""
    wanted = [fire for fire in new if not tx.rows(_TAKEN, (place[0], fire.due_at, BACKFILL))]
    _write(tx, place, BACKFILL, wanted)
    news(tx)
    return len(wanted)


def go_on(tx: Transaction, key: str, due_at: int, how: str, work: NewJob | NewRun, *, beside: bool) -> str | None:
    """
    Submit what waited for its turn, if nothing of its schedule is open.

    Args:
        beside: Whether only what people had made up for is in its way: overlap is allow.
    Returns: The job or run; None if it was not its turn.
    """
    _note_over(tx, key)
    runs = tx.rows(_RUNS_SO, (key, BACKFILL)) if beside else tx.rows(_RUNS, (key,))
    if runs or not tx.rows(_TURN, (key, due_at, how)):
        return None
    job_id, run_id = _submit(tx, work)
    tx.run(_START, (job_id, run_id, key, due_at, how))
    return job_id or run_id


def drop(tx: Transaction, key: str, due_at: int, how: str, why: str) -> bool:
    """Let what waited for its turn be missed; return whether it waited."""
    return bool(tx.run(_DROP, (why, key, due_at, how)))


def pause(tx: Transaction, key: str, actor: str) -> bool:
    """Let a schedule submit nothing more; return whether that is news."""
    news(tx)
    return bool(tx.run(_PAUSE, (key, NOTHING, tx.now_ms, actor)))


def resume(tx: Transaction, key: str) -> bool:
    """Let a paused schedule go on; return whether it was paused."""
    news(tx)
    return bool(tx.run(_RESUME, (key,)))


def news(tx: Transaction) -> None:
    """Tell daemons, this one too, that somebody has acted on a schedule."""
    tx.run(_NEWS, (EDITION,))
    tx.changes.due = True


def _in_the_way(tx: Transaction, key: str) -> bool:
    return bool(tx.rows(_RUNS, (key,)) or tx.rows(_WAITS, (key,)))


def _note_over(tx: Transaction, key: str) -> None:
    """
    Note of some open fires that they are over: more of them than are written at once, so that few are ever open.

    Nothing else depends on it: whether one runs its job or run says.
    """
    tx.run(_OVER, (key, LOOKED_AT))


def _write(tx: Transaction, place: tuple[str, str, str], how: str, fires: Sequence[NewFire]) -> tuple[str, ...]:
    """Write fires, and submit the work of those that have some; return the ids."""
    rows: list[tuple[Any, ...]] = []
    ids = []
    key, schedule, client = place
    for new in fires:
        job_id = run_id = None
        if new.work is not None:
            job_id, run_id = _submit(tx, new.work)
            ids.append(str(job_id or run_id))
        state = "open" if new.work is not None else "pending" if new.waits else "none"
        rows.append(
            (
                key, new.due_at, how, schedule, client, new.outcome, new.why, new.since or new.due_at, new.number,
                state, tx.now_ms, new.expected_by, job_id, run_id,
            )
        )  # fmt: skip
    tx.connection.executemany(_FIRE, rows)
    return tuple(ids)


def _submit(tx: Transaction, work: NewJob | NewRun) -> tuple[str | None, str | None]:
    if isinstance(work, NewJob):
        return accept.accept(tx, [work])[0].id, None
    return None, runs.start(tx, work).id
