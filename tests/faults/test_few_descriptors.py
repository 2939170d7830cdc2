"""
A limit of open files that is low, and clients who hold more connections than it has room for.

Proved: with 64 the daemon does not start, and says what it needs; with little more than that it works, and who connects
and says nothing costs others nothing: requests are answered, jobs run, nothing is lost, and the log stays short.
"""

from __future__ import annotations

import shutil
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tests.faults.referee import Referee
from tests.process.scratch import LIMIT_S

if TYPE_CHECKING:
    from tests.process.scratch import Scratch

PRLIMIT = shutil.which("prlimit") or "prlimit"
LITTLE = 64
ENOUGH = 256  # 96 for itself, 8 for each of 10 workers, 32 for connections, and some
GREEDY = 400
JOBS = 40


def send(site: Scratch, n: int) -> str:
    """Submit a job, to either queue in turns; return its id."""
    body = {"task": "mark", "queue": ("io", "default")[n % 2], "payload": {"n": n}}
    answer = site.ask("POST", "/api/v1/jobs", json=body)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def test_a_limit_that_is_too_low_is_refused_in_clear_words(site: Scratch) -> None:
    """It would start, and fail at the first job or the first look, by chance."""
    daemon = site.launch(before=[PRLIMIT, f"--nofile={LITTLE}:{LITTLE}"])
    assert daemon.end() == 78
    assert "only 64 files may be open" in daemon.text()
    assert "Traceback" not in daemon.text()
    assert not site.ledger.exists()


def test_the_limit_is_raised_as_far_as_it_may_be(site: Scratch) -> None:
    """What a shell allows at first is less than what it would allow who asks."""
    site.launch(before=[PRLIMIT, f"--nofile={LITTLE}:4096"]).await_event("daemon.started")


def test_greedy_clients_cost_neither_work_nor_the_daemon(site: Scratch, tmp_path: Path) -> None:
    """Whoever connects and says nothing takes a descriptor; a thousand of them are no attack, but a broken pool."""
    daemon = site.launch(before=[PRLIMIT, f"--nofile={ENOUGH}:{ENOUGH}"])
    daemon.await_event("daemon.started")
    referee = Referee(site, tmp_path / "acks.log")
    accepted = {}
    with ExitStack() as stack:
        for _ in range(GREEDY):
            held = stack.enter_context(socket.socket())
            held.settimeout(LIMIT_S)
            held.connect(("127.0.0.1", site.port))
        for n in range(1, JOBS):
            accepted[send(site, n)] = n
        referee.acks.write_text("".join(f"{job} {n}\n" for job, n in accepted.items()))
        referee.await_rest(60)
        files = len(list(Path(f"/proc/{daemon.pid}/fd").iterdir()))
    assert files < ENOUGH
    referee.judge()
    assert len(accepted) == JOBS - 1
    assert not [line for line in daemon.text().splitlines() if '"level": "info"' not in line]
    assert daemon.stop() == 0
    referee.judge_leavings()
