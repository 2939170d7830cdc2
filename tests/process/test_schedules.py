"""Schedules in the real daemon: they fire, once, whatever happens to the process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from itertools import pairwise
from typing import TYPE_CHECKING

from millrace.clock import SYSTEM
from millrace.ledger.ledger import Ledger
from millrace.ledger.rows import JobFilter
from tests.process.scratch import Served, until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.process.conftest import MakeSite

SECOND = """
[schedules.each-second]
task = "add"
payload = { a = 1, b = 2 }
every = "1s"
"""


def test_a_schedule_of_a_task_fires_in_the_daemon(make_site: MakeSite) -> None:
    """What it is all for."""
    site = make_site(SECOND)
    daemon = site.serve()

    fired = daemon.await_event("schedule.fired")
    job = site.await_status(fired["work_id"], "succeeded")

    assert (job.task, job.result, tuple(job.source)) == ("add", "3", ("schedule", "each-second"))
    assert fired["outcome"] == "on_time"
    until(lambda: len(site.reads.fires("each-second")) > 1, "the second fire")
    times = [row.due_at for row in site.reads.fires("each-second")]
    assert times[0] - times[-1] == (len(times) - 1) * 1000
    assert daemon.stop() == 0


MANY = 500
PACE = 'every = "6s"\noverlap = "allow"\n'


def test_kills_lose_and_double_nothing(make_site: MakeSite) -> None:
    """At whatever point of a fire the daemon dies: each due time is one row, and each row that ran is one job."""
    site = make_site(SECOND + 'overlap = "allow"\ncatch_up = "all"\ncatch_up_window = "1h"\n')
    site.serve().kill()  # the schedule is known from now on
    for number in range(4):
        daemon = site.serve()
        seen = len(site.reads.fires("each-second"))
        until(lambda seen=seen: len(site.reads.fires("each-second")) > seen, "a fire")  # type: ignore[misc]
        SYSTEM.wait(threading.Event(), 0.93 + number * 0.035)  # around the next due time, each time elsewhere
        daemon.kill()
    daemon = site.serve()
    daemon.await_event("schedule.fired")
    assert daemon.stop() == 0
    rows = site.reads.fires("each-second", limit=1000)[::-1]
    assert [row.due_at for row in rows] == list(range(rows[0].due_at, rows[-1].due_at + 1, 1000)), "one is missing"
    jobs = site.reads.jobs(JobFilter(task="add", limit=1000)).jobs
    assert sorted(job.id for job in jobs) == sorted(row.job_id for row in rows if row.job_id)
    assert len(jobs) == len(rows)


def test_two_daemons_started_together_fire_once(make_site: MakeSite) -> None:
    """One of them serves; and what it fires, it fires once."""
    site = make_site(SECOND + 'overlap = "allow"\n')
    both = [site.launch(), site.launch()]
    until(lambda: sum(daemon.alive for daemon in both) == 1, "one of them to give way")
    (daemon,) = [daemon for daemon in both if daemon.alive]
    until(lambda: len(site.reads.fires("each-second")) > 2, "three fires")
    assert daemon.stop() == 0
    rows = site.reads.fires("each-second")
    assert len(site.reads.jobs(JobFilter(task="add", limit=100)).jobs) == len(rows) == len({row.due_at for row in rows})


def test_a_long_job_is_queued_behind_itself_in_the_daemon(make_site: MakeSite) -> None:
    """The next starts when the one before has ended, and not before."""
    site = make_site('[schedules.slow]\ntask = "hold"\npayload = { name = "a" }\nevery = "1s"\noverlap = "queue"\n')
    daemon = site.serve()
    site.await_file("a.running-1")
    until(lambda: any(row.state == "pending" for row in site.reads.fires("slow")), "one that waits")
    assert site.reads.status_counts()["running"] == 1
    site.run("schedules", "pause", "slow")
    until(lambda: any(row.why == "paused" for row in site.reads.fires("slow")), "the pause to hold")
    (first,) = site.reads.turn("slow").runs
    (site.root / "a.go").touch()
    assert first.job_id is not None
    site.await_status(first.job_id, "succeeded")
    site.run("schedules", "resume", "slow")
    until(lambda: site.reads.turn("slow").next is None and not site.reads.turn("slow").runs, "all to be over")
    rows = [row for row in site.reads.fires("slow", limit=1000) if row.job_id]
    jobs = sorted((site.reads.job(row.job_id) for row in rows if row.job_id), key=lambda job: job.started_at or 0)
    assert len(jobs) > 1
    for before, after in pairwise(jobs):
        assert (before.finished_at or 0) <= (after.created_at or 0)
    daemon.stop()


def test_a_reload_adds_and_removes_schedules(make_site: MakeSite) -> None:
    """Without a restart, also where there were none before."""
    site = make_site()
    daemon = site.serve()
    empty = site.config.read_text()
    site.config.write_text(empty + SECOND)
    daemon.signal(signal.SIGHUP)
    daemon.await_event("schedule.fired")
    site.config.write_text(empty)
    daemon.signal(signal.SIGHUP)
    until(lambda: site.reads.schedules() == {}, "the schedule to go")
    count = len(site.reads.fires("each-second"))
    SYSTEM.wait(threading.Event(), 1.5)
    assert len(site.reads.fires("each-second")) == count
    assert daemon.stop() == 0


def test_five_hundred_schedules_of_one_second_are_all_on_time(make_site: MakeSite) -> None:
    """None waits for the others until it is late."""
    site = make_site(
        "".join(
            f'[schedules.s{number}]\ntask = "add"\npayload = {{ a = {number}, b = 1 }}\n{PACE}'
            for number in range(MANY)
        )
    )
    daemon = site.serve()
    until(lambda: len(daemon.events("schedule.fired")) >= MANY, "all of them", 60.0)
    assert daemon.stop() == 0
    states = site.reads.schedules()
    firsts = [site.reads.fires(key, limit=100)[-1] for key in states]
    assert len(firsts) == MANY
    assert {row.outcome for row in firsts} == {"on_time"}
    assert len({row.due_at for row in firsts}) <= 2, "they are due in the same second"


def test_missed_and_late_are_told_after_an_outage(make_site: MakeSite) -> None:
    """What nobody was there for is a fact in `today`, and the newest is made up for."""
    site = make_site(SECOND)
    daemon = site.serve()
    until(site.reads.schedules, "the schedule to be known")
    daemon.kill()
    with Ledger(site.ledger) as ledger:
        ledger.writer.submit(lambda tx: tx.run("UPDATE schedule SET last = last - 259200000")).wait()
    daemon = site.serve()
    missed = daemon.await_event("schedule.missed")
    assert "catch_up_window" in missed["why"]
    until(lambda: any(row.job_id for row in site.reads.fires("each-second")), "the newest to run")
    day = json.loads(site.run("today", "--json", code=1).stdout)
    assert sum(gap["count"] for gap in day["gaps"]) > 80_000
    assert daemon.stop() == 0


FILES = """
from pathlib import Path
from pydantic import FilePath
from millrace import task

@task
def in_a_child(path: FilePath) -> str:
    return path.read_text()

@task(queue="io")
def in_a_thread(path: FilePath) -> str:
    return path.read_text()
"""


def test_a_relative_path_is_read_from_the_folder_of_config_toml(make_site: MakeSite, tmp_path: Path) -> None:
    """The daemon is started from elsewhere, with a relative -c: it is judged and run by the same file, also later."""
    both = "".join(
        f'[schedules.{task}]\ntask = "{task}"\npayload = {{ path = "invoices.csv" }}\nevery = "1s"\n'
        for task in ("in_a_child", "in_a_thread")
    )
    site = make_site(both)
    (site.root / "jobs" / "files.py").write_text(FILES)
    (site.root / "invoices.csv").write_text("of the site")
    (tmp_path / "invoices.csv").write_text("of the caller")
    log = tmp_path / "daemon.log"
    argv = [sys.executable, "-m", "millrace.cli.main", "-c", "site/config.toml", "serve"]
    with log.open("wb") as stderr:
        process = subprocess.Popen(argv, cwd=tmp_path, stdin=subprocess.DEVNULL, stderr=stderr)
    daemon = Served(process, log)
    site.daemons.append(daemon)
    daemon.await_event("daemon.started")
    for name in ("in_a_child", "in_a_thread"):
        until(lambda name=name: site.reads.fires(name), f"a fire of {name}")  # type: ignore[misc]
        job_id = site.reads.fires(name)[0].job_id
        assert site.await_status(job_id or "", "succeeded").result == '"of the site"'
    site.config.write_text(site.config.read_text().replace('drain = "30s"', 'drain = "20s"'))
    daemon.signal(signal.SIGHUP)
    daemon.await_event("settings.reloaded")
    assert daemon.events("schedule.problem") == []
    assert daemon.stop() == 0
