"""
`kill -9` of the daemon at random moments, while another process submits and jobs run.

Proved: no acknowledged job is lost, none runs twice at once, attempts only rise and each is in the history, nobody is
blamed for the daemon's death, the counters agree with the rows, the processes of the dead daemon are gone before its
jobs run again, and nothing is left over at the end.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from millrace.clock import SYSTEM
from tests.faults.referee import Referee
from tests.process.scratch import until

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.process.scratch import Scratch, Served

JOBS = 2000
SUBMITTER = Path(__file__).with_name("submitter.py")


def submitting(site: Scratch, queue: str, first: int, acks: Path, seed: int) -> subprocess.Popen[bytes]:
    """Start the outsider."""
    places = [str(site.config), f"http://127.0.0.1:{site.port}", str(site.state / "admin.token")]
    return subprocess.Popen(
        [sys.executable, str(SUBMITTER), *places, queue, str(first), str(JOBS), str(acks), str(seed)], cwd=site.root
    )


def starts_of(pids: list[int]) -> dict[int, bytes]:
    """Return the start times of those that live, so that a pid that is given again is not taken for the old one."""
    found = {}
    for pid in pids:
        try:
            facts = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b") ")[2].split()
        except OSError:
            continue
        if facts[0] not in b"ZX":  # the dead wait for whoever adopted them to look
            found[pid] = facts[19]
    return found


def kill_and_restart(site: Scratch, daemon: Served, dice: random.Random) -> Served:
    """Kill the daemon, sometimes its successor too while that one starts; return one that serves."""
    daemon.kill()
    left = starts_of(site.marked())
    while dice.random() < 0.4:
        young = site.launch()
        SYSTEM.wait(threading.Event(), dice.uniform(0.05, 1.2))  # the moment is the point: any will do
        young.kill()
        left |= starts_of(site.marked())
    after = site.serve()
    alive = {pid: ticks for pid, ticks in starts_of(list(left)).items() if left[pid] == ticks}
    assert not alive, f"processes of the dead daemon live beside the new one: {alive}"
    return after


@pytest.mark.parametrize("queue", ["io", "default"])
def test_a_killed_daemon_loses_and_doubles_nothing(
    site: Scratch, tmp_path: Path, dice: random.Random, rounds: Callable[[int], int], queue: str
) -> None:
    """2,000 jobs a round; the kill comes while they run, at a moment that nobody chose."""
    acks = tmp_path / "acks.log"
    referee = Referee(site, acks)
    daemon = site.serve()
    for number in range(rounds(4)):
        before = referee.marks_size()
        with submitting(site, queue, number * JOBS, acks, dice.randrange(10**9)) as submitter:
            for _ in range(dice.choice((1, 1, 2))):
                until(lambda: referee.marks_size() > before, "jobs to run")  # noqa: B023 - called at once
                SYSTEM.wait(threading.Event(), dice.uniform(0, 1.0))
                daemon = kill_and_restart(site, daemon, dice)
            assert submitter.wait(60) == 0
        referee.await_rest(60)
        assert len(referee.acknowledged()) == (number + 1) * JOBS
        assert referee.rows("SELECT count(*) FROM job") == [((number + 1) * JOBS,)], "a repeated request made two jobs"
    referee.judge()
    assert daemon.stop() == 0
    referee.judge_leavings()
    assert any(effect.attempt > 1 for effect in referee.effects()), "no kill met a running job: the test proves nothing"
