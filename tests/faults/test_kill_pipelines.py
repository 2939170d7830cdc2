"""
`kill -9` of the daemon and of children at random moments of a fan-out and of its joins.

Proved: each record has each stage's outcome exactly once, the collect sees each once, bad items are dead letters once,
the counters of the run agree with its rows, and so does the conservation balance.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
from collections import Counter
from typing import TYPE_CHECKING

from millrace.clock import SYSTEM
from tests.faults.referee import Referee
from tests.process.scratch import until

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from tests.faults.conftest import MakeSite
    from tests.process.scratch import Scratch, Served

COUNT = 600
BAD = COUNT // 50
LIMIT_S = 120.0
JOBS = "SELECT stage, status, record, result, run_id FROM job"
CONFIG = """
max_backlog = 200  # of the thread queue: its fan-out pauses on its way, more than once
[queues.default]
workers = 3
max_backlog = 200
"""


def kill_children(site: Scratch, dice: random.Random) -> None:
    """Kill some children, in the midst of whatever they do."""
    pids = [row.pid for row in site.reads.children()]
    for pid in dice.sample(pids, min(len(pids), dice.choice((0, 1, 2)))):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def torment(site: Scratch, daemon: Served, run_ids: list[str], dice: random.Random) -> Served:
    """Kill children now and then, and the daemon up to three times, while the runs are open."""
    for _ in range(3):
        SYSTEM.wait(threading.Event(), dice.uniform(0.05, 1.5))  # the moment is the point: any will do
        kill_children(site, dice)
        SYSTEM.wait(threading.Event(), dice.uniform(0.0, 0.5))
        if all(site.reads.run(run_id).status != "running" for run_id in run_ids):
            break
        daemon.kill()
        daemon = site.serve()
    return daemon


def judge(site: Scratch, referee: Referee, run_id: str) -> None:
    """Compare what the ledger has of a run with what its source must have come to."""
    run = site.reads.run(run_id)
    good = [n for n in range(1, COUNT + 1) if n % 50]
    assert (run.status, run.records, run.edition) == ("partial", {"item": len(good)}, 1), run
    rows = [row[:4] for row in referee.rows(JOBS) if row[4] == run_id]
    seen = Counter((stage, record) for stage, _, record, _ in rows)
    assert max(seen.values()) == 1, seen.most_common(3)
    for stage in ("left", "right", "joined", "met"):
        assert sorted(int(record) for name, _, record, _ in rows if name == stage) == good, stage
    for stage, rest in (("odd", 1), ("even", 0)):
        assert sorted(int(record) for name, _, record, _ in rows if name == stage) == [n for n in good if n % 2 == rest]
    dead = sorted((stage, int(record)) for stage, status, record, _ in rows if status == "dead")
    assert dead == [("item", n) for n in range(50, COUNT + 1, 50)]
    total = json.loads(next(result for stage, _, _, result in rows if stage == "total"))
    assert total == {"met": good, "odd": sum(n % 2 for n in good), "dead": BAD}
    by_rows = Counter((stage, status) for stage, status, _, _ in rows)
    by_counters = {
        (stage, status): number
        for stage, counts in run.counts.items()
        for status, number in counts.items()
        if status != "skipped"
    }
    assert by_counters == by_rows
    assert sum(run.counts[stage].get("skipped", 0) for stage in ("odd", "even")) == len(good)


def test_a_pipeline_survives_kills_of_its_daemon_and_its_children(
    make_site: MakeSite, dice: random.Random, rounds: Callable[[int], int]
) -> None:
    """A run in threads and one in processes, in each round; nobody knows where the kills meet them."""
    site = make_site(CONFIG)
    referee = Referee(site, site.root / "acks.log")
    daemon = site.serve()
    for _ in range(rounds(2)):
        run_ids = [
            json.loads(site.run("run", flow, f"count={COUNT}", "--json").stdout)["id"]
            for flow in ("threads", "processes")
        ]
        daemon = torment(site, daemon, run_ids, dice)
        for run_id in run_ids:
            until(
                lambda: site.reads.run(run_id).status != "running",  # noqa: B023 - called at once
                lambda: f"the end of {site.reads.run(run_id)}",  # noqa: B023
                LIMIT_S,
            )
            judge(site, referee, run_id)
    killed = referee.rows("SELECT count(*) FROM job WHERE attempt > 1 AND stage <> 'item'")[0][0]
    balance = site.reads.balance(count_rows=True)
    assert (balance.difference, balance.details) == (0, [])
    assert daemon.stop() == 0
    referee.judge_leavings()
    assert killed, "no kill met a job: the test proves nothing"
