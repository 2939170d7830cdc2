"""
All looks at the ledger, by name. Read-only connections, one per thread, with short transactions; imports nothing
heavy, so that a reading command starts at once.
"""

from __future__ import annotations

import json
import threading
import weakref
from typing import TYPE_CHECKING, Any, Final

import apsw

from millrace.errors import LedgerDamaged, LedgerError, NotFound, ValueDamaged
from millrace.ledger import audit
from millrace.ledger.audit import ANCHOR, HEAD, AuditRow, Verified
from millrace.ledger.blobs import Blobs
from millrace.ledger.database import open_reader, translate
from millrace.ledger.effect_reads import EffectReads
from millrace.ledger.fire_reads import FireReads
from millrace.ledger.notes import PREFIX
from millrace.ledger.parse import as_attempt, as_event, as_job, in_brief, prefix_range, shown
from millrace.ledger.rows import Balance, ChildRow, DaemonRow, JobFilter, JobRow, Page, QueueRow, Tally, TokenRow
from millrace.ledger.run_reads import RunReads
from millrace.ledger.seals import sealed, unsealed
from millrace.ledger.states import Status

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from millrace.ledger.rows import AttemptRow, EventRow

_JOB_WITH: Final = """SELECT id, task, queue, client, status, reason, priority, attempt, max_attempts, failures,
  crashes, daemon_deaths, {payload}, {result}, error, key, run_id, stage, record, source_kind,
  source_name, correlation_id, created_at, queued_at, due_at, started_at, finished_at, duration_ms, cancel_by
  FROM job"""
_JOB: Final = _JOB_WITH.format(payload=f"CAST({sealed('payload')} AS BLOB)", result=f"CAST({sealed('result')} AS BLOB)")
_JOB_IN_BRIEF: Final = _JOB_WITH.format(
    payload=f"CAST({in_brief('payload')} AS BLOB)", result=f"CAST({in_brief('result')} AS BLOB)"
)
# Below this many rows the small partial index is sorted; above it the newest rows are soon found by walking the ids.
_FEW: Final = 20_000
_PARTIAL: Final = {"queued": "job_queued", "waiting": "job_waiting", "running": "job_running"}
_NAMES: Final = ("task", "queue", "client")
_UNDONE: Final = frozenset({Status.DEAD, Status.CANCELLED})
_PREFIX_LOOK: Final = 3
_NO_END: Final = 1 << 62
_MOST_PRIORITIES: Final = 64


class Reads(RunReads, FireReads, EffectReads):
    """Looks at one ledger. Safe to share between threads."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self.blobs = Blobs(path)
        self._local = threading.local()
        # Weak: the connection of a thread that ended closes with it.
        self._open: weakref.WeakSet[apsw.Connection] = weakref.WeakSet()
        self._lock = threading.Lock()
        self._closed = False
        self.damage: str | None = None  # what a look has met: no more is to be written on such a file

    @staticmethod
    def open(path: Path) -> Reads:
        """
        Open a ledger for reading.

        Raises: NotFound if there is none yet, LedgerForeign if the file is something else.
        """
        reads = Reads(path)
        reads.rows("SELECT 1 FROM meta")
        return reads

    def close(self) -> None:
        """Close the connections of all threads."""
        self._closed = True
        with self._lock:
            for connection in list(self._open):
                try:
                    connection.close()
                except apsw.ThreadingViolationError:  # its thread looks at this moment; it closes when that thread ends
                    connection.interrupt()

    def connection(self) -> apsw.Connection:
        """Return this thread's connection."""
        if self._closed:
            raise LedgerError("the ledger is closed")
        found: apsw.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            try:
                found = self._local.connection = open_reader(self._path)
            except LedgerDamaged as error:
                self.damage = self.damage or str(error)
                raise
            with self._lock:
                self._open.add(found)
        return found

    def blame(self, error: apsw.Error) -> LedgerError:
        """Return our own error for one of the driver; a file that is damaged is noted for whoever must stop."""
        found = translate(error)
        if isinstance(found, LedgerDamaged) and self.damage is None:
            self.damage = str(found)
        return found

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """
        Return what a SELECT of this room finds.

        Raises: LedgerError; LedgerDamaged where the file is; ValueDamaged where one text in it is.
        """
        try:
            return self.connection().execute(sql, values).fetchall()
        except apsw.Error as error:
            raise self.blame(error) from error
        except UnicodeDecodeError as error:
            raise ValueDamaged("a text in the ledger is damaged on disk: bytes that no program wrote") from error

    def whole(self, text: str) -> str:
        """
        Return the value that a text of the ledger stands for; see `blobs.Blobs.whole`.

        Raises: ValueDamaged.
        """
        return self.blobs.whole(text)

    def job(self, job_id: str) -> JobRow:
        """
        Return the job of an id or of a unique prefix of one.

        Raises: NotFound, which names the candidates if the prefix is not unique.
        """
        low, high = prefix_range(job_id)
        found = self.rows(f"{_JOB} WHERE id >= ? AND id < ? ORDER BY id LIMIT {_PREFIX_LOOK}", (low, high))
        if not found:
            msg = f'no job "{job_id}"'
            raise NotFound(msg)
        if len(found) > 1 and found[0][0] != low:
            candidates = ", ".join(row[0] for row in found)
            msg = f'"{job_id}" could be any of {candidates} …: give more of the id'
            raise NotFound(msg)
        return as_job(found[0], self._checked)

    def _checked(self, text: str) -> str:
        """Return a value for people to see, from its text with its checksum; of one that is damaged, that it is."""
        return shown(lambda both: self.whole(unsealed(both, "what is on disk")), text)

    def attempts(self, job_id: str) -> list[AttemptRow]:
        """Return the attempts of a job that are over, oldest first."""
        sql = """SELECT attempt, outcome, daemon, started_at, ended_at, duration_ms, error, facts
                   FROM attempt WHERE job_id = ? ORDER BY attempt"""
        return [as_attempt(row) for row in self.rows(sql, (job_id,))]

    def events(self, job_id: str) -> list[EventRow]:
        """Return the decisions about a job, oldest first."""
        sql = "SELECT at, event, reason, actor, facts FROM event WHERE job_id = ? ORDER BY id"
        return [as_event(row) for row in self.rows(sql, (job_id,))]

    def jobs(self, wanted: JobFilter, *, whole: bool = False) -> Page:
        """
        Return a page of jobs, newest first.

        Args:
            whole: Whether large values are wanted too: a page of them may have gigabytes. Else each is `{"$large": n}`.
        """
        conditions = {
            "task = ?": wanted.task, "queue = ?": wanted.queue, "client = ?": wanted.client,
            "run_id = ?": wanted.run, "created_at >= ?": wanted.since, "id < ?": wanted.after,
        }  # fmt: skip
        given = {sql: value for sql, value in conditions.items() if value is not None}
        if wanted.since is not None:  # ids sort by time: lets the walk end instead of filtering all history
            given["id >= ?"] = f"{wanted.since >> 16:08x}-{wanted.since & 0xFFFF:04x}"
        names = {name: value for name in _NAMES if (value := getattr(wanted, name)) is not None}
        of_status, index, values = self._of_status(wanted, names)
        where = " AND ".join([*given, *of_status]) or "TRUE"
        # The counters know how many there are at most: with the last of them the walk ends, and without any it is none.
        bound = f"min(?, ({_kept(wanted.status, names)}))" if names else "?"
        look, value = (_JOB, self._checked) if whole else (_JOB_IN_BRIEF, self._outline)
        sql = (
            f"{look}{index} WHERE {where} ORDER BY id DESC LIMIT {bound}"  # conditions of our own making, values bound
        )
        rows = self.rows(sql, (*given.values(), *values, wanted.limit + 1, *names.values()))
        jobs = [as_job(row, value) for row in rows[: wanted.limit]]
        return Page(jobs, jobs[-1].id if len(rows) > wanted.limit else None)

    def _of_status(self, wanted: JobFilter, names: dict[str, str]) -> tuple[list[str], str, Sequence[str]]:
        """Return the conditions for a status, a literal as a partial index needs it; the index to use; their values."""
        if wanted.status is None:
            return [], "", ()
        status = Status(wanted.status)
        if wanted.run is not None and status in _UNDONE:  # of 300,000 jobs of a run, only those that may be put back
            undone = "run_id IS NOT NULL AND status IN ('dead', 'cancelled')"
            return [f"{undone} AND +status = '{status}'"], " INDEXED BY job_undone", ()
        if status == Status.QUEUED and names:  # of a backlog of half a million, only the lanes that have such jobs
            lanes = f"(queue, client) IN (SELECT queue, client FROM tally WHERE queued > 0 AND {_all(names)})"  # noqa: S608
            queued = self.rows(f"SELECT coalesce(sum(queued), 0) FROM lane WHERE {lanes}", [*names.values()])[0][0]  # noqa: S608
            if queued <= _FEW:
                return [f"status = '{status}'", lanes], " INDEXED BY job_queued", [*names.values()]
        index = _PARTIAL.get(status, "")
        few = index and self.status_counts()[status] <= _FEW
        return [f"status = '{status}'"], f" INDEXED BY {index}" if few else "", ()

    def status_counts(self) -> dict[str, int]:
        """Return how many jobs there are in each status, from the counters."""
        columns = ", ".join(f"coalesce(sum({status}), 0)" for status in Status)
        counts = self.rows(f"SELECT {columns} FROM tally")[0]  # noqa: S608 - columns of our own making
        return {status.value: count for status, count in zip(Status, counts, strict=True)}

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
        connection = self.connection()
        try:
            connection.execute("BEGIN")  # one snapshot: counters and rows of the same moment
            try:
                tallies = self.tallies()
                rows = self._row_counts() if count_rows else None
            finally:
                connection.execute("ROLLBACK")
        except apsw.Error as error:
            raise self.blame(error) from error
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

    def audit(self, *, after: int = 0, limit: int = 1000) -> list[AuditRow]:
        """Return rows of the audit log beyond a number, oldest first."""
        sql = "SELECT id, at, actor, action, subject, facts, hash FROM audit WHERE id > ? ORDER BY id LIMIT ?"
        return [AuditRow(*row) for row in self.rows(sql, (after, limit))]

    def audit_newest(self, limit: int, *, before: int | None = None) -> list[AuditRow]:
        """Return the newest rows of the audit log, or the newest before a number, newest first."""
        sql = "SELECT id, at, actor, action, subject, facts, hash FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?"
        return [AuditRow(*row) for row in self.rows(sql, (_NO_END if before is None else before, limit))]

    def audit_head(self) -> str | None:
        """Return what the ledger says of the newest row of the audit log, None if it never had one."""
        found = self.rows("SELECT value FROM meta WHERE key = ?", (HEAD,))
        return str(found[0][0]) if found else None

    def audit_anchor(self) -> str | None:
        """Return what the ledger says of the last row of the audit log that was pruned, None if none was."""
        found = self.rows("SELECT value FROM meta WHERE key = ?", (ANCHOR,))
        return str(found[0][0]) if found else None

    def audit_chain(self) -> Verified:
        """
        Check the chain of the audit log, as it stands at one moment. Reads all of it.

        Raises: LedgerError.
        """
        connection = self.connection()
        try:
            connection.execute("BEGIN")  # else a row that is written meanwhile looks like one that was cut off
            try:
                found = connection.execute("SELECT id, at, actor, action, subject, facts, hash FROM audit ORDER BY id")
                return audit.verify((AuditRow(*row) for row in found), self.audit_head(), self.audit_anchor())
            finally:
                connection.execute("ROLLBACK")
        except apsw.Error as error:
            raise self.blame(error) from error
        except UnicodeDecodeError as error:
            raise ValueDamaged("a text in the audit log is damaged on disk: bytes that no program wrote") from error

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

    def data_version(self) -> int:
        """Return a number that changes when another connection has committed."""
        return int(self.rows("PRAGMA data_version")[0][0])


def _all(names: Collection[str]) -> str:
    return " AND ".join(f"{name} = ?" for name in names)


def _kept(status: str | None, names: Collection[str]) -> str:
    """Return a SELECT of how many jobs the ledger has of a task, queue or client, by the counters."""
    counted = " + ".join(Status if status is None else [Status(status)])
    return f"SELECT coalesce(sum({counted}), 0) FROM tally WHERE {_all(names)}"  # noqa: S608 - columns of our own making


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
