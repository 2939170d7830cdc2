"""
Another process holds the ledger's write lock for more than ten seconds: a shell that forgot to commit, a backup tool.

Proved: nothing is refused and nothing is lost, writes wait and then go through; the daemon says what it waits for and
is not restarted by its watchdog; reading goes on meanwhile.
"""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

import apsw

from millrace.ledger.rows import NewJob
from tests.faults.referee import Referee, judge_log
from tests.process.scratch import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.process.scratch import Scratch

JOBS = 200
WAITS = 2  # the daemon tells of each five seconds
MOST_WAITS = 12  # a minute, with FAULT_ROUNDS of six and more


def test_a_locked_ledger_delays_and_loses_nothing(site: Scratch, tmp_path: Path, rounds: Callable[[int], int]) -> None:
    """Jobs that end, requests that come, and a command, all while nothing can be written."""
    daemon = site.serve()
    referee = Referee(site, tmp_path / "acks.log")
    slow = site.put(*(NewJob("mark", "io", f'{{"ms":300,"n":{n}}}') for n in range(4)))
    until(lambda: len(referee.effects()) >= len(slow), "jobs to run")
    other = apsw.Connection(str(site.ledger))
    other.set_busy_timeout(5000)
    other.execute("BEGIN IMMEDIATE")
    argv = site.argv("submit", "mark", "n=999", "--queue", "io")
    with (
        ThreadPoolExecutor(8) as pool,
        site.client() as client,
        closing(other),  # ends the transaction also when the test fails, so that nobody waits for ever
        subprocess.Popen(argv, cwd=site.root, stdout=subprocess.PIPE, text=True) as command,
    ):
        posts = [
            pool.submit(client.post, "/api/v1/jobs", json={"task": "mark", "queue": "io", "payload": {"n": 10 + n}})
            for n in range(JOBS)
        ]
        waits = min(rounds(WAITS), MOST_WAITS)
        until(lambda: len(daemon.events("ledger.locked")) >= waits, "the daemon to say that it waits", limit_s=120)
        assert not any(post.done() for post in posts), "acknowledged while nothing could be written"
        assert command.poll() is None, "the command did not wait"
        assert site.ask("GET", "/livez").status_code == 200
        assert site.ask("GET", f"/api/v1/jobs/{slow[0]}").status_code == 200, "reading waits for a writer"
        other.execute("ROLLBACK")
        answers = [post.result(timeout=60) for post in posts]
        told, _ = command.communicate(timeout=60)
    assert {answer.status_code for answer in answers} == {202}
    assert command.returncode == 0
    accepted = [*slow, told.strip(), *(answer.json()["id"] for answer in answers)]
    referee.acks.write_text("".join(f"{job} 0\n" for job in accepted))
    referee.await_rest(30)
    referee.judge()
    assert referee.rows("SELECT count(*), sum(attempt) FROM job") == [(JOBS + 5, JOBS + 5)], "a job ran more than once"
    judge_log(daemon, most=waits + 2)
    assert daemon.stop() == 0
