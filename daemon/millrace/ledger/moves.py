"""
All that changes the ledger, by name. Each call is handed to the writer and answers with a ticket: the promise of its
commit. What the moves do stands in `accept`, `claim`, `finish`, `control`, `recover`; those of runs are called in
`run_moves`, those of schedules in `fire_moves`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from millrace.ledger import (
    accept,
    audit,
    blob_rows,
    claim,
    control,
    effects,
    finish,
    notes,
    orphans,
    progress,
    prune,
    recover,
    steps,
    tokens,
)
from millrace.ledger.blobs import is_large
from millrace.ledger.finish import End
from millrace.ledger.fire_moves import FireMoves
from millrace.ledger.parcels import parcel
from millrace.ledger.run_moves import RunMoves
from millrace.ledger.successes import succeed_together
from millrace.ledger.unit import Together

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from millrace.ledger.accept import Accepted
    from millrace.ledger.blobs import Blobs
    from millrace.ledger.effect_rows import EffectEnd, Intent
    from millrace.ledger.orphans import Orphan
    from millrace.ledger.rows import ChildRow, Claim, DaemonRow, JobError, NewJob, TokenRow
    from millrace.ledger.states import Status
    from millrace.ledger.ticket import Ticket
    from millrace.ledger.writer import Writer

T = TypeVar("T")


class Moves(RunMoves, FireMoves):
    """
    The moves of one process. Tickets of the moves that end an attempt carry the job's new status, or raise LostClaim.

    Args:
        daemon: The id of the daemon in whose name attempts are claimed and ended; empty for a command.
        weights: The fair share of each client that is not 1.
        blobs: Where large values go; None leaves them in their rows.
    """

    def __init__(
        self,
        writer: Writer,
        *,
        daemon: str = "",
        weights: Mapping[str, float] | None = None,
        blobs: Blobs | None = None,
    ) -> None:
        super().__init__(writer, blobs)
        self.daemon = daemon
        self.weights = dict(weights or {})

    def accept(self, jobs: Sequence[NewJob], *, waits: bool = False) -> Ticket[list[Accepted]]:
        """Accept jobs, all or none; see `accept.accept`, and `Writer.submit` for a caller who waits."""
        if self._blobs is not None and any(is_large(job.payload) for job in jobs):
            return parcel(
                self._blobs,
                [job.payload for job in jobs],
                lambda kept: self._accept([job._replace(payload=one) for job, one in zip(jobs, kept, strict=True)]),
            )
        return self._accept(jobs, waits=waits)

    def _accept(self, jobs: Sequence[NewJob], *, waits: bool = False) -> Ticket[list[Accepted]]:
        return self._writer.submit(lambda tx: accept.accept(tx, jobs), waits=waits)

    def promote_due(self, limit: int = 500) -> Ticket[int]:
        """Queue jobs whose time has come; the ticket carries how many."""
        return self._writer.submit(lambda tx: accept.promote_due(tx, limit))

    def promote_fitting(self, reason: str, task: str, limit: int = 500) -> Ticket[int]:
        """Queue jobs of a task that waited as `unknown_task` or `payload`; the ticket carries how many."""
        return self._writer.submit(lambda tx: accept.promote_fitting(tx, reason, task, limit))

    def claim(self, queue: str, slots: int) -> Ticket[list[Claim]]:
        """Claim up to `slots` jobs of a queue; see `claim.claim`."""
        return self._writer.submit(
            lambda tx: claim.claim(tx, queue, slots, self.daemon, self.weights), reads_counts=True
        )

    def finish(self, held: Claim, end: End) -> Ticket[Status]:
        """End an attempt; see `finish.finish`."""
        if end.result is not None and is_large(end.result) and self._blobs is not None:
            return parcel(self._blobs, [end.result], lambda kept: self._finish(held, end._replace(result=kept[0])))
        return self._finish(held, end)

    def _finish(self, held: Claim, end: End) -> Ticket[Status]:
        together = None
        if end.move == "succeed":
            together = Together(succeed_together, (held, end, self.daemon))
        return self._writer.submit(lambda tx: finish.finish(tx, held, end, self.daemon), together=together)

    def succeed(
        self,
        held: Claim,
        result: str | None,
        *,
        duration_s: float,
        facts: dict[str, Any] | None = None,
    ) -> Ticket[Status]:
        """The job is done; `result` is JSON text. What it makes possible in its run is written with it."""
        return self.finish(held, End("succeed", duration_s, result=result, facts=facts))

    def retry(
        self,
        held: Claim,
        error: JobError,
        *,
        due_at: int,
        duration_s: float,
        crashed: bool = False,
        facts: dict[str, Any] | None = None,
    ) -> Ticket[Status]:
        """The attempt failed; the job waits until `due_at` for the next. Costs a failure."""
        end = End("retry", duration_s, error=error, reason="backoff", due_at=due_at, crashed=crashed, facts=facts)
        return self.finish(held, end)

    def give_up(
        self,
        held: Claim,
        error: JobError,
        *,
        duration_s: float,
        cause: str,
        crashed: bool = False,
        facts: dict[str, Any] | None = None,
    ) -> Ticket[Status]:
        """The job goes to the dead letters; `cause` says why it is not tried again."""
        return self.finish(
            held, End("give_up", duration_s, error=error, crashed=crashed, facts={"cause": cause, **(facts or {})})
        )

    def park(
        self,
        held: Claim,
        reason: str,
        *,
        due_at: int | None,
        duration_s: float,
        error: JobError | None = None,
        facts: dict[str, Any] | None = None,
    ) -> Ticket[Status]:
        """The job waits without cost, until `due_at` or until it is promoted; `error` says what keeps it."""
        return self.finish(held, End("park", duration_s, error=error, reason=reason, due_at=due_at, facts=facts))

    def release(
        self, held: Claim, why: str, *, duration_s: float, facts: dict[str, Any] | None = None
    ) -> Ticket[Status]:
        """The job goes back to its place in the queue, without cost."""
        return self.finish(held, End("release", duration_s, facts={"why": why, **(facts or {})}))

    def stop(self, held: Claim, *, duration_s: float, facts: dict[str, Any] | None = None) -> Ticket[Status]:
        """The running job that was cancelled has ended."""
        return self.finish(held, End("stop", duration_s, facts=facts))

    def cancel(self, job_id: str, *, actor: str) -> Ticket[Status]:
        """Cancel a job; the ticket carries `running` if the daemon has yet to stop it."""
        return self._act(actor, "job.cancel", job_id, lambda tx: control.cancel(tx, job_id, actor))

    def requeue(self, job_id: str, *, actor: str) -> Ticket[Status]:
        """Put a dead or cancelled job back on its queue."""
        return self._act(actor, "job.retry", job_id, lambda tx: control.requeue(tx, job_id, actor))

    def discard(self, job_id: str, *, actor: str, reason: str | None = None) -> Ticket[Status]:
        """Decide that a dead job stays undone."""
        facts = {"reason": reason} if reason else None
        return self._act(
            actor, "job.discard", job_id, lambda tx: control.move(tx, "discard", job_id, actor, reason=reason), facts
        )

    def move(self, name: str, job_id: str, *, actor: str, **given: Any) -> Ticket[Status]:
        """Make another move of the table (hold, promote, abandon, answer); see `control.move`."""

        def handed(kept: Sequence[str]) -> Ticket[Status]:
            more = {**given, "result": kept[0]} if kept else given
            return self._act(actor, f"job.{name}", job_id, lambda tx: control.move(tx, name, job_id, actor, **more))

        return self._parcel([given["result"]] if given.get("result") is not None else [], handed)

    def pause(self, queue: str, *, actor: str) -> Ticket[bool]:
        """Let a queue give out no more work; the ticket says whether that is news."""
        return self._act(actor, "queue.pause", queue, lambda tx: control.pause(tx, queue, actor))

    def resume(self, queue: str, *, actor: str) -> Ticket[bool]:
        """Let a paused queue give out work again; the ticket says whether it was paused."""
        return self._act(actor, "queue.resume", queue, lambda tx: control.resume(tx, queue))

    def put_right(self, found: Orphan) -> Ticket[bool]:
        """Let a job go on that nothing would have moved; the ticket says whether it was as it was seen."""
        return self._writer.submit(lambda tx: orphans.put_right(tx, found, self.daemon))

    def progress(self, held: Claim, done: int, total: int | None) -> Ticket[None]:
        """Note how far a running job is, fenced by the attempt."""
        return self._writer.submit(lambda tx: progress.progress(tx, held, done, total))

    def step_get(self, held: Claim, name: str) -> Ticket[str | None]:
        """Look a checkpoint up; the ticket carries JSON text or None."""
        return self._writer.submit(lambda tx: steps.step_get(tx, held, name))

    def step_put(self, held: Claim, name: str, result: str) -> Ticket[None]:
        """Keep a checkpoint, fenced by the attempt."""
        return self._parcel(
            [result], lambda kept: self._writer.submit(lambda tx: steps.step_put(tx, held, name, kept[0]))
        )

    def effect_begin(self, held: Claim, wanted: Intent) -> Ticket[dict[str, Any]]:
        """Write the intent to touch the outside world; the ticket carries what is to be done: see `effects.begin`."""
        return self._writer.submit(lambda tx: effects.begin(tx, held, wanted))

    def effect_end(self, held: Claim, ended: EffectEnd) -> Ticket[None]:
        """Write how a call to the outside world ended; see `effects.end`."""

        def handed(kept: Sequence[str]) -> Ticket[None]:
            told = ended._replace(result=kept[0]) if kept else ended
            return self._writer.submit(lambda tx: effects.end(tx, held, told))

        return self._parcel([ended.result] if ended.result is not None else [], handed)

    def effect_settle(self, client: str, key: str, *, actor: str, done: bool, result: str | None = None) -> Ticket[str]:
        """Say what became of an effect in doubt; see `effects.settle`."""
        facts = {"client": client, "done": done}

        def handed(kept: Sequence[str]) -> Ticket[str]:
            told = kept[0] if kept else None
            unit = partial(effects.settle, client=client, key=key, actor=actor, done=done, result=told)
            return self._act(actor, "effect.settle", key, unit, facts)

        return self._parcel([result] if result is not None else [], handed)

    def effects_to_tell(self) -> Ticket[list[tuple[str, str, str]]]:
        """Note which effects wait for a person from now on; the ticket carries their clients, keys and jobs."""
        return self._writer.submit(effects.tell)

    def sign_in(self, row: DaemonRow) -> Ticket[None]:
        """Put this daemon on record."""
        return self._writer.submit(lambda tx: recover.sign_in(tx, row))

    def beat(self, *, stopped: bool = False) -> Ticket[None]:
        """Note that this daemon makes progress, or that it has stopped in order."""
        return self._writer.submit(lambda tx: recover.beat(tx, self.daemon, stopped=stopped))

    def take_back(self, thread_queues: Collection[str], limit: int = 500) -> Ticket[tuple[int, int]]:
        """Take back attempts of dead daemons; the ticket carries how many were released and how many cancelled."""
        return self._writer.submit(lambda tx: recover.take_back(tx, self.daemon, thread_queues, limit))

    def child_started(self, row: ChildRow) -> Ticket[None]:
        """Put a child process on record."""
        return self._writer.submit(lambda tx: recover.child_started(tx, row))

    def child_gone(self, pid: int, start_ticks: int) -> Ticket[None]:
        """Strike a child process off the record."""
        return self._writer.submit(lambda tx: recover.child_gone(tx, pid, start_ticks))

    def add_token(self, row: TokenRow, sha256: str, *, actor: str) -> Ticket[None]:
        """Put a token on record."""
        return self._act(actor, "token.create", row.id, lambda tx: tokens.add_token(tx, row, sha256), tokens.facts(row))

    def add_first_token(self, row: TokenRow, sha256: str) -> Ticket[bool]:
        """Put a fresh site's first token on record, and who made it; the ticket says whether it is."""
        return self._writer.submit(lambda tx: tokens.add_first_token(tx, row, sha256))

    def revoke_token(self, token_id: str, *, actor: str) -> Ticket[None]:
        """Close a token for good."""
        return self._act(actor, "token.revoke", token_id, lambda tx: tokens.revoke_token(tx, token_id))

    def prune_jobs(self, ids: Sequence[str], status: Status, before: int) -> Ticket[int]:
        """Remove old jobs that belong to no run; see `prune.prune_jobs`."""
        return self._writer.submit(lambda tx: prune.prune_jobs(tx, ids, status, before))

    def begin_prune_run(self, run_id: str, before: int) -> Ticket[bool]:
        """Begin to remove an old run; see `prune.begin_run`."""
        return self._writer.submit(lambda tx: prune.begin_run(tx, run_id, before))

    def prune_run(self, run_id: str, limit: int) -> Ticket[tuple[int, bool]]:
        """Go on with it; the ticket carries how many jobs went, and whether there is more."""
        return self._writer.submit(lambda tx: prune.prune_run(tx, run_id, limit))

    def prune_fires(self, before: int, limit: int) -> Ticket[int]:
        """Remove old due times of schedules; the ticket carries how many."""
        return self._writer.submit(lambda tx: prune.prune_fires(tx, before, limit))

    def prune_audit(self, before: int, limit: int) -> Ticket[int]:
        """Remove the oldest rows of the audit log; see `prune.prune_audit`."""
        return self._writer.submit(lambda tx: prune.prune_audit(tx, before, limit))

    def remove_strays(self, names: Sequence[str]) -> Ticket[int]:
        """Remove files that no row has; see `blob_rows.remove_strays`."""
        return self._writer.submit(lambda tx: blob_rows.remove_strays(tx, names))

    def whole(self, text: str) -> str:
        """
        Return the value that a text from the ledger stands for; see `blobs.Blobs.whole`.

        Raises: ValueDamaged.
        """
        return text if self._blobs is None else self._blobs.whole(text)

    def vacuum(self, pages: int) -> Ticket[int]:
        """Give free pages of the file back; the ticket carries how many are left."""
        return self._writer.submit(lambda tx: prune.vacuum(tx, pages))

    def audit(self, actor: str, action: str, subject: str, facts: dict[str, Any] | None = None) -> Ticket[None]:
        """Write an act that changes nothing else in the ledger, such as a reload, into the audit log."""
        return self._writer.submit(lambda tx: audit.write(tx, actor, action, subject, facts))

    def note(self, name: str, text: str) -> Ticket[None]:
        """Leave a note for the commands, in place of the last one of its name; see `Reads.note`."""
        return self._writer.submit(lambda tx: notes.put(tx, name, text))
