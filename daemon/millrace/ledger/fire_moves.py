"""The moves of schedules: what was decided about their due times, by the clock or by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.ledger import audit, fires
from millrace.ledger.handing import Handing

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from millrace.ledger.fire_rows import ByHand, Decision, Fired, NewFire, ScheduleState
    from millrace.ledger.rows import NewJob
    from millrace.ledger.run_rows import NewRun
    from millrace.ledger.ticket import Ticket
    from millrace.ledger.transaction import Transaction


class FireMoves(Handing):
    """The moves of schedules; part of `moves.Moves`."""

    def sync_schedules(self, wanted: Mapping[str, str]) -> Ticket[dict[str, ScheduleState]]:
        """Make known which schedules there are, by key and fingerprint; the ticket carries their states."""
        return self._writer.submit(lambda tx: fires.sync(tx, wanted))

    def set_back_schedules(self) -> Ticket[tuple[int, int]]:
        """Let schedules that are decided further than the clock is go on from now; see `fires.set_back`."""
        return self._writer.submit(fires.set_back)

    def fire(self, decision: Decision) -> Ticket[Fired]:
        """Write what was decided about the due times of a schedule, and submit what is to run; see `fires.fire`."""
        return self._writer.submit(lambda tx: fires.fire(tx, decision))

    def fire_next(
        self, key: str, due_at: int, how: str, work: NewJob | NewRun, *, beside: bool = False
    ) -> Ticket[str | None]:
        """Submit what waited for its turn; the ticket carries the job or run, None if it was not its turn."""
        return self._writer.submit(lambda tx: fires.go_on(tx, key, due_at, how, work, beside=beside))

    def drop_fire(self, key: str, due_at: int, how: str, why: str) -> Ticket[bool]:
        """Let what waited for its turn be missed; the ticket says whether it waited."""
        return self._writer.submit(lambda tx: fires.drop(tx, key, due_at, how, why))

    def fire_now(
        self, wanted: Sequence[ByHand], *, actor: str, anyway: bool = False
    ) -> Ticket[list[tuple[str | None, int]]]:
        """Fire schedules by hand, all or none; see `fires.fire_now`. Each has its row in the audit log."""

        def act(tx: Transaction) -> list[tuple[str | None, int]]:
            fired = fires.fire_now(tx, wanted, anyway=anyway)
            for one in wanted:
                audit.write(tx, actor, "schedule.fire", one.place[0], {"anyway": True} if anyway else None)
            return fired

        return self._writer.submit(act)

    def backfill(self, place: tuple[str, str, str], new: Sequence[NewFire], *, actor: str) -> Ticket[int]:
        """Have due times of a schedule (key, name, client) made up for; the ticket carries how many."""
        facts = {"from": min(fire.due_at for fire in new), "to": max(fire.due_at for fire in new)} if new else None
        return self._act(actor, "schedule.backfill", place[0], lambda tx: fires.backfill(tx, place, new), facts)

    def pause_schedule(self, key: str, *, actor: str) -> Ticket[bool]:
        """Let a schedule submit nothing more; the ticket says whether that is news."""
        return self._act(actor, "schedule.pause", key, lambda tx: fires.pause(tx, key, actor))

    def resume_schedule(self, key: str, *, actor: str) -> Ticket[bool]:
        """Let a paused schedule go on; the ticket says whether it was paused."""
        return self._act(actor, "schedule.resume", key, lambda tx: fires.resume(tx, key))
