"""
`kill -9` of the daemon and of children at random moments of runs: in the midst of a fan-out, of joins, of a collect.

Proved: each record has the outcome of each stage exactly once, with the right value, the collect sees each once,
attempts rise without a gap and none meets another, the counters of runs and queues agree with the rows, and nothing is
left over at the end.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import threading
from typing import TYPE_CHECKING, NamedTuple

import pytest

from millrace.clock import SYSTEM
from tests.faults.runs_referee import LIMIT_S, OPEN, RunsReferee
from tests.faults.test_kill_daemon import kill_and_restart
from tests.process.scratch import until

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from millrace.ledger.run_rows import RunRow
    from tests.faults.conftest import MakeSite
    from tests.process.scratch import Scratch, Served

COUNT = 300
LONG = 1200  # its fan-out takes three seconds and more
BOTH = ["in_threads", "in_processes"]


@pytest.fixture
def referee(site: Scratch, tmp_path: object) -> RunsReferee:
    """Judge the runs of the site."""
    return RunsReferee(site, site.root / "acks.log")


class Moment(NamedTuple):
    """When something is killed: once a stage has ended for so many records, or has begun for the run."""

    stage: str
    number: int

    def has_come(self, run: RunRow) -> bool:
        """Return whether it is there, or has passed with the run's end."""
        if run.status != "running":
            return True
        if self.stage == "part":
            return run.records.get("part", 0) >= self.number
        counts = run.counts.get(self.stage, {})
        return counts.get("succeeded", 0) >= self.number or (self.stage == "total" and any(map(counts.get, OPEN)))


def moments(dice: random.Random) -> list[Moment]:
    """Return some moments of a run, in order: one in its fan-out, others wherever."""
    later = [Moment(stage, dice.randrange(1, COUNT)) for stage in ("joined", "way", "met")] + [Moment("total", 1)]
    chosen = dice.sample(later, dice.randint(1, 3))
    return [Moment("part", dice.randrange(1, COUNT // 2)), *(moment for moment in later if moment in chosen)]


def kill_children(site: Scratch, dice: random.Random) -> None:
    """Kill one or two children, in the midst of whatever they do."""
    pids = [row.pid for row in site.reads.children()]
    for pid in dice.sample(pids, min(len(pids), dice.choice((1, 1, 2)))):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, dice.choice((signal.SIGKILL, signal.SIGSEGV)))


def wait(dice: random.Random, most_s: float) -> None:
    """Let some time pass: the moment is the point, any will do."""
    SYSTEM.wait(threading.Event(), dice.uniform(0, most_s))


def good_end(site: Scratch, referee: RunsReferee, run_id: str) -> list[int]:
    """
    Wait for a run's good end; return the editions of which there is a collect.

    Whoever kills at random may hit a job three times: it is poison then, rightly, and is put back by hand.
    """
    editions = 1
    while (run := referee.await_end(run_id)).status != "succeeded":
        poisoned = referee.rows("SELECT min(crashes) FROM job WHERE status <> 'succeeded' AND run_id = ?", (run_id,))
        assert poisoned == [(3,)], run
        site.run("runs", "resume", run_id)
        editions += 1
    made = referee.rows("SELECT record FROM job WHERE stage = 'total' AND run_id = ?", (run_id,))
    found = sorted(int(record[1:]) if record else 1 for (record,) in made)
    assert len(found) <= editions
    return found


def test_runs_come_to_their_good_end_whatever_is_killed(
    site: Scratch, referee: RunsReferee, dice: random.Random, rounds: Callable[[int], int]
) -> None:
    """300 records a run; in processes, in threads, and two runs of each beside each other, in turns."""
    daemon = site.serve()
    again: set[str] = set()
    most = max(4, rounds(1))
    for number in itertools.count():
        if number >= most and ("part" in again or number >= 3 * most):  # luck may miss the fan-outs of all
            break
        flows = (BOTH[1:], BOTH[:1], BOTH, BOTH * 2)[number % 4]
        runs = [referee.start(flow, count=COUNT) for flow in flows]
        watched = dice.choice(runs)
        for place, moment in enumerate(moments(dice)):
            until(lambda: moment.has_come(referee.run(watched)), f"{moment} of a run", LIMIT_S)  # noqa: B023 - at once
            wait(dice, 0.3 if place else 0.1)
            if dice.random() < (0.4 if place else 0.8):
                daemon = kill_and_restart(site, daemon, dice)
            else:
                kill_children(site, dice)
        for run_id in runs:
            referee.judge_run(run_id, COUNT, editions=good_end(site, referee, run_id))
        again = {stage for (stage,) in referee.rows("SELECT DISTINCT stage FROM job WHERE attempt > 1")}
    referee.judge(failures=None)
    assert daemon.stop() == 0
    referee.judge_leavings()
    assert "part" in again, "no kill met a fan-out: the test proves nothing"
    assert again & {"left", "right", "joined", "way", "met"}, "no kill met a join: the test proves nothing"


def kill_in_its_midst(site: Scratch, daemon: Served, dice: random.Random, *words: str) -> Served:
    """Run a command and kill it, and the daemon, at any moment; return the daemon's successor."""
    command = subprocess.Popen(site.argv(*words), cwd=site.root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with command:
        wait(dice, 1.5)
        if dice.random() < 0.5:
            command.kill()
        daemon = kill_and_restart(site, daemon, dice)
        command.wait(LIMIT_S)
    return daemon


@pytest.mark.parametrize("flow", BOTH)
def test_a_run_is_cancelled_and_resumed_though_all_who_do_it_are_killed(
    site: Scratch, referee: RunsReferee, dice: random.Random, rounds: Callable[[int], int], flow: str
) -> None:
    """In the midst of its fan-out; how far a cancellation or a resume has come is in the ledger, not in a process."""
    daemon = site.serve()
    for _ in range(rounds(1)):
        run_id = referee.start(flow, count=LONG)
        referee.await_records(run_id)
        wait(dice, 0.5)
        assert site.ask("POST", f"/api/v1/runs/{run_id}/cancel").status_code in {200, 202}
        wait(dice, 0.05)
        daemon = kill_and_restart(site, daemon, dice)
        run = referee.await_end(run_id)
        assert (run.status, any(map(sum, open_counts(run)))) == ("cancelled", False)
        assert 0 < run.records["part"] < LONG, "it was not in the midst of its fan-out"
        daemon = kill_in_its_midst(site, daemon, dice, "runs", "resume", run_id)
        if referee.run(run_id).status == "cancelled":  # it was killed before it did anything
            site.run("runs", "resume", run_id)
        assert referee.await_end(run_id).status == "succeeded"
        referee.judge_run(run_id, LONG)
    referee.judge(failures=None)
    assert daemon.stop() == 0
    referee.judge_leavings()


def open_counts(run: RunRow) -> list[list[int]]:
    """Return how many jobs of each stage are open, by status."""
    return [[counts.get(status, 0) for status in OPEN] for counts in run.counts.values()]


@pytest.mark.parametrize("flow", BOTH)
def test_dead_records_come_into_a_second_edition_once_though_all_who_do_it_are_killed(
    site: Scratch, referee: RunsReferee, dice: random.Random, rounds: Callable[[int], int], flow: str
) -> None:
    """More of them than one transaction puts back; between two of those there is time to be killed, and to collect."""
    daemon = site.serve()
    for _ in range(rounds(1)):
        cure = site.root / "cured"
        cure.unlink(missing_ok=True)
        run_id = referee.start(flow, count=900, ill=2)
        assert referee.await_end(run_id).status == "partial"
        referee.judge_run(run_id, 900, ill=range(2, 901, 2))
        cure.touch()
        daemon = kill_in_its_midst(site, daemon, dice, "runs", "resume", run_id)
        if referee.run(run_id).status == "partial":  # it was killed before it did anything
            daemon = kill_in_its_midst(site, daemon, dice, "runs", "resume", run_id)
        if referee.run(run_id).status == "partial":
            site.run("runs", "resume", run_id)
        assert referee.await_end(run_id).status == "succeeded"
        referee.judge_run(run_id, 900, editions=(1, 2))
    referee.judge(failures=None)
    assert daemon.stop() == 0
    referee.judge_leavings()


@pytest.mark.parametrize("flow", BOTH)
def test_a_resume_ends_though_all_that_it_puts_back_dies_again(site: Scratch, referee: RunsReferee, flow: str) -> None:
    """It takes them in parts: what died again since the first of them is left for the next resume."""
    site.serve()
    run_id = referee.start(flow, count=500, ill=1)
    assert referee.await_end(run_id).status == "partial"
    told = site.run("runs", "resume", run_id).stdout
    assert "500 jobs put back" in told
    assert referee.await_end(run_id).status == "partial"
    assert site.ask("POST", f"/api/v1/runs/{run_id}/resume").status_code == 202
    run = referee.await_end(run_id)
    assert (run.status, run.edition) == ("partial", 3)
    assert referee.rows("SELECT DISTINCT attempt FROM job WHERE stage = 'left'") == [(3,)]
    referee.judge_run(run_id, 500, ill=range(1, 501), editions=(1, 2, 3))
    referee.judge(failures=None, statuses=frozenset({"succeeded", "dead"}))


@pytest.mark.parametrize("flow", BOTH)
def test_a_source_that_changed_while_the_daemon_was_dead_is_refused_until_it_is_put_right(
    site: Scratch, referee: RunsReferee, dice: random.Random, flow: str
) -> None:
    """Half of one source and half of another would be a run that nobody can explain."""
    daemon = site.serve()
    run_id = referee.start(flow, count=LONG)
    referee.await_records(run_id)
    daemon.kill()
    brought = referee.run(run_id).records["part"]
    (site.root / "source.shifted").write_text("1")
    daemon = site.serve()
    run = referee.await_end(run_id)
    error = site.reads.job(referee.job(run_id, "part")).error
    assert (run.status, run.records["part"], error and error.type) == ("failed", brought, "SourceChanged")
    assert not run.counts.get("total")
    (site.root / "source.shifted").unlink()
    kill_in_its_midst(site, daemon, dice, "runs", "resume", run_id)
    if referee.run(run_id).status == "failed":
        site.run("runs", "resume", run_id)
    assert referee.await_end(run_id).status == "succeeded"
    referee.judge_run(run_id, LONG)
    referee.judge(failures=None)


@pytest.mark.parametrize("flow", BOTH)
def test_a_fan_out_that_waits_for_its_backlog_outlives_its_daemon(
    make_site: MakeSite, dice: random.Random, flow: str
) -> None:
    """It waits for no time and holds no worker: only the ledger knows that it is to go on."""
    site = make_site("max_backlog = 100\n[queues.default]\nworkers = 2\nmax_backlog = 100\n")
    referee = RunsReferee(site, site.root / "acks.log")
    daemon = site.serve()
    run_id = referee.start(flow, count=LONG)
    referee.await_records(run_id)
    queue = site.reads.job(referee.job(run_id, "part")).queue
    site.run("queues", "pause", queue)
    until(lambda: not any(map(sum, [counts[2:] for counts in open_counts(referee.run(run_id))])), "all to wait")
    daemon = kill_and_restart(site, daemon, dice)
    assert referee.run(run_id).status == "running"
    site.run("queues", "resume", queue)
    wait(dice, 1.0)
    kill_and_restart(site, daemon, dice)
    assert referee.await_end(run_id).status == "succeeded"
    referee.judge_run(run_id, LONG)
    referee.judge(failures=None)
    parked = referee.rows("SELECT count(*) FROM attempt WHERE outcome = 'parked'")
    assert parked[0][0] > 0, "the fan-out never waited: the test proves nothing"


@pytest.mark.parametrize("flow", BOTH)
def test_a_result_of_fifty_megabytes_kills_its_record_only(site: Scratch, referee: RunsReferee, flow: str) -> None:
    """It does not fit into the ledger; daemon, child and the other records go on."""
    daemon = site.serve()
    run_id = referee.start(flow, count=20, huge=7)
    run = referee.await_end(run_id)
    row = site.reads.job(referee.job(run_id, "right", "7"))
    assert (run.status, row.status, row.error and row.error.type) == ("partial", "dead", "ResultTooLarge")
    assert run.counts["met"] == {"succeeded": 19}
    assert len(row.error.message if row.error else "") < 1000
    assert daemon.alive
    assert [child["why"] for child in daemon.events("child.ended") if child["why"] == "crashed"] == []
