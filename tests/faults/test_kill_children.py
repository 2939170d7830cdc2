"""
Children that die at random, by KILL, SEGV and `os._exit(0)`, and daemons that die with jobs in their threads.

Proved: each death costs one attempt and one failure and is named in the history; a job whose own child died three
times is poison and goes to the dead letters, and nobody else is delayed; a daemon's death makes no poison; a job whose
daemon died twice while it ran in a thread runs in a process of its own the next time.
"""

from __future__ import annotations

import os
import signal
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

    from tests.process.scratch import Scratch

JOBS = 300
WORDS = {"KILL": "SIGKILL", "SEGV": "SIGSEGV"}


@pytest.fixture
def referee(site: Scratch, tmp_path: Path) -> Referee:
    """Judge the site by the marks of its jobs; nothing is acknowledged to anybody outside."""
    return Referee(site, tmp_path / "acks.log")


def test_children_killed_from_outside_cost_attempts_and_nothing_else(
    site: Scratch, referee: Referee, dice: random.Random, rounds: Callable[[int], int]
) -> None:
    """The kernel's memory killer and a person's `kill` choose whom they like; every job is done all the same."""
    daemon = site.serve()
    number = rounds(1) * JOBS
    site.put(*(NewJob("mark", "default", f'{{"ms":{dice.choice((0, 1, 5, 20))},"n":{n}}}', max_attempts=50)
               for n in range(number)))  # fmt: skip
    killed = 0
    while len(referee.ended()) < number:
        SYSTEM.wait(threading.Event(), dice.uniform(0.02, 0.3))  # the moment is the point: any will do
        children = [row.pid for row in site.reads.children()]
        if children:
            try:
                os.kill(dice.choice(children), dice.choice((signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM)))
            except ProcessLookupError:
                continue
            killed += 1
    referee.await_rest(30)
    assert killed > 5, "the jobs were over before anything was killed"
    referee.judge(failures=None, statuses=frozenset({"succeeded", "dead"}))
    wrong = referee.rows("SELECT id, failures, crashes, status FROM job WHERE status = 'dead' AND crashes < 3")
    assert not wrong, wrong
    lost = referee.rows("SELECT count(*) FROM attempt WHERE outcome NOT IN ('succeeded', 'retried', 'gave_up')")
    assert lost == [(0,)]
    assert daemon.stop() == 0
    referee.judge_leavings()


@pytest.mark.parametrize("how", ["KILL", "SEGV", "exit"])
def test_a_child_that_dies_costs_its_job_one_attempt(site: Scratch, referee: Referee, how: str) -> None:
    """Two deaths are an accident: the third attempt succeeds, and the history says what happened to the others."""
    site.serve()
    job = site.submit("die", n=1, how=how, times=2)
    row = site.await_final(job)
    assert (row.status, row.attempt, row.failures, row.crashes) == ("succeeded", 3, 2, 2)
    attempts = site.reads.attempts(job)
    assert [attempt.outcome for attempt in attempts] == ["retried", "retried", "succeeded"]
    facts = attempts[0].facts
    assert (facts.get("signal"), facts.get("exit_code")) == ((WORDS[how], None) if how in WORDS else (None, 0))
    referee.judge(failures=None)


def test_a_job_that_kills_three_children_is_poison_and_delays_nobody(site: Scratch, referee: Referee) -> None:
    """It has retries left, and yet it would take worker after worker down; those beside it must not wait for that."""
    daemon = site.serve()
    poison = site.submit("die", n=1, how="SEGV", times=99, retries=20)
    others = site.put(*(NewJob("mark", "default", f'{{"ms":1,"n":{n + 2}}}') for n in range(200)))
    row = site.await_final(poison)
    assert (row.status, row.crashes, row.failures, row.attempt) == ("dead", 3, 3, 3)
    assert site.reads.attempts(poison)[-1].facts["cause"] == "poison"
    assert [attempt.facts["signal"] for attempt in site.reads.attempts(poison)] == ["SIGSEGV"] * 3
    rows = [site.await_final(job) for job in others]
    assert {(row.status, row.attempt, row.failures) for row in rows} == {("succeeded", 1, 0)}
    referee.judge(failures=None, statuses=frozenset({"succeeded", "dead"}))
    assert daemon.stop() == 0
    referee.judge_leavings()


def test_others_are_done_while_a_poisonous_job_still_runs(site: Scratch, referee: Referee) -> None:
    """They come with it and after it, on the same two workers; none waits for it, none goes down with it."""
    site.serve()
    job = NewJob("fragile", "default", '{"crash":"go","n":1,"name":"go","times":99}', max_attempts=21)
    poison, *others = site.put(job, *(NewJob("mark", "default", f'{{"ms":0,"n":{n + 2}}}') for n in range(200)))
    assert {site.await_final(other).attempt for other in others} == {1}
    assert site.reads.job(poison).status == "running"
    (site.root / "go").touch()
    late = site.put(*(NewJob("mark", "default", f'{{"ms":1,"n":{n + 300}}}') for n in range(100)))
    assert {(row.status, row.attempt) for row in map(site.await_final, late)} == {("succeeded", 1)}
    row = site.await_final(poison)
    assert (row.status, row.crashes, row.attempt) == ("dead", 3, 3)
    assert [attempt.facts["signal"] for attempt in site.reads.attempts(poison)] == ["SIGKILL"] * 3
    shown = site.run("dead", "show", poison).stdout
    assert "it has taken down its process three times" in shown
    assert shown.count("SIGKILL") >= 3, shown
    referee.judge(failures=None, statuses=frozenset({"succeeded", "dead"}))


def test_two_crashes_of_its_own_and_three_kills_of_the_daemon_make_no_poison(site: Scratch, referee: Referee) -> None:
    """Together they would be five; only its own count."""
    (site.root / "go").touch()
    job = site.submit("fragile", n=1, crash="go", times=2, name="done", retries=20)
    for kill in range(3):
        daemon = site.serve()
        until(lambda: site.reads.job(job).attempt == kill + 3, "the job to run")  # noqa: B023 - called at once
        until(lambda: referee.effects()[-1].attempt == kill + 3, "the job to start")  # noqa: B023
        daemon.kill()
    (site.root / "done").touch()
    site.serve()
    row = site.await_final(job)
    assert (row.status, row.crashes, row.failures, row.attempt) == ("succeeded", 2, 2, 6)
    outcomes = [attempt.outcome for attempt in site.reads.attempts(job)]
    assert outcomes == ["retried"] * 2 + ["lost"] * 3 + ["succeeded"]
    referee.judge(failures=None)


@pytest.mark.parametrize("queue", ["default", "io"])
def test_four_kills_of_the_daemon_make_no_poison(site: Scratch, referee: Referee, queue: str) -> None:
    """The daemon's death is not the job's; but one that ran in its threads twice by then is put into a process."""
    job = site.submit("until_file", queue=queue, n=1, name="go")
    pids: list[int] = []
    daemons: list[int] = []
    for _ in range(4):
        daemon = site.serve()
        number = len(pids)
        until(lambda: len(referee.effects()) > number, "the job to start")  # noqa: B023 - called at once
        pids.append(referee.effects()[-1].pid)
        daemons.append(daemon.pid)
        daemon.kill()
    if queue == "io":
        inside = [pid == daemon for pid, daemon in zip(pids, daemons, strict=True)]
        assert inside == [True, True, False, False], "after two deaths it should have run apart from the daemon"
    (site.root / "go").touch()
    site.serve()
    row = site.await_final(job)
    assert (row.status, row.failures, row.crashes, row.attempt) == ("succeeded", 0, 0, 5)
    assert [attempt.outcome for attempt in site.reads.attempts(job)] == ["lost"] * 4 + ["succeeded"]
    referee.judge()
