"""
The daemon stands still (SIGSTOP: a debugger, a frozen group, a machine that sleeps), in the midst of work.

Proved: its manager is not told that it is well; what is submitted meanwhile is kept; when it goes on, or when it is
killed and another one starts, each job is done once and nobody is blamed; a second TERM ends it at once, in order.
"""

from __future__ import annotations

import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from millrace.clock import SYSTEM
from millrace.ledger.rows import NewJob
from tests.faults.referee import Poller, Referee, judge_log
from tests.process.scratch import until
from tests.process.test_daemon import Manager, state_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.process.scratch import Scratch, Served

WHILE_S = 1.0  # the daemon feeds its watchdog each tenth of a second in these tests
QUEUES = ("default", "io")


def some(first: int, ms: int) -> list[NewJob]:
    """Return jobs of both kinds."""
    return [NewJob("mark", QUEUES[n % 2], f'{{"ms":{ms},"n":{first + n}}}') for n in range(120)]


def stop(daemon: Served, manager: Manager) -> None:
    """Let it stand still, and forget what it had said before."""
    daemon.signal(signal.SIGSTOP)
    until(lambda: state_of(daemon.pid) == "T", "the daemon to stand")
    while manager.hears(0) is not None:
        pass


@pytest.fixture
def manager() -> Iterator[Manager]:
    """Bind a notify socket."""
    made = Manager()
    yield made
    made.socket.close()


def test_a_daemon_that_stood_still_goes_on_or_is_replaced_and_loses_nothing(
    site: Scratch, tmp_path: Path, manager: Manager
) -> None:
    """Systemd kills it when it hears nothing; one that is let go before that has missed nothing."""
    referee = Referee(site, tmp_path / "acks.log")
    daemon = site.launch(manager.environ)
    daemon.await_event("daemon.started")
    jobs = site.put(*some(0, 20))
    until(lambda: referee.marks_size() > 0, "jobs to run")
    with Poller(site) as poller, ThreadPoolExecutor(1) as aside:
        stop(daemon, manager)
        assert set(poller.next()) == {0}, "somebody answers for a daemon that stands still"
        more = aside.submit(site.put, *some(1000, 0))  # has to wait if it stopped in the midst of a commit
        assert manager.hears(WHILE_S) is None, "it says that it is well"
        daemon.signal(signal.SIGCONT)
        manager.hears_of("WATCHDOG")
        jobs += more.result()
        referee.await_rest(60)
        assert set(poller.next()) == {200}
    assert referee.rows("SELECT count(*), sum(attempt) FROM job") == [(len(jobs), len(jobs))], "some ran twice"
    jobs += site.put(*some(2000, 20))
    size = referee.marks_size()
    until(lambda: referee.marks_size() > size, "jobs to run")
    stop(daemon, manager)
    with ThreadPoolExecutor(1) as aside:
        more = aside.submit(site.put, *some(3000, 0))
        assert manager.hears(WHILE_S) is None
        judge_log(daemon)
        daemon.kill()
        jobs += more.result()
    daemon = site.serve()
    referee.acks.write_text("".join(f"{job} 0\n" for job in jobs))
    referee.await_rest(60)
    referee.judge()
    assert daemon.stop() == 0
    referee.judge_leavings()


def test_a_second_term_ends_it_at_once_and_hands_back_what_runs(site: Scratch, tmp_path: Path) -> None:
    """With the drain time of half a minute nobody would see the difference to a kill, but for the next start."""
    referee = Referee(site, tmp_path / "acks.log")
    daemon = site.serve()
    jobs = [site.submit("until_file", queue=queue, n=n, name="go") for n, queue in enumerate(QUEUES)]
    until(lambda: len(referee.effects()) == len(jobs), "jobs to run")
    jobs += site.put(*some(1000, 0))
    daemon.signal(signal.SIGTERM)
    daemon.await_event("daemon.stopping")
    began = SYSTEM.monotonic()
    assert daemon.stop() == 0
    assert SYSTEM.monotonic() - began < 30, "it has waited for its drain time"
    judge_log(daemon)
    referee.judge_leavings()
    (site.root / "go").touch()
    site.serve()
    referee.acks.write_text("".join(f"{job} 0\n" for job in jobs))
    referee.await_rest(60)
    referee.judge()
    released = referee.rows("SELECT count(*) FROM attempt WHERE outcome = 'released'")[0][0]
    assert released >= len(QUEUES)
