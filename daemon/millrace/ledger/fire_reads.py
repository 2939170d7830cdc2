"""All looks at schedules and what they fired, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from millrace.ledger.fire_rows import BACKFILL, CLOCK, HAND, OVER, FireCount, FireRow, ScheduleState, Turn
from millrace.ledger.fires import EDITION

if TYPE_CHECKING:
    from collections.abc import Sequence

_FIRE: Final = """SELECT fire.key, fire.due_at, how, schedule, fire.client, outcome, why, since, count, state,
  decided_at, expected_by, job_id, fire.run_id, coalesce(job.status, run.status),
  coalesce(job.finished_at, run.finished_at)
  FROM fire LEFT JOIN job ON job.id = fire.job_id LEFT JOIN run ON run.id = fire.run_id"""
_COUNTS: Final = """  -- what the due times of a span came to; served by fire_due
SELECT fire.key, outcome, coalesce(job.status, run.status), sum(count)
  FROM fire LEFT JOIN job ON job.id = fire.job_id LEFT JOIN run ON run.id = fire.run_id
 WHERE fire.due_at > ?1 AND fire.due_at <= ?2 AND how = 'clock' GROUP BY 1, 2, 3"""
_WRONG: Final = f"""{_FIRE}  -- what did not come as it should have; served by fire_due
 WHERE fire.due_at > ?1 AND fire.due_at <= ?2 AND how = 'clock' AND (outcome = 'missed'
   OR coalesce(job.status, run.status) IN ('dead', 'failed', 'partial', 'cancelled')
   OR (outcome <> 'skipped' AND expected_by < coalesce(job.finished_at, run.finished_at, ?3)))
 ORDER BY fire.due_at DESC LIMIT ?4"""
_WAITING: Final = """  -- how many of a schedule wait for their turn; served by fire_open
SELECT count(*) FROM fire WHERE key = ? AND state IN ('pending', 'open') AND state = 'pending'"""
_MADE_UP: Final = """  -- what people had made up for
SELECT key, due_at FROM fire WHERE due_at > ? AND due_at <= ? AND how = 'backfill'"""


class FireReads:
    """Looks at the schedules of one ledger; part of `Reads`."""

    def _rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        raise NotImplementedError

    def schedules(self) -> dict[str, ScheduleState]:
        """Return how far each schedule is decided, by key."""
        rows = self._rows("SELECT key, fingerprint, last, paused_at, paused_by FROM schedule")
        return {row[0]: ScheduleState(*row) for row in rows}

    def schedule_edition(self) -> str:
        """Return what changes when somebody has acted on a schedule."""
        found = self._rows("SELECT value FROM meta WHERE key = ?", (EDITION,))
        return str(found[0][0]) if found else ""

    def fires(self, key: str, *, after: int = 0, until: int = 1 << 62, limit: int = 100) -> list[FireRow]:
        """Return the fires of a schedule whose due time lies after one moment and not after another, newest first."""
        sql = f"""{_FIRE} WHERE fire.key = ? AND fire.due_at > ? AND fire.due_at <= ?
                  ORDER BY fire.due_at DESC, how LIMIT ?"""
        return [FireRow(*row) for row in self._rows(sql, (key, after, until, limit))]

    def turn(self, key: str) -> Turn:
        """Return what of a schedule runs, and what is to run next. Served by fire_open."""
        of_key = f"{_FIRE} WHERE fire.key = ? AND state IN ('pending', 'open') AND state = "
        rows = [FireRow(*row) for row in self._rows(f"{of_key} 'open'", (key,))]
        for how in (CLOCK, HAND, BACKFILL):
            found = self._rows(f"{of_key} 'pending' AND how = ? ORDER BY fire.due_at LIMIT 1", (key, how))
            if found:
                break
        runs = tuple(row for row in rows if row.status is not None and row.status not in OVER)
        waits = self._rows(_WAITING, (key,))[0][0] if found else 0
        return Turn(FireRow(*found[0]) if found else None, runs, waits)

    def pending_schedules(self) -> set[str]:
        """Return the schedules of which something waits for its turn. Served by fire_open."""
        sql = "SELECT DISTINCT key FROM fire WHERE state IN ('pending', 'open') AND state = 'pending'"
        return {row[0] for row in self._rows(sql)}

    def fire_counts(self, after: int, until: int) -> list[FireCount]:
        """Return what the due times after one moment and not after another came to, by schedule."""
        return [FireCount(*row) for row in self._rows(_COUNTS, (after, until))]

    def wrong_fires(self, after: int, until: int, *, now: int, limit: int = 200) -> list[FireRow]:
        """
        Return the due times of which the work was missed, died, was cancelled, or is not done in time; newest first.

        Args:
            now: Epoch ms; what should be done by now and is not is in it.
        """
        return [FireRow(*row) for row in self._rows(_WRONG, (after, until, now, limit))]

    def made_up(self, after: int, until: int) -> set[tuple[str, int]]:
        """Return the key and the due time of all that was made up for."""
        return {(key, due_at) for key, due_at in self._rows(_MADE_UP, (after, until))}
