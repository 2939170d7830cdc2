"""
`kill -9` at a system call that somebody chose: each sync of a scripted scenario, one after the other, and some of its
writes. A bounded run takes a few of them from a random start; FAULT_ROUNDS=17 takes each sync.

Proved, for each: what was acknowledged before is there with its payload, and is done once; what was not is there or is
not, and a repetition under its key makes no second; the fire, each attempt, each record of the run is there once; the
upgrade of the old ledger is done or not begun; the file is sound, and nothing is left over.
"""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from millrace.config.load import load_site
from millrace.ledger.rows import NewJob
from millrace.queue.site import open_site
from millrace.queue.submit import Submission
from tests.faults.referee import Referee
from tests.faults.script import Script
from tests.faults.strace import Killer, need_strace

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.conftest import MakeSite
    from tests.process.scratch import Scratch

SUBMIT = ("submit", "mark", "n=2", "--queue", "io", "--key", "k2")
MOST = 2000  # calls that the scenario might make
# Between the calls that a bounded run takes, and up to which all lives of the scenario come.
STEPS = {"fdatasync": 17, "fsync": 2, "pwrite64": 250}
SURE = {"fdatasync": 44, "fsync": 2, "pwrite64": 450}


@pytest.fixture(autouse=True)
def strace() -> None:
    """Without it nothing here can be done."""
    need_strace()


def play_until(script: Script, killer: Killer) -> bool:
    """Play the script on a daemon that is killed at its call; return whether it came to that."""
    daemon = script.site.launch(before=killer.words)
    with killer.aim(daemon.pid):
        good_end = script.play(daemon)
    assert good_end != killer.struck, daemon.text()
    return killer.struck


@pytest.mark.parametrize("call", STEPS)
def test_a_kill_at_any_sync_of_the_scenario_loses_and_doubles_nothing(
    make_site: MakeSite, tmp_path: Path, dice: random.Random, rounds: Callable[[int], int], call: str
) -> None:
    """It meets the ledger between any two of its transactions, and in the middle of each."""
    step = max(1, STEPS[call] // rounds(1))
    killed = []
    for n in range(dice.randint(1, step), MOST if step == 1 else SURE[call] + 1, step):
        after = dice.random() < 0.5
        script = Script(make_site(root=tmp_path / f"{n}"))
        struck = play_until(script, Killer(call, n, tmp_path / "calls", after=after))
        if struck:
            killed.append(f"{'after' if after else 'before'} {n}")
            assert script.play(script.site.launch()), f"{killed}:\n{script.site.daemons[-1].text()}"
        script.judge()
        script.site.__exit__()
        if not struck:
            break
    print(f"killed at {len(killed)} of {call}: {', '.join(killed)}")  # noqa: T201 - shown by -rP
    assert len(killed) >= SURE[call] // step, "it never came to its calls"


@pytest.mark.parametrize("ledger", ["fresh", "there"])
def test_a_command_killed_at_any_sync_accepts_one_job_or_none(
    make_site: MakeSite, tmp_path: Path, dice: random.Random, ledger: str
) -> None:
    """It makes the ledger if there is none; who repeats it under the same key gets one job, whatever came before."""
    for n in range(1, MOST):
        site = make_site(root=tmp_path / f"{n}")
        if ledger == "there":
            site.put(NewJob("mark", "io", '{"n":1}'))
        code, told = submit_until(site, Killer("fdatasync", n, tmp_path / "calls", after=dice.random() < 0.5))
        with open_site(load_site(site.config)) as opened:
            again = opened.submitter.submit(Submission("mark", payload={"n": 2}, queue="io", key="k2"))
        assert told in ([], [again.id]), "an acknowledged job is not there"
        referee = Referee(site, tmp_path / "acks.log")
        assert referee.rows("SELECT count(*) FROM job") == [(1 + (ledger == "there"),)]
        assert referee.rows("PRAGMA integrity_check") == [("ok",)]
        assert site.reads.balance(count_rows=True).difference == 0
        if code == 0:
            break
    assert n > 1, "nothing was killed"
    daemon = site.serve()
    referee.await_rest(30)
    referee.judge()
    assert daemon.stop() == 0


def submit_until(site: Scratch, killer: Killer) -> tuple[int, list[str]]:
    """Submit a job by a command that is killed at its call; return its exit code and what it said."""
    argv = [*killer.words, *site.argv(*SUBMIT)]
    with subprocess.Popen(argv, cwd=site.root, stdout=subprocess.PIPE, text=True) as command:
        with killer.aim(command.pid):
            told, _ = command.communicate(timeout=60)
        assert command.returncode == (-9 if killer.struck else 0)
    return command.returncode, told.split()
