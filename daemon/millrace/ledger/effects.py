"""
The effects journal: what jobs do to the outside world, each under a key that is unique for its client across all jobs.
The intent is on disk before the call, the outcome after it. An intent whose attempt has ended without an outcome is in
doubt: the call was made or it was not, and only the other side can tell.

    begun      an attempt has written its intent; in doubt once that attempt has ended
    doubt      the call ended, or was cut off, and nobody knows whether it was made
    done       it was made; its result is kept
    not_done   it was not made, for certain: the next attempt makes it
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from millrace.errors import LostClaim, NotFound, WrongStatus
from millrace.ledger import control
from millrace.ledger.blob_rows import drop, keep, of_effect
from millrace.ledger.effect_reads import NOBODY
from millrace.ledger.history import dump

if TYPE_CHECKING:
    from millrace.ledger.effect_rows import EffectEnd, Intent
    from millrace.ledger.rows import Claim
    from millrace.ledger.transaction import Transaction

_OWNS: Final = """  -- whether an attempt runs
SELECT 1 FROM job WHERE id = ? AND attempt = ? AND status = 'running'"""

_FOUND: Final = """  -- what is known of an effect
SELECT status, call, result, error, job_id, attempt, settled_by FROM effect WHERE client = ? AND key = ?"""

_INTEND: Final = """  -- write the intent to make a call; one that was not made before is begun anew
INSERT INTO effect (client, key, status, call, job_id, attempt, at) VALUES (?, ?, 'begun', ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET status = 'begun', call = excluded.call, job_id = excluded.job_id,
  attempt = excluded.attempt, at = excluded.at, ended_at = NULL, result = NULL, error = NULL, doubt_at = NULL,
  told_at = NULL, settled_by = NULL"""

_TAKE_OVER: Final = """  -- an attempt finds out about an effect that is in doubt; nobody else does meanwhile
UPDATE effect SET status = 'begun', job_id = ?, attempt = ?, doubt_at = coalesce(doubt_at, ?)
 WHERE client = ? AND key = ?"""

_DOUBT: Final = """  -- a person is to say what became of an effect
UPDATE effect SET status = 'doubt', doubt_at = coalesce(doubt_at, ?) WHERE client = ? AND key = ?"""

_AWAIT: Final = """  -- a job that goes on when somebody has said it
INSERT INTO effect_wait (job_id, client, key) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"""

# By the effect's own owner and not by the job's attempt: what the outside world has seen stays true when the attempt
# has been taken back; once another one has taken the effect over, it is refused.
_END: Final = """  -- the outcome of a call, from the attempt that wrote the intent
UPDATE effect SET status = ?1, result = ?2, error = ?3, ended_at = ?4,
  doubt_at = CASE ?1 WHEN 'doubt' THEN coalesce(doubt_at, ?4) ELSE doubt_at END,
  told_at = CASE ?1 WHEN 'doubt' THEN told_at END
 WHERE client = ?5 AND key = ?6 AND job_id = ?7 AND attempt = ?8 AND status = 'begun'"""

_SETTLE: Final = """  -- a person has said what became of an effect
UPDATE effect SET status = ?1, result = coalesce(?2, result), error = NULL, ended_at = ?3, settled_by = ?4
 WHERE client = ?5 AND key = ?6"""

_PARKED: Final = """  -- jobs that wait for an effect; served by effect_wait_key
SELECT job.id FROM effect_wait CROSS JOIN job ON job.id = effect_wait.job_id
 WHERE effect_wait.client = ? AND effect_wait.key = ? AND job.status = 'waiting' AND job.reason = 'doubt'"""

_WAITED: Final = """  -- they wait no longer; one whose attempt is just ending is seen to when that has ended
DELETE FROM effect_wait WHERE client = ? AND key = ?
   AND NOT EXISTS (SELECT 1 FROM job WHERE id = effect_wait.job_id AND status = 'running')"""

_SETTLED: Final = """  -- effects that a job waits for, and that are settled by now
SELECT client, key FROM effect_wait JOIN effect USING (client, key)
 WHERE effect_wait.job_id = ? AND status IN ('done', 'not_done')"""

_TELL: Final = f"""  -- effects in doubt that no job will clear up by itself; served by effect_open
UPDATE effect SET told_at = ?1, doubt_at = coalesce(doubt_at, ?1)
 WHERE told_at IS NULL AND status IN ('begun', 'doubt') AND {NOBODY}
RETURNING client, key, job_id"""  # noqa: S608 - our own text


def begin(tx: Transaction, held: Claim, wanted: Intent) -> dict[str, Any]:
    """
    Write the intent to make a call, unless it was made before.

    Returns: What is to be done: {"do": "call"}, {"do": "known", "result": JSON text}, {"do": "wait"} while another
        attempt is at it, {"do": "ask"} when it is in doubt (and this attempt's to find out), {"do": "park"} when it is
        and a person decides, or {"do": "refused", "why": …} for another call than the one the key belongs to.
    Raises: LostClaim if the attempt no longer owns its job.
    """
    if not tx.rows(_OWNS, (held.job_id, held.attempt)):
        raise LostClaim(f"attempt {held.attempt} of job {held.job_id} no longer owns it; it may begin nothing")
    found = tx.rows(_FOUND, (held.client, wanted.key))
    if not found or found[0][0] == "not_done":
        tx.run(_INTEND, (held.client, wanted.key, wanted.call, held.job_id, held.attempt, tx.now_ms))
        return {"do": "call"}
    status, call, result, error, job_id, attempt, settled_by = found[0]
    if call is not None and call != wanted.call and settled_by is None:  # what a person says holds for whatever call
        return {"do": "refused", "why": _other_call(wanted, call, job_id)}
    if status == "done":
        return {"do": "known", "result": result} if error is None else {"do": "refused", "why": _no_result(wanted.key)}
    if status == "begun" and tx.rows(_OWNS, (job_id, attempt)):
        if (job_id, attempt) == (held.job_id, held.attempt):
            return {"do": "refused", "why": f'effect "{wanted.key}" is begun by this very attempt, which waits for it'}
        return {"do": "wait"}
    return _in_doubt(tx, held, wanted)


def _in_doubt(tx: Transaction, held: Claim, wanted: Intent) -> dict[str, Any]:
    if wanted.park:
        tx.run(_DOUBT, (tx.now_ms, held.client, wanted.key))
        tx.run(_AWAIT, (held.job_id, held.client, wanted.key))
        return {"do": "park"}
    tx.run(_TAKE_OVER, (held.job_id, held.attempt, tx.now_ms, held.client, wanted.key))
    return {"do": "ask"}


def _other_call(wanted: Intent, call: str, job_id: str) -> str:
    name, other = wanted.call.rpartition(" ")[0], call.rpartition(" ")[0]
    what = f"{name} with other arguments" if name == other else other
    return (
        f'effect "{wanted.key}" belongs to another call, {what}, by job {job_id}: a key stands for one thing done. '
        "If it is the same all the same, settle it: millrace effects settle"
    )


def _no_result(key: str) -> str:
    return (
        f'effect "{key}" is done, and what it returned could not be kept: let it return JSON, '
        "and say what it was with millrace effects settle KEY --done RESULT"
    )


def end(tx: Transaction, held: Claim, ended: EffectEnd) -> None:
    """
    Write the outcome of a call. Jobs that wait for it go on.

    Raises: LostClaim if the effect is not this attempt's (any more).
    """
    error = dump(ended.error.as_json()) if ended.error else None
    values = (ended.status, ended.result, error, tx.now_ms, held.client, ended.key, held.job_id, held.attempt)
    if tx.run(_END, values) != 1:
        raise LostClaim(f'effect "{ended.key}" is not that of attempt {held.attempt} of job {held.job_id} any more')
    keep(tx, ended.result, of_effect(held.client, ended.key), held.client)
    if ended.status != "doubt":
        _go_on(tx, held.client, ended.key, "daemon")


def settle(tx: Transaction, client: str, key: str, actor: str, *, done: bool, result: str | None = None) -> str:
    """
    Say what became of an effect that is in doubt. Jobs that wait for it go on.

    One that is known not to be done may be said to be done, since a person can have done it. One that is done may be
    given another result, and stands for whatever call from then on.

    Args:
        result: JSON text of what the call would have returned; only if it was done.
    Returns: done or not_done.
    Raises: NotFound; WrongStatus if it is being done now, or is done and said not to be.
    """
    found = tx.rows(_FOUND, (client, key))
    if not found:
        raise NotFound(f'client {client} has no effect "{key}"')
    status, _, kept, error, job_id, attempt, _ = found[0]
    if status == "begun" and tx.rows(_OWNS, (job_id, attempt)):
        raise WrongStatus(f'effect "{key}" is being done: attempt {attempt} of job {job_id} runs')
    if not done and status in ("done", "not_done"):
        raise WrongStatus(f'effect "{key}" is not in doubt: it is {status.replace("_", " ")}')
    if done and result is None and (kept is None or error is not None):
        result = "null"
    to = "done" if done else "not_done"
    if result is not None:  # what it was before is forgotten
        drop(tx, [of_effect(client, key)])
        keep(tx, result, of_effect(client, key), client)
    tx.run(_SETTLE, (to, result, tx.now_ms, actor, client, key))
    _go_on(tx, client, key, actor)
    return to


def _go_on(tx: Transaction, client: str, key: str, actor: str) -> None:
    for (job_id,) in tx.rows(_PARKED, (client, key)):
        control.move(tx, "promote", job_id, actor, reason="its effect is settled", facts={"effect": key})
    tx.run(_WAITED, (client, key))


def parked(tx: Transaction, job_id: str) -> None:
    """Let a job go on that has just been parked in doubt, if its effect was settled while its attempt was ending."""
    settled = tx.rows(_SETTLED, (job_id,))
    if not settled:
        return
    control.move(tx, "promote", job_id, "daemon", reason="its effect is settled", facts={"effect": settled[0][1]})
    for client, key in settled:
        tx.run("DELETE FROM effect_wait WHERE job_id = ? AND client = ? AND key = ?", (job_id, client, key))


def tell(tx: Transaction) -> list[tuple[str, str, str]]:
    """Return client, key and job of the effects in doubt that wait for a person; each is returned once."""
    return [(client, key, job_id) for client, key, job_id in tx.rows(_TELL, (tx.now_ms,))]
