"""
All looks at the ledger, by name: those of the other modules, and those at queues, daemons, tokens and counters. Imports
nothing heavy, so that a reading command starts at once.
"""

from __future__ import annotations

import json
from typing import Any, Final

from millrace.ledger.audit_reads import AuditReads
from millrace.ledger.effect_reads import EffectReads
from millrace.ledger.fire_reads import FireReads
from millrace.ledger.job_reads import JobReads
from millrace.ledger.notes import PREFIX
from millrace.ledger.rows import Balance, ChildRow, DaemonRow, QueueRow, Tally, TokenRow
from millrace.ledger.run_reads import RunReads
from millrace.ledger.states import Status

_MOST_PRIORITIES: Final = 64


class Reads(JobReads, RunReads, FireReads, EffectReads, AuditReads):
    """Looks at one ledger. Safe to share between threads."""

    def tallies(self) -> list[Tally]:
        """Return the conservation counters."""
        sql = """SELECT queue, client, task, accepted, waiting, queued, running, succeeded, dead, cancelled, pruned
                   FROM tally ORDER BY queue, client, task"""
        return [Tally(*row) for row in self.rows(sql)]

    def queues(self) -> list[QueueRow]:
        """Return the queues that have had work, or are paused, with their depths."""
        sql = """SELECT queue, sum(waiting), sum(queued), sum(running), max(paused)
                   FROM (SELECT queue, waiting, queued, running, 0 AS paused FROM lane
                         UNION ALL SELECT queue, 0, 0, 0, 1 FROM pause)
                  GROUP BY queue ORDER BY queue"""
        return [
            QueueRow(queue, bool(paused), waiting, queued, running, self._oldest(queue) if queued else None)
            for queue, waiting, queued, running, paused in self.rows(sql)
        ]

    def paused(self) -> set[str]:
        """Return the queues that are paused."""
        return {row[0] for row in self.rows("SELECT queue FROM pause")}

    def depth(self, queue: str) -> int:
        """Return how many jobs of a queue are open: waiting, queued or running."""
        return int(
            self.rows("SELECT coalesce(sum(waiting + queued + running), 0) FROM lane WHERE queue = ?", (queue,))[0][0]
        )

    def open_jobs(self) -> int:
        """Return how many jobs are open, of all queues."""
        return int(self.rows("SELECT coalesce(sum(waiting + queued + running), 0) FROM lane")[0][0])

    def queued(self, queue: str) -> int:
        """Return how many jobs of a queue could be claimed, were it not paused."""
        return int(self.rows("SELECT coalesce(sum(queued), 0) FROM lane WHERE queue = ?", (queue,))[0][0])

    def _oldest(self, queue: str) -> int | None:
        """Return since when the oldest job is queued: the first of each lane and priority, no scan of the backlog."""
        sql = """SELECT priority, queued_at FROM job
                  WHERE status = 'queued' AND queue = ? AND client = ? AND priority < ?
                  ORDER BY priority DESC, queued_at LIMIT 1"""
        firsts: list[int] = []
        for (client,) in self.rows("SELECT client FROM lane WHERE queue = ? AND queued > 0", (queue,)):
            below = 1 << 62
            for _ in range(_MOST_PRIORITIES):
                found = self.rows(sql, (queue, client, below))
                if not found:
                    break
                below = found[0][0]
                firsts.append(found[0][1])
        return min(firsts, default=None)

    def next_due(self) -> int | None:
        """Return when the next waiting job is due; None if none has a time. Served by job_due."""
        sql = "SELECT min(due_at) FROM job WHERE status = 'waiting' AND due_at IS NOT NULL"
        found: int | None = self.rows(sql)[0][0]
        return found

    def cancels(self, daemon: str) -> list[str]:
        """Return the running jobs of a daemon that somebody asked to end. Served by job_running."""
        sql = "SELECT id FROM job WHERE status = 'running' AND daemon = ? AND cancel_by IS NOT NULL"
        return [row[0] for row in self.rows(sql, (daemon,))]

    def held_tasks(self, reason: str) -> list[str]:
        """Return the tasks of which jobs wait for a reason. Served by job_waiting."""
        return [
            row[0]
            for row in self.rows("SELECT DISTINCT task FROM job WHERE status = 'waiting' AND reason = ?", (reason,))
        ]

    def balance(self, *, count_rows: bool) -> Balance:
        """
        Return the conservation proof.

        Args:
            count_rows: Whether to compare the counters with the rows, which reads all of them.
        """
        with self._one_moment():  # counters and rows of the same
            tallies = self.tallies()
            rows = self._row_counts() if count_rows else None
        return _balance(tallies, rows)

    def _row_counts(self) -> dict[tuple[str, str, str], dict[str, int]]:
        counts: dict[tuple[str, str, str], dict[str, int]] = {}
        for queue, client, task, status, count in self.rows(
            "SELECT queue, client, task, status, count(*) FROM job GROUP BY 1, 2, 3, 4"
        ):
            counts.setdefault((queue, client, task), {})[status] = count
        return counts

    def daemon(self) -> DaemonRow | None:
        """Return the daemon that signed in last."""
        sql = "SELECT id, pid, host, version, started_at, beat_at, stopped_at FROM daemon ORDER BY id DESC LIMIT 1"
        found = self.rows(sql)
        return DaemonRow(*found[0]) if found else None

    def children(self) -> list[ChildRow]:
        """Return the child processes on record."""
        return [ChildRow(*row) for row in self.rows("SELECT pid, start_ticks, pgid, daemon, queue FROM child")]

    def tokens(self) -> list[TokenRow]:
        """Return all tokens, oldest first."""
        sql = "SELECT id, name, role, client, created_at, expires_at, revoked_at FROM token ORDER BY id"
        return [TokenRow(*row) for row in self.rows(sql)]

    def token_by_hash(self, sha256: str) -> TokenRow | None:
        """Return the token whose text has this SHA-256 (hex)."""
        sql = "SELECT id, name, role, client, created_at, expires_at, revoked_at FROM token WHERE hash = ?"
        found = self.rows(sql, (sha256,))
        return TokenRow(*found[0]) if found else None

    def note(self, name: str) -> str | None:
        """Return the newest note of a name that a daemon left, None if there is none."""
        found = self.rows("SELECT value FROM meta WHERE key = ?", (PREFIX + name,))
        return str(found[0][0]) if found else None

    def noted(self, name: str) -> dict[str, Any] | None:
        """Return the newest note of a name that is a JSON object, None if there is none."""
        text = self.note(name)
        found: dict[str, Any] | None = json.loads(text) if text else None
        return found

    def ledger_id(self) -> str:
        """Return the id that the ledger got when it was made."""
        return str(self.rows("SELECT value FROM meta WHERE key = 'ledger'")[0][0])


def _balance(tallies: list[Tally], rows: dict[tuple[str, str, str], dict[str, int]] | None) -> Balance:
    by_status = {status.value: sum(getattr(tally, status) for tally in tallies) for status in Status}
    details = [
        f"{t.queue}/{t.client}/{t.task}: accepted and accounted for differ by {t.difference}"
        for t in tallies
        if t.difference
    ]
    difference = sum(abs(tally.difference) for tally in tallies)
    if rows is not None:
        found = _against_rows(tallies, dict(rows))
        details += [text for text, _ in found]
        difference += sum(size for _, size in found)
    return Balance(sum(t.accepted for t in tallies), by_status, sum(t.pruned for t in tallies), difference, details)


def _against_rows(tallies: list[Tally], rows: dict[tuple[str, str, str], dict[str, int]]) -> list[tuple[str, int]]:
    found = []
    for tally in tallies:
        counted = rows.pop((tally.queue, tally.client, tally.task), {})
        for status in Status:
            counter, count = getattr(tally, status), counted.get(status, 0)
            if counter != count:
                text = f"{tally.queue}/{tally.client}/{tally.task}: {counter} {status} by the counter, {count} rows"
                found.append((text, abs(counter - count)))
    for (queue, client, task), counted in rows.items():
        count = sum(counted.values())
        found.append((f"{queue}/{client}/{task}: {count} rows that no counter knows", count))
    return found
