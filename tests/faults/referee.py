"""
The oracle outside the daemon: compares what was acknowledged (a log of the submitter) and what was done (the marks of
the jobs) with what the ledger says, by SQL of its own.
"""

from __future__ import annotations

import json
import threading
from collections import Counter, defaultdict
from contextlib import suppress
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import apsw
import httpx

from tests.process.scratch import until

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.process.scratch import Scratch, Served

FINAL = frozenset({"succeeded", "dead", "cancelled"})


def whole(ledger: Path, text: str) -> str:
    """Return what a column stands for: itself, or what is in the file that it names; nothing if that is not there."""
    if not text.startswith("@"):
        return text
    file = Path(f"{ledger}-blobs", text[1:].partition(":")[0])
    return file.read_bytes().decode(errors="replace") if file.exists() else ""


class Effect(NamedTuple):
    """One mark of a job: start, end, or overlap (it met another attempt of itself that was alive)."""

    kind: str
    job: str
    attempt: int
    pid: int
    at_ns: int


class Referee:
    """
    Judges one site.

    Args:
        acks: The log of acknowledgements; its lines are `job n`.
    """

    def __init__(self, site: Scratch, acks: Path) -> None:
        self.site = site
        self.acks = acks

    def acknowledged(self) -> dict[str, int]:
        """Return the acknowledged jobs and their numbers."""
        lines = self.acks.read_text().splitlines() if self.acks.exists() else []
        return {job: int(n) for job, n in (line.split() for line in lines)}

    def effects(self) -> list[Effect]:
        """Return all marks, in order. The last line of a killed process may be cut, but is not: writes are whole."""
        path = self.site.root / "effects.log"
        lines = path.read_text().splitlines() if path.exists() else []
        rows = [line.split() for line in lines]
        return [Effect(kind, job, int(attempt), int(pid), int(at)) for kind, job, attempt, pid, at in rows]

    def marks_size(self) -> int:
        """Return how many bytes of marks there are: jobs run while it grows."""
        path = self.site.root / "effects.log"
        return path.stat().st_size if path.exists() else 0

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Ask the ledger."""
        connection = apsw.Connection(str(self.site.ledger), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            connection.set_busy_timeout(10_000)
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    def ended(self) -> set[str]:
        """Return the jobs that are over."""
        return {job for (job,) in self.rows("SELECT id FROM job WHERE finished_at IS NOT NULL")}

    def await_rest(self, limit_s: float) -> None:
        """Wait until no job is open."""
        reads = self.site.reads

        def rest() -> bool:
            counts = reads.status_counts()
            return not any(counts.get(status, 0) for status in ("waiting", "queued", "running"))

        def left() -> str:
            sql = "SELECT status, reason, queue, attempt, failures, count(*) FROM job GROUP BY 1, 2, 3, 4, 5"
            return f"all jobs to be over; there are {self.rows(sql)}"

        until(rest, left, limit_s)

    def judge(self, *, failures: int | None = 0, statuses: frozenset[str] = frozenset({"succeeded"})) -> None:
        """
        Check that nothing vanished and nothing doubled, now that all jobs are over.

        Args:
            failures: What each job's failures must be; None does not look.
            statuses: How jobs may have ended.
        """
        sql = "SELECT id, status, attempt, failures, crashes, substr(error, 1, 300) FROM job"
        jobs = {row[0]: row for row in self.rows(sql)}
        acknowledged = self.acknowledged()
        lost = acknowledged.keys() - jobs.keys()
        assert not lost, f"{len(lost)} acknowledged jobs are not in the ledger: {sorted(lost)[:3]}"
        open_ = [row for row in jobs.values() if row[1] not in FINAL]
        assert not open_, f"{len(open_)} jobs are not over: {open_[:3]}"
        odd = [row for row in jobs.values() if row[1] not in statuses]
        assert not odd, f"{len(odd)} jobs ended otherwise: {odd[:3]}"
        if failures is not None:
            blamed = [row for row in jobs.values() if row[3] != failures]
            assert not blamed, f"{len(blamed)} jobs have failures that are not theirs: {blamed[:3]}"
        self._judge_payloads(acknowledged)
        self._judge_attempts(jobs)
        self._judge_effects(jobs)
        self._judge_books()

    def _judge_payloads(self, acknowledged: dict[str, int]) -> None:
        """Each payload is the one whose hash was kept, and what was acknowledged is what was sent (0: not known)."""
        for job, column, kept in self.rows("SELECT id, payload, payload_hash FROM job"):
            payload = whole(self.site.ledger, column)
            assert blake2b(payload.encode(), digest_size=16).hexdigest() == kept, f"the payload of {job} has changed"
            number = acknowledged.get(job, 0)
            assert number in (0, json.loads(payload).get("n")), f"{job} was accepted as {number}, and is {payload[:99]}"

    def _judge_attempts(self, jobs: dict[str, Any]) -> None:
        """The history has each attempt once, numbered without a gap, and one success at most, the last."""
        history: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for job, attempt, outcome in self.rows("SELECT job_id, attempt, outcome FROM attempt ORDER BY job_id, attempt"):
            history[job].append((attempt, outcome))
        for job, row in jobs.items():
            numbers = [attempt for attempt, _ in history[job]]
            assert numbers == list(range(1, row[2] + 1)), f"{row} has attempts {history[job]}"
            won = [attempt for attempt, outcome in history[job] if outcome == "succeeded"]
            assert won == ([row[2]] if row[1] == "succeeded" else []), f"{row} has attempts {history[job]}"

    def _judge_effects(self, jobs: dict[str, Any]) -> None:
        """Each attempt started once at most, none beside another of its job; a success did its work."""
        starts: dict[str, list[Effect]] = defaultdict(list)
        ends: dict[tuple[str, int], Effect] = {}
        for effect in self.effects():
            assert effect.kind != "overlap", f"two attempts of a job ran at once: {effect}"
            assert effect.job in jobs, f"a job ran that the ledger does not know: {effect}"
            if effect.kind == "start":
                starts[effect.job].append(effect)
            else:
                ends[effect.job, effect.attempt] = effect
        for job, began in starts.items():
            numbers = [effect.attempt for effect in began]
            assert numbers == sorted(set(numbers)), f"attempts of {job} did not rise: {numbers}"
            assert numbers[-1] <= jobs[job][2], f"{job} started attempt {numbers[-1]}, the ledger knows {jobs[job][2]}"
            for effect, after in pairwise(began):
                end = ends.get((job, effect.attempt))
                assert end is None or end.at_ns <= after.at_ns, f"attempts of {job} overlap: {effect}, {after}"
        for job, row in jobs.items():
            if row[1] == "succeeded":
                assert (job, row[2]) in ends, f"{row} succeeded and left no mark"

    def _judge_books(self) -> None:
        """The counters agree with the rows, and the file is sound."""
        balance = self.site.reads.balance(count_rows=True)
        assert (balance.difference, balance.details) == (0, []), balance
        assert balance.accepted == self.rows("SELECT count(*) FROM job")[0][0]
        assert self.rows("PRAGMA integrity_check") == [("ok",)]
        lanes = self.rows("SELECT total(waiting), total(queued), total(running) FROM lane")
        assert lanes == [(0, 0, 0)], f"lanes still count open work: {lanes}"

    def judge_leavings(self, *expected: str) -> None:
        """After the daemon's end nothing of it is left: no process, no temporary file, no child on record."""
        assert self.site.marked() == []
        left = {path.name for path in self.site.state.iterdir() if not path.name.startswith("millrace.db")}
        assert left <= {"admin.token"} | set(expected), left
        files = {path.name for path in self.site.state.glob("millrace.db*")}
        assert files <= {f"millrace.db{end}" for end in ("", "-wal", "-shm", "-blobs", ".lock", ".made")}, files
        assert self.rows("SELECT pid FROM child") == []


def judge_log(daemon: Served, most: int = 5) -> None:
    """A fault is told, and not again and again: of no kind of warning are there more than a few."""
    lines = [json.loads(line) for line in daemon.text().splitlines() if line.startswith("{") and line.endswith("}")]
    kinds = Counter(line["event"] for line in lines if line["level"] not in {"debug", "info"})
    assert all(count <= most for count in kinds.values()), kinds
    assert kinds["daemon.failed"] <= 1, kinds
    assert "Traceback" not in daemon.text()


def channels(pid: int) -> int:
    """Return how many pipes and sockets a process has open: what a lost child would leave behind in the daemon."""
    found = 0
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            found += str(entry.readlink()).startswith(("pipe:", "socket:"))
    return found


class Poller:
    """Asks /readyz again and again, as a load balancer does; `answers` are the codes that it heard, 0 for none."""

    def __init__(self, site: Scratch) -> None:
        self._url = f"http://127.0.0.1:{site.port}/readyz"
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self.answers: list[int] = []

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._end.set()
        self._thread.join()

    def next(self, count: int = 2) -> list[int]:
        """Wait for answers to questions that are yet to be asked."""
        known = len(self.answers) + 1  # one may be under way
        until(lambda: len(self.answers) >= known + count, "answers")
        return self.answers[known:]

    def _work(self) -> None:
        with httpx.Client(timeout=0.5, trust_env=False) as client:
            while not self._end.wait(0.05):
                try:
                    self.answers.append(client.get(self._url).status_code)
                except httpx.TransportError:
                    self.answers.append(0)
