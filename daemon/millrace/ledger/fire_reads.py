"""All looks at schedules and what they fired, by name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from millrace.errors import NotFound
from millrace.ledger.fire_rows import (
    BACKFILL,
    CLOCK,
    EDITION,
    HAND,
    OVER,
    FireRow,
    FireSum,
    Missed,
    ScheduleState,
    Turn,
)
from millrace.ledger.ids import first_id
from millrace.ledger.reader import Reader

if TYPE_CHECKING:
    from collections.abc import Collection

_FIRE: Final = """SELECT fire.key, fire.due_at, how, schedule, fire.client, outcome, why, since, count, state,
  decided_at, expected_by, job_id, fire.run_id, coalesce(job.status, run.status),
  coalesce(job.finished_at, run.finished_at)
  FROM fire LEFT JOIN job ON job.id = fire.job_id LEFT JOIN run ON run.id = fire.run_id"""
_OPEN_FIRE: Final = _FIRE.replace("FROM fire LEFT", "FROM fire INDEXED BY fire_open LEFT")
_MADE_UP: Final = """(count <= (
      SELECT count(*) FROM fire AS again WHERE again.key = fire.key AND again.due_at >= fire.since
         AND again.due_at <= fire.due_at AND again.how = 'backfill'))"""
_SPAN: Final = """json_each(?1) AS wanted CROSS JOIN fire
    ON fire.key = wanted.value AND fire.due_at > ?2 AND fire.due_at <= ?3 AND how = 'clock'"""
FEW: Final = 10_000  # fires whose jobs are looked up one by one: about 20 ms
_COUNT: Final = f"""  -- how many fires a span has, up to a bound; served by the key of fire
SELECT count(*) FROM (SELECT 1 FROM {_SPAN} LIMIT ?4)"""  # noqa: S608 - text of our own
# The jobs and runs of fires that have not succeeded. Those of a few fires are looked up, whatever the backlog is. Of
# many fires nearly all have succeeded, and to look each up among all jobs of a day would cost ten times as much as to
# read what is dead, cancelled or open, which is little then and stands in indexes of its own.
OF_FEW: Final = f"""
  SELECT job.id, job.status FROM {_SPAN} CROSS JOIN job ON job.id = fire.job_id WHERE job.status <> 'succeeded'
   UNION ALL
  SELECT run.id, run.status FROM {_SPAN} CROSS JOIN run ON run.id = fire.run_id WHERE run.status <> 'succeeded'"""  # noqa: S608 - text of our own
OF_MANY: Final = """
  SELECT id, 'dead' FROM job INDEXED BY job_dead WHERE status = 'dead' AND id > ?5
   UNION ALL SELECT id, 'cancelled' FROM job INDEXED BY job_cancelled WHERE status = 'cancelled' AND id > ?5
   UNION ALL SELECT id, 'waiting' FROM job INDEXED BY job_waiting WHERE status = 'waiting'
   UNION ALL SELECT id, 'queued' FROM job INDEXED BY job_queued WHERE status = 'queued'
   UNION ALL SELECT id, 'running' FROM job INDEXED BY job_running WHERE status = 'running'
   UNION ALL SELECT id, status FROM run WHERE status <> 'succeeded' AND id > ?5"""
SUMS: Final = f"""  -- what the due times of a span came to, by schedule; served by the key of fire
WITH other(id, status) AS MATERIALIZED (%s)
SELECT key, outcome, status, late, why, made_up, sum(count), max(due_at), min(since) FROM (
  SELECT fire.key, outcome, due_at, since, count, iif(outcome = 'missed', why, '') AS why,
    iif(job_id IS NULL AND run_id IS NULL, NULL, coalesce(other.status, 'succeeded')) AS status,
    CASE WHEN expected_by IS NULL OR outcome IN ('missed', 'skipped') THEN ''
         WHEN expected_by >= coalesce((SELECT finished_at FROM job WHERE id = job_id),
                                      (SELECT finished_at FROM run WHERE id = fire.run_id), ?4) THEN ''
         WHEN job_id IS NULL AND fire.run_id IS NULL OR other.status IN ('waiting', 'queued', 'running') THEN 'overdue'
         ELSE 'done_late' END AS late,
    outcome = 'missed' AND {_MADE_UP} AS made_up
    FROM {_SPAN} LEFT JOIN other ON other.id = coalesce(fire.job_id, fire.run_id))
 GROUP BY key, outcome, status, late, why, made_up"""  # noqa: S608 - text of our own
_MISSED: Final = f"""  -- what of a schedule was missed and not made up for; served by the key of fire
SELECT why, sum(count), min(since), max(due_at) FROM fire
 WHERE key = ? AND due_at > ? AND due_at <= ? AND how = 'clock' AND outcome = 'missed' AND NOT {_MADE_UP}
 GROUP BY why ORDER BY max(due_at) DESC"""  # noqa: S608 - text of our own
AHEAD: Final = """  -- the due times of some schedules that are still to come and decided; served by the key of fire
SELECT fire.key, fire.due_at FROM json_each(?1) AS wanted CROSS JOIN fire ON fire.key = wanted.value
 WHERE fire.due_at > ?2 AND how = 'clock'"""
_WAITING: Final = """  -- how many of a schedule wait for their turn; served by fire_open
SELECT count(*) FROM fire WHERE key = ? AND state IN ('pending', 'open') AND state = 'pending'"""
_SLACK_MS: Final = 86_400_000  # a job's id is as old as its clock said, which may have been set since


class FireReads(Reader):
    """Looks at the schedules of one ledger; part of `Reads`."""

    def schedules(self) -> dict[str, ScheduleState]:
        """Return how far each schedule is decided, by key."""
        rows = self.rows("SELECT key, fingerprint, last, paused_at, paused_by FROM schedule")
        return {row[0]: ScheduleState(*row) for row in rows}

    def schedule_edition(self) -> str:
        """Return what changes when somebody has acted on a schedule."""
        found = self.rows("SELECT value FROM meta WHERE key = ?", (EDITION,))
        return str(found[0][0]) if found else ""

    def fires(self, key: str, *, after: int = 0, until: int = 1 << 62, limit: int = 100) -> list[FireRow]:
        """Return the fires of a schedule whose due time lies after one moment and not after another, newest first."""
        sql = f"""{_FIRE} WHERE fire.key = ? AND fire.due_at > ? AND fire.due_at <= ?
                  ORDER BY fire.due_at DESC, how LIMIT ?"""
        return [FireRow(*row) for row in self.rows(sql, (key, after, until, limit))]

    def decided(self, key: str, after: int, until: int) -> set[int]:
        """Return the due times of a schedule, after one moment and not after another, that are decided."""
        sql = "SELECT due_at FROM fire WHERE key = ? AND due_at > ? AND due_at <= ? AND how = 'clock'"
        return {row[0] for row in self.rows(sql, (key, after, until))}

    def decided_ahead(self, keys: Collection[str], now: int) -> dict[str, set[int]]:
        """Return the due times after `now` that are decided, by schedule: their clock was ahead then."""
        found: dict[str, set[int]] = {}
        for key, due_at in self.rows(AHEAD, (json.dumps(list(keys)), now)):
            found.setdefault(key, set()).add(due_at)
        return found

    def turn(self, key: str, *, beside: bool = False) -> Turn:
        """
        Return what of a schedule runs, and what is to run next. Served by fire_open.

        Args:
            beside: Leave out of what runs all but what people had made up for: nothing else is in the way of anything.
        """
        of_key = f"{_OPEN_FIRE} WHERE fire.key = ? AND state IN ('pending', 'open') AND state = "
        if beside:
            found = self.rows(f"{of_key} 'open' AND how = ?", (key, BACKFILL))
        else:
            found = self.rows(f"{of_key} 'open'", (key,))
        rows = [FireRow(*row) for row in found]
        for how in (CLOCK, HAND, BACKFILL):
            found = self.rows(f"{of_key} 'pending' AND how = ? ORDER BY fire.due_at LIMIT 1", (key, how))
            if found:
                break
        runs = tuple(row for row in rows if row.status is not None and row.status not in OVER)
        waits = self.rows(_WAITING, (key,))[0][0] if found else 0
        return Turn(FireRow(*found[0]) if found else None, runs, waits)

    def pending_schedules(self) -> set[str]:
        """Return the schedules of which something waits for its turn. Served by fire_open."""
        sql = "SELECT DISTINCT key FROM fire WHERE state IN ('pending', 'open') AND state = 'pending'"
        return {row[0] for row in self.rows(sql)}

    def fire_sums(self, keys: Collection[str], after: int, until: int, *, now: int) -> list[FireSum]:
        """
        Return what the due times after one moment and not after another came to, for some schedules.

        Args:
            now: Epoch ms; what should be done by now and is not is overdue.
        """
        span = json.dumps(list(keys)), after, until
        if self.rows(_COUNT, (*span, FEW + 1))[0][0] <= FEW:
            rows = self.rows(SUMS % OF_FEW, (*span, now))
        else:
            rows = self.rows(SUMS % OF_MANY, (*span, now, first_id(max(0, after - _SLACK_MS))))
        return [FireSum(*row) for row in rows]

    def missed(self, key: str, after: int, until: int) -> list[Missed]:
        """Return what of a schedule was missed after one moment, not after another, and not made up for, by reason."""
        return [Missed(*row) for row in self.rows(_MISSED, (key, after, until))]

    def fire_of(self, key: str, due_at: int) -> FireRow:
        """
        Return what a due time came to.

        Raises: NotFound if it is not decided.
        """
        found = self.rows(f"{_FIRE} WHERE fire.key = ? AND fire.due_at = ? AND how = 'clock'", (key, due_at))
        if not found:
            msg = f"schedule {key}: that due time is not decided"
            raise NotFound(msg)
        return FireRow(*found[0])
