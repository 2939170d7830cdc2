"""
A scripted piece of a site's life, short enough that it can be played again for each of its sync points: the upgrade of
a version-1 ledger, start, submit, claim, finish, retry, a fan-out with joins and a barrier, a fire, stop.

Whoever plays it is outside of the daemon: each acknowledgement is written down with fsync. All that is sent has a key,
so that playing the script again after a crash is what a careful client does.
"""

from __future__ import annotations

import os
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import apsw
import httpx

from millrace.clock import SYSTEM
from tests.faults.runs_referee import RunsReferee
from tests.process.scratch import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.process.scratch import Scratch, Served

OLD: Final = Path(__file__).parents[1] / "ledger" / "version_1.sql"
OLD_DONE: Final = "01a3185c-5000-728a-b959-85d983bd11dd"  # the job of the old ledger that has succeeded
OLD_ID: Final = "01a3185c-5000-728a-b959-85d844ec6c92"  # processes are told by it: each site needs its own
OLD_JOBS: Final = 5
RECORDS: Final = 2
LIMIT_S: Final = 30.0
FIRE_AFTER_MS: Final = 2500
OPEN_JOBS: Final = "SELECT 1 FROM job WHERE finished_at IS NULL LIMIT 1"
NOT_NOW: Final = frozenset({503, 507})  # full or overloaded: a client comes again


class DiedError(Exception):
    """The daemon has ended, and the script has not."""


def plant_old_ledger(site: Scratch) -> None:
    """Give a site a ledger as version 1 made it, with a job in each status, of a task and a queue that it has."""
    site.state.mkdir(exist_ok=True)
    sql = OLD.read_text().replace("'add'", "'mark'").replace("'q'", "'io'").replace(OLD_ID, str(uuid4()))
    with closing(apsw.Connection(str(site.ledger))) as connection:
        connection.execute(sql)
    (site.root / "effects.log").write_text(f"start {OLD_DONE} 1 1 0\nend {OLD_DONE} 1 1 1\n")


class Script:
    """
    The script, for one site.

    Args:
        site: With the usual jobs and a fresh folder; gets its ledger and its schedule here.
    """

    def __init__(self, site: Scratch) -> None:
        self.site = site
        self.referee = RunsReferee(site, site.root / "acks.log")
        self.refused = 0
        self._acks: dict[str, str] = {}
        self._daemon: Served | None = None
        plant_old_ledger(site)
        self._due = SYSTEM.now_ms() + FIRE_AFTER_MS
        due = datetime.fromtimestamp(self._due / 1000, UTC).isoformat()
        schedule = f'[schedules.once]\ntask = "mark"\npayload = {{ n = 50 }}\nat = "{due}"\ncatch_up = "all"\n'
        site.config.write_text(site.config.read_text() + schedule)

    def play(self, daemon: Served) -> bool:
        """Go through all of it, and stop the daemon; return whether that came to its good end, or the daemon died."""
        self._daemon = daemon
        try:
            self._go_through(daemon)
        except DiedError:
            return False
        return daemon.stop() == 0

    def _go_through(self, daemon: Served) -> None:
        self._until(lambda: daemon.events("daemon.started"), "the daemon to start")
        self._until_over(self._post("/api/v1/jobs", 101, task="mark", queue="io", payload={"n": 101}))
        self._until_over(self._post("/api/v1/jobs", 102, task="stumble", queue="default", payload={"n": 102}))
        run = self._post("/api/v1/pipelines/in_threads/runs", 0, inputs={"count": RECORDS})
        self._until(lambda: self.referee.run(run).status != "running", "the end of the run")
        self.referee.runs = [run]
        fires = self.site.reads.fires
        self._until(lambda: fires("once") or self._never_due(), "the fire")
        for fire in fires("once"):
            if fire.job_id:
                self._until_over(fire.job_id)
        self._until(lambda: not self.referee.rows(OPEN_JOBS), "all jobs to be over")

    def judge(self) -> None:
        """Check, after a play without a crash and its good end, that all is there, once and with its outcome."""
        referee = self.referee
        referee.judge(failures=None, statuses=frozenset({"succeeded", "dead", "cancelled"}))
        (run,) = referee.runs
        referee.judge_run(run, RECORDS)
        own = (
            "SELECT status, count(*) FROM job WHERE run_id IS NULL AND source_kind <> 'schedule' GROUP BY 1 ORDER BY 1"
        )
        expected = [("cancelled", 1), ("dead", 1), ("succeeded", OLD_JOBS - 2 + 2)]
        assert referee.rows(own) == expected, "a job is missing, or there twice"
        fired = referee.rows("SELECT status FROM job WHERE source_kind = 'schedule'")
        rows = [row.outcome for row in self.site.reads.fires("once")]
        if self._never_due():
            assert (fired, rows) == ([], []), "it fired for a time before it was known"
        else:
            assert fired == [("succeeded",)]
            assert len(rows) == 1
        referee.judge_leavings()

    def _never_due(self) -> bool:
        """Whether its time had passed when a daemon first saw the schedule: then it was not missed, but never due."""
        states = self.site.reads.schedules().values()
        return any(state.last > self._due for state in states) and not self.site.reads.fires("once")

    def _post(self, path: str, n: int, **body: Any) -> str:
        """Send until it is accepted; write down that it was. Return the id."""
        while (answer := self._send(path, {**body, "key": f"{path}-{n}"})).status_code in NOT_NOW:
            self.refused += 1
            assert "full" in answer.text, answer.text
        if answer.json().get("type") == "urn:millrace:problem:ledger":
            self._until(lambda: False, f"the daemon to end after {answer.text}")
        assert answer.status_code in {200, 202}, answer.text
        found = str(answer.json()["id"])
        assert self._acks.setdefault(f"{path}-{n}", found) == found, "the same key got another job"
        if path == "/api/v1/jobs":
            self._note(found, n)
        return found

    def _send(self, path: str, body: dict[str, Any]) -> httpx.Response:
        try:
            return self.site.ask("POST", path, json=body)
        except httpx.TransportError as error:
            self._until(lambda: False, f"the daemon to end, as it does not answer: {error}")
            raise

    def _note(self, job: str, n: int) -> None:
        with self.referee.acks.open("a") as log:
            log.write(f"{job} {n}\n")
            log.flush()
            os.fsync(log.fileno())

    def _until_over(self, job: str) -> None:
        self._until(lambda: self.site.reads.job(job).finished_at, f"the end of {job}")

    def _until(self, condition: Callable[[], object], what: str) -> None:
        daemon = self._daemon
        assert daemon is not None
        until(lambda: not daemon.alive or condition(), what, LIMIT_S)
        if not daemon.alive:
            raise DiedError
