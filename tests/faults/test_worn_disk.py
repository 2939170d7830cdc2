"""
A disk on which no file can be made any more, and one that the kernel makes read-only under a running daemon.

Proved: without inodes the daemon goes on with what needs none, asks for no more work, and catches up by itself; on a
read-only disk it stops loudly, once, and whatever it had acknowledged is finished once the disk can be written again.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from millrace.ledger.rows import NewJob
from tests.faults.mounts import break_disk, ext4, mounted
from tests.faults.referee import Poller, Referee, judge_log
from tests.process.scratch import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.process.scratch import Scratch

SEVERAL = 20


def jobs_of(queue: str, first: int) -> list[NewJob]:
    """Return some short jobs."""
    return [NewJob("mark", queue, f'{{"n":{first + n}}}') for n in range(SEVERAL)]


def test_a_disk_without_inodes_delays_what_needs_one_and_loses_nothing(site: Scratch, tmp_path: Path) -> None:
    """There are gigabytes free, and yet no file can be made: no folder for a new child either."""
    referee = Referee(site, tmp_path / "acks.log")
    with mounted(site.state, "size=64m,nr_inodes=80"):
        daemon = site.serve()
        jobs = site.put(*jobs_of("io", 0))
        referee.await_rest(30)
        ballast = site.state / "ballast"
        ballast.mkdir()
        with suppress(OSError):
            for n in range(80):
                (ballast / f"file-{n}").touch()
        until(lambda: site.ask("GET", "/readyz").status_code == 503, "the daemon to ask for no more work")
        assert "0 files can still be made" in site.ask("GET", "/readyz").json()["why"]
        assert "No space left" in site.run("doctor", code=1).stdout
        jobs += site.put(*jobs_of("default", 100), *jobs_of("io", 200))
        until(lambda: len(referee.ended()) == 2 * SEVERAL, "jobs in threads, which need no file, to be done")
        waiting = {site.reads.job(job).status for job in jobs[SEVERAL : 2 * SEVERAL]}
        assert waiting <= {"waiting", "queued", "running"}
        shutil.rmtree(ballast)
        until(lambda: site.ask("GET", "/readyz").status_code == 200, "the daemon to be ready again")
        referee.acks.write_text("".join(f"{job} 0\n" for job in jobs))
        referee.await_rest(60)
        referee.judge()
        assert daemon.stop() == 0
        judge_log(daemon)
        referee.judge_leavings()
        site.__exit__()


def test_a_disk_that_becomes_read_only_stops_the_daemon_and_loses_nothing(site: Scratch, tmp_path: Path) -> None:
    """The kernel does so when it meets an error: what is not on the disk by then must not be acknowledged."""
    referee = Referee(site, tmp_path / "acks.log")
    image = tmp_path / "disk"
    with ext4(site.state, image):
        daemon = site.serve()
        jobs = site.put(*jobs_of("io", 0))
        jobs += [site.submit("until_file", queue=queue, n=n, name="go") for n, queue in ((98, "io"), (99, "default"))]
        until(lambda: len([e for e in referee.effects() if e.kind == "start"]) == SEVERAL + 2, "jobs to run")
        with Poller(site) as poller:
            assert set(poller.next()) == {200}
            break_disk(site.state)
            answer = site.ask("POST", "/api/v1/jobs", json={"task": "mark", "queue": "io", "payload": {"n": 500}})
            assert answer.status_code == 500
            daemon.await_event("daemon.failed")
            assert 200 not in poller.next()
        assert daemon.end() == 1
        judge_log(daemon)
        successor = site.launch()
        assert successor.end() == 78
        assert "Read-only file system" in successor.text()
        assert "read-only" in site.run("submit", "mark", "n=501", code=1).stderr
        assert "Read-only file system" in site.run("doctor", code=1).stdout
        assert site.marked() == [], "processes outlived a daemon that stopped by itself"
        site.__exit__()
    with ext4(site.state, image):
        (site.root / "go").touch()
        daemon = site.serve()
        referee.acks.write_text("".join(f"{job} 0\n" for job in jobs))
        referee.await_rest(60)
        referee.judge()
        assert daemon.stop() == 0
        referee.judge_leavings("lost+found")
        site.__exit__()
