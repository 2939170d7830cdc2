"""The daemon's life as systemd and its users see it: ready, watched, asked to stop, asked twice."""

from __future__ import annotations

import contextlib
import hashlib
import os
import select
import signal
import socket
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.process.scratch import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.process.conftest import MakeSite
    from tests.process.scratch import Scratch

WATCHDOG_US = 300_000  # fed each 100 ms


class Manager:
    """The end of the notify socket that systemd has."""

    def __init__(self) -> None:
        self._name = f"millrace-test-{uuid.uuid4().hex}"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(f"\0{self._name}")
        self.environ = {"NOTIFY_SOCKET": f"@{self._name}", "WATCHDOG_USEC": str(WATCHDOG_US)}

    def hears(self, within_s: float = 20.0) -> dict[str, str] | None:
        """Return the facts of the next message, None if there is none."""
        ready, _, _ = select.select([self.socket], [], [], within_s)
        if not ready:
            return None
        return dict(line.split("=", 1) for line in self.socket.recv(4096).decode().splitlines())

    def hears_of(self, name: str) -> dict[str, str]:
        """Skip messages until one that has a fact of this name."""
        while (facts := self.hears()) is not None:
            if name in facts:
                return facts
        pytest.fail(f"the daemon never told {name}")


@pytest.fixture
def manager() -> Iterator[Manager]:
    """Bind a notify socket."""
    made = Manager()
    yield made
    made.socket.close()


def state_of(pid: int) -> str:
    """Return the letter of a process's state: T is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def test_it_tells_its_manager_when_it_is_ready_alive_and_stopping(site: Scratch, manager: Manager) -> None:
    """`Type=notify`: units that need the daemon start after READY, and WATCHDOG=1 keeps systemd from restarting it."""
    daemon = site.launch(manager.environ)
    ready = manager.hears_of("READY")
    assert ready["READY"] == "1"
    assert str(site.root) in ready["STATUS"]
    assert site.ask("GET", "/readyz").status_code == 200, "READY was told before it was"
    assert manager.hears_of("WATCHDOG") == {"WATCHDOG": "1"}
    daemon.signal(signal.SIGTERM)
    stopping = manager.hears_of("STOPPING")
    assert stopping["STATUS"] == "draining"
    assert int(stopping["EXTEND_TIMEOUT_USEC"]) > 30_000_000, "systemd would kill it before its drain time is over"
    assert daemon.end() == 0


def test_the_watchdog_is_fed_while_it_works_and_not_while_it_stands(site: Scratch, manager: Manager) -> None:
    """A daemon that hangs must be seen by systemd; one that waits for work must not."""
    daemon = site.launch(manager.environ)
    for _ in range(5):
        manager.hears_of("WATCHDOG")
    daemon.signal(signal.SIGSTOP)
    until(lambda: state_of(daemon.pid) == "T", "the daemon to stand")
    while manager.hears(0) is not None:
        pass
    assert manager.hears(within_s=1.0) is None
    daemon.signal(signal.SIGCONT)
    manager.hears_of("WATCHDOG")


def test_an_idle_daemon_stops_at_once_and_leaves_nothing(site: Scratch) -> None:
    """TERM without work is an end in order: exit 0, no socket, no scratch folder, no process, stopped on record."""
    daemon = site.serve()
    site.await_final(site.submit("add", a=1, b=2))
    assert site.marked(), "there should be a warm child now"
    assert daemon.stop() == 0
    assert site.marked() == []
    left = {path.name for path in site.state.iterdir()}
    assert not left & {"scratch", "wake.sock"}
    row = site.reads.daemon()
    assert row is not None
    assert row.stopped_at is not None
    assert [line["released"] for line in daemon.events("daemon.stopped")] == [0]


def test_a_job_that_ends_within_the_drain_time_is_finished(site: Scratch) -> None:
    """Work that is nearly done is worth waiting for."""
    daemon = site.serve()
    job = site.submit("hold", name="a")
    site.await_file("a.running-1")
    daemon.signal(signal.SIGTERM)
    daemon.await_event("daemon.stopping")
    (site.root / "a.go").touch()
    assert daemon.end() == 0
    assert site.reads.job(job).status == "succeeded"


@pytest.mark.parametrize("task", ["hold", "polite"])
def test_a_job_that_outlasts_the_drain_time_is_handed_back_at_no_cost(make_site: MakeSite, task: str) -> None:
    """A restart of the daemon is nobody's failure: the job is queued again, and the next daemon runs it."""
    site = make_site(drain="200ms")
    daemon = site.serve()
    job = site.submit(task, queue="default" if task == "hold" else "io", name="a")
    site.await_file("a.running-1")
    assert daemon.stop() == 0
    assert_released(site, job)
    assert site.marked() == []
    (site.root / "a.go").touch()
    site.serve()
    row = site.await_final(job)
    assert (row.status, row.attempt, row.failures) == ("succeeded", 2, 0)
    assert (site.root / "a.running-2").exists()


def test_a_second_term_does_not_wait_for_a_thread_that_will_not_stop(site: Scratch) -> None:
    """Somebody who asks twice means it: the job is handed back now, long before the drain time of 30 s is over."""
    daemon = site.serve()
    job = site.submit("stubborn", queue="io", name="a")
    site.await_file("a.running-1")
    daemon.signal(signal.SIGTERM)
    daemon.await_event("daemon.stopping")
    assert daemon.stop(limit_s=8) == 0
    assert_released(site, job)
    assert site.marked() == []


def test_a_kill_of_all_while_it_drains_is_nobodys_failure(site: Scratch) -> None:
    """`KillMode=mixed`: after TimeoutStopSec systemd kills whatever is left of the unit; the next start goes on."""
    daemon = site.serve()
    jobs = [site.submit("hold", name="a"), site.submit("stubborn", queue="io", name="b")]
    for name in "ab":
        site.await_file(f"{name}.running-1")
    daemon.signal(signal.SIGTERM)
    daemon.await_event("daemon.stopping")
    for pid in [daemon.pid, *site.marked()]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert daemon.end() == -signal.SIGKILL
    until(lambda: site.marked() == [], "what was killed to be gone")
    for name in "ab":
        (site.root / f"{name}.go").touch()
    site.serve()
    rows = [site.await_final(job) for job in jobs]
    assert [(row.status, row.failures, row.crashes, row.attempt) for row in rows] == [("succeeded", 0, 0, 2)] * 2


@pytest.mark.parametrize("queue", ["default", "io"])
def test_the_credentials_of_its_manager_reach_jobs_and_nothing_else(site: Scratch, queue: str) -> None:
    """`LoadCredential=` gives each secret as a file that only this user reads; a job finds it, no log and no ledger."""
    folder = site.root / "credentials"
    folder.mkdir(mode=0o700)
    token = "s3cret-of-the-crm"
    (folder / "millrace_crm_token").write_text(token)
    (folder / "millrace_crm_token").chmod(0o400)
    daemon = site.serve({"CREDENTIALS_DIRECTORY": str(folder)})
    row = site.await_final(site.submit("credential", queue=queue, name="millrace_crm_token"))
    assert (row.status, row.result) == ("succeeded", f'"{hashlib.sha256(token.encode()).hexdigest()}"')
    assert daemon.stop() == 0
    kept = [path for path in (*site.state.rglob("*"), *site.root.glob("*.log")) if path.is_file()]
    assert [path.name for path in kept if token.encode() in path.read_bytes()] == []


def test_what_was_claimed_ahead_is_handed_back_too(site: Scratch) -> None:
    """The pool claims more than it has workers for; a stop must not leave those running in nobody's name."""
    daemon = site.serve()
    jobs = [site.submit("hold", name=f"n{number}") for number in range(12)]
    site.await_file("n0.running-1")
    daemon.signal(signal.SIGTERM)
    daemon.await_event("daemon.stopping")
    assert daemon.stop(limit_s=8) == 0
    rows = [site.reads.job(job) for job in jobs]
    assert {row.status for row in rows} == {"queued"}
    assert {row.failures for row in rows} == {0}
    for number in range(12):
        (site.root / f"n{number}.go").touch()
    site.serve()
    assert {site.await_final(job).status for job in jobs} == {"succeeded"}
    balance = site.reads.balance(count_rows=True)
    assert (balance.accepted, balance.difference, balance.details) == (12, 0, [])


def test_an_interrupt_from_the_keyboard_stops_like_term(site: Scratch) -> None:
    """Ctrl-C in the terminal of `make run` is the usual end of a first try: no traceback."""
    daemon = site.serve()
    daemon.signal(signal.SIGINT)
    assert daemon.end() == 0
    assert "Traceback" not in daemon.text()


def test_a_term_while_it_starts_is_kept(site: Scratch) -> None:
    """Systemd may stop what it has only just started; the order must not be lost, nor a half-started daemon stay."""
    site.serve().stop()
    for _ in range(2):
        daemon = site.launch()
        until(lambda daemon=daemon: site.holder() == daemon.pid or not daemon.alive, "the lock")  # type: ignore[misc]
        assert daemon.stop() in {0, -signal.SIGTERM}
        assert "Traceback" not in daemon.text()
    assert site.ledger.exists()


def assert_released(site: Scratch, job_id: str) -> None:
    """The job waits in its queue as if it had never run, but for its history."""
    row = site.reads.job(job_id)
    assert (row.status, row.failures, row.crashes, row.attempt) == ("queued", 0, 0, 1)
    (attempt,) = site.reads.attempts(job_id)
    assert (attempt.attempt, attempt.outcome, attempt.facts["why"]) == (1, "released", "shutdown")


def test_a_daemon_that_makes_a_ledger_says_so(site: Scratch) -> None:
    """Where a site has worked before, it means that its disk is not mounted: it must not look like any other start."""
    for told in (1, 0):
        daemon = site.serve()
        assert len(daemon.events("ledger.made")) == told
        assert daemon.stop() == 0
