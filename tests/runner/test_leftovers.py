"""What a dead daemon leaves behind: nothing; and if something all the same, its successor ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from millrace.ledger.rows import ChildRow
from millrace.runner import tree
from millrace.runner.leftovers import kill_leftovers
from tests.runner.rig import marked, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

DAEMON = """
import sys, threading
from pathlib import Path
from millrace.clock import SYSTEM
from millrace.define.load import load_jobs
from millrace.events import ignore
from millrace.ledger.ledger import Ledger
from millrace.ledger.rows import NewJob
from millrace.runner.children import Children
from millrace.runner.kit import Kit
from millrace.runner.run import run_job
from millrace.runner.running import Running
import json
site, mark, task, note = Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
ledger = Ledger(site / "ledger.db")
ledger.moves.daemon = "d1"
children = Children(root=site, jobs="jobs", daemon_id="d1", ledger_mark=mark, scratch=site / "scratch",
                    queues={"default"}, clock=SYSTEM, emit=ignore, moves=ledger.moves)
kit = Kit(load_jobs(site, "jobs", queues={"default"}), ledger.moves, ledger.reads, SYSTEM, ignore, children)
payload = json.dumps({"note": note} if task == "family" else {"release": note + ".never", "started": note})
ledger.moves.accept([NewJob(task, "default", payload)]).wait()
held = ledger.moves.claim("default", 1).wait()[0]
run_job(held, kit, kind="process", running=Running(SYSTEM))
"""

SLEEPER = """
import signal, threading
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
threading.Event().wait()
"""


@pytest.fixture
def daemon(site: Path, tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Start a small daemon that runs one job, and wait until the job is under way."""
    started: list[subprocess.Popen[bytes]] = []

    def start(task: str) -> subprocess.Popen[bytes]:
        note = tmp_path / "note"
        argv = [sys.executable, "-c", DAEMON, str(site), mark_of(tmp_path), task, str(note)]
        started.append(subprocess.Popen(argv, start_new_session=True))
        until(lambda: note.exists() and note.read_text() != "")
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def mark_of(tmp_path: Path) -> str:
    """Return the mark of this test's ledger."""
    return f"test-{tmp_path.name}-{os.getpid()}"


@pytest.mark.parametrize("task", ["wait_for", "family"])
def test_children_of_a_killed_daemon_die_with_all_descendants(
    daemon: Callable[[str], subprocess.Popen[bytes]], tmp_path: Path, task: str
) -> None:
    """They would go on with work that the next daemon gives to somebody else."""
    process = daemon(task)
    assert marked(mark_of(tmp_path))

    process.kill()
    until(lambda: not marked(mark_of(tmp_path)))
    left = tree.look(int((tmp_path / "note").read_text()))
    assert left is None or left.zombie


def test_a_successor_ends_what_outlived_daemon_and_fork_server(
    daemon: Callable[[str], subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    """When everything that should have cleaned up was killed too, the mark in the environment is what is left."""
    process = daemon("family")
    mark, now = mark_of(tmp_path), tree.snapshot()
    server = next(p for p in tree.carriers(mark, now) if p.ppid == process.pid)
    # Stopped, none of them can do its duty when the daemon goes; killed in this order, nobody is left who would.
    for pid in (process.pid, server.pid):
        os.kill(pid, signal.SIGSTOP)
    os.kill(process.pid, signal.SIGKILL)
    os.kill(server.pid, signal.SIGKILL)
    process.wait()

    assert kill_leftovers([], mark) >= 1
    assert not marked(mark)
    left = tree.look(int((tmp_path / "note").read_text()))
    assert left is None or left.zombie


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[str]]:
    """A process that nothing but KILL ends, and that carries no mark."""
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPER], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_recorded_child_is_ended_by_pid_and_start_time(sleeper: subprocess.Popen[str]) -> None:
    """Its environment may be gone; what was recorded before its first job is not."""
    ticks = tree.look(sleeper.pid)
    assert ticks is not None

    assert kill_leftovers([ChildRow(sleeper.pid, ticks.start_ticks, sleeper.pid, "d0", "q")], "no-such-mark") == 1
    assert sleeper.wait(10) == -signal.SIGKILL


def test_a_pid_that_belongs_to_another_process_now_is_spared(sleeper: subprocess.Popen[str]) -> None:
    """Pids are given out again: killing by number alone would hit a stranger."""
    now = tree.look(sleeper.pid)
    assert now is not None

    assert kill_leftovers([ChildRow(sleeper.pid, now.start_ticks - 1, sleeper.pid, "d0", "q")], "no-such-mark") == 0
    assert not tree.send(tree.Process(sleeper.pid, 0, 0, 0, now.start_ticks - 1, zombie=False), signal.SIGKILL)
    assert sleeper.poll() is None


def test_a_daemon_never_ends_itself() -> None:
    """A daemon that a job of the same site started carries the mark as well."""
    code = "from millrace.runner.leftovers import kill_leftovers; print(kill_leftovers([], 'mark-of-my-own'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, tree.MARK: "mark-of-my-own"},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout == "0\n"
