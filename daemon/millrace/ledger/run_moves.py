"""The moves of runs: their start, their fan-outs, their cancel and resume."""

from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.ledger import audit, emit, run_cancel, runs
from millrace.ledger.handing import Handing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from millrace.ledger.rows import Claim
    from millrace.ledger.run_rows import Item, NewRun, Started
    from millrace.ledger.ticket import Ticket
    from millrace.ledger.transaction import Transaction


class RunMoves(Handing):
    """The moves of runs; part of `moves.Moves`."""

    def start_run(self, new: NewRun) -> Ticket[Started]:
        """Start a run; see `runs.start`."""
        return self._parcel(
            [new.inputs], lambda kept: self._writer.submit(lambda tx: runs.start(tx, new._replace(inputs=kept[0])))
        )

    def emit(self, held: Claim, items: Sequence[Item], position: int, chain: str, begun: int) -> Ticket[bool]:
        """Write items of a fan-out, numbers `begun` + 1 to `position`; see `emit.emit`. False: pause with `limit`."""

        def handed(kept: Sequence[str]) -> Ticket[bool]:
            some = emit.with_texts(items, kept)
            return self._writer.submit(
                lambda tx: emit.emit(tx, held, some, position=position, chain=chain, begun=begun)
            )

        return self._parcel(emit.texts_of(items), handed)

    def fanout_state(self, held: Claim) -> Ticket[tuple[int, str]]:
        """Look up how far a fan-out has come; the ticket carries its position and its hash chain."""
        return self._writer.submit(lambda tx: emit.fanout_state(tx, held))

    def cancel_run(self, run_id: str, *, actor: str, limit: int = 500) -> Ticket[str]:
        """Ask for the end of a run; the ticket carries its status, `running` while jobs of it are open."""
        return self._act(actor, "run.cancel", run_id, lambda tx: run_cancel.cancel(tx, run_id, actor, limit))

    def cancel_some(self, run_id: str, limit: int = 500) -> Ticket[int]:
        """Go on with the end of a run; the ticket carries how many jobs were looked at, 0 once there are no more."""
        return self._writer.submit(lambda tx: run_cancel.cancel_some(tx, run_id, limit))

    def resume_run(
        self, run_id: str, *, actor: str, limit: int = 200, before: int | None = None, goes_on: bool = False
    ) -> Ticket[tuple[str, int]]:
        """
        Put dead and cancelled jobs of a run back; the ticket carries its status and how many: call until 0.

        The audit log gets one row for all of these calls, and none if there was nothing to put back.

        Args:
            before: Only what had ended by this time, so that calls in a row do not put back what died in between.
            goes_on: Whether an earlier call of the same request has put jobs back, and was written down.
        """

        def unit(tx: Transaction) -> tuple[str, int]:
            book = tx.runs.book(run_id)
            known = book.status if book else None
            status, count = runs.resume(tx, run_id, actor, limit=limit, before=before)
            if not goes_on and (count or status != known):
                audit.write(tx, actor, "run.resume", run_id)
            return status, count

        return self._writer.submit(unit)

    def hold_run(self, run_id: str, *, actor: str) -> Ticket[bool]:
        """Let a run wait for several of its jobs to be put back, until `resume_some`; see `runs.hold`."""
        return self._writer.submit(lambda tx: runs.hold(tx, run_id, actor))

    def resume_some(self, run_id: str, limit: int = 200) -> Ticket[int]:
        """Go on with a resume that was left half-way; the ticket carries how many were put back."""
        return self._writer.submit(lambda tx: runs.resume_some(tx, run_id, limit))

    def settle_run(self, run_id: str) -> Ticket[str]:
        """Do what a run as it stands makes possible; the ticket carries its status."""
        return self._writer.submit(lambda tx: runs.settle(tx, run_id))
