"""
SIGTERM while long jobs run and others wait, again and again.

Proved: each stop ends in order within its bound, with exit 0 and without a process left; what ran is finished or
handed back without a failure; what waited is still there; the next daemon goes on with all of it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from millrace.clock import SYSTEM
from millrace.ledger.rows import NewJob
from tests.faults.referee import Referee
from tests.process.scratch import until

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.conftest import MakeSite

JOBS = 400


@pytest.mark.parametrize("queue", ["default", "io"])
def test_stops_in_the_middle_of_work_cost_nothing(
    make_site: MakeSite, tmp_path: Path, dice: random.Random, rounds: Callable[[int], int], queue: str
) -> None:
    """Short, middling and long jobs, with a drain time that only the short ones can use."""
    site = make_site("[queues.spare]\nworkers = 1\n")
    text = site.config.read_text().replace('grace = "500ms"', 'grace = "500ms"\ndrain = "100ms"')
    site.config.write_text(text)
    referee = Referee(site, tmp_path / "acks.log")
    lengths = [dice.choice((0, 0, 2, 10, 100)) for _ in range(JOBS)]
    site.put(*(NewJob("mark", queue, f'{{"ms":{ms},"n":{n}}}') for n, ms in enumerate(lengths)))
    for _ in range(rounds(4)):
        daemon = site.serve()
        before = referee.marks_size()
        until(lambda: referee.marks_size() > before, "jobs to run")  # noqa: B023 - called at once
        SYSTEM.wait(threading.Event(), dice.uniform(0, 0.6))  # the moment is the point: any will do
        assert daemon.stop() == 0
        assert referee.rows("SELECT count(*) FROM job WHERE status = 'running'") == [(0,)]
        referee.judge_leavings()
        if not referee.rows("SELECT 1 FROM job WHERE status = 'queued' LIMIT 1"):
            break
    daemon = site.serve()
    referee.await_rest(60)
    referee.judge()
    assert daemon.stop() == 0
    referee.judge_leavings()
    outcomes = dict(referee.rows("SELECT outcome, count(*) FROM attempt GROUP BY outcome"))
    assert outcomes.pop("succeeded") == JOBS
    assert set(outcomes) <= {"released"}, outcomes
