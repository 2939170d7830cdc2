"""What the service manager is told."""

from __future__ import annotations

import os
import socket
import threading
import uuid
from typing import TYPE_CHECKING

import pytest

from millrace.process.notify import ServiceManager

if TYPE_CHECKING:
    from pathlib import Path


def test_without_a_manager_nothing_is_said() -> None:
    """In a terminal there is nobody to tell."""
    supervisor = ServiceManager({})
    supervisor.tell(READY=1)
    assert supervisor.watchdog_s is None


@pytest.mark.parametrize("abstract", [True, False])
def test_facts_arrive_as_lines(tmp_path: Path, *, abstract: bool) -> None:
    """Systemd's socket is a path on the host and an abstract name in some containers; @ stands for the zero byte."""
    name = uuid.uuid4().hex if abstract else str(tmp_path / "n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(5)
        manager.bind(f"\0{name}" if abstract else name)
        ServiceManager({"NOTIFY_SOCKET": f"@{name}" if abstract else name}).tell(READY=1, STATUS="serving /a b")
        assert manager.recv(1000) == b"READY=1\nSTATUS=serving /a b"


def test_a_manager_that_has_gone_is_no_reason_to_fail(tmp_path: Path) -> None:
    """The daemon serves jobs, not its manager."""
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).tell(READY=1)


def test_a_manager_that_does_not_read_is_not_waited_for(tmp_path: Path) -> None:
    """A full socket must not stop the thread that feeds the watchdog."""
    name = str(tmp_path / "n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name)
        supervisor = ServiceManager({"NOTIFY_SOCKET": name})
        for _ in range(2000):
            supervisor.tell(WATCHDOG=1)


def test_what_is_told_once_waits_for_a_place(tmp_path: Path) -> None:
    """A READY that is lost among beats in the queue of a busy manager would have it kill a daemon that serves."""
    name, told = str(tmp_path / "n"), threading.Event()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.settimeout(5)
        manager.bind(name)
        supervisor = ServiceManager({"NOTIFY_SOCKET": name})
        for _ in range(2000):
            supervisor.tell(WATCHDOG=1)

        def tell() -> None:
            supervisor.tell(READY=1)
            told.set()

        thread = threading.Thread(target=tell)
        thread.start()
        assert not told.is_set()
        while (message := manager.recv(100)) == b"WATCHDOG=1":
            pass
        thread.join(5)
        assert (message, told.is_set()) == (b"READY=1", True)


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_counts_only_when_it_is_meant_for_this_process(
    environ: dict[str, str], seconds: float | None
) -> None:
    """WATCHDOG_PID names the process that shall feed it: sd_watchdog_enabled(3)."""
    assert ServiceManager(environ).watchdog_s == seconds
