"""One daemon per ledger, held by the kernel."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from millrace.errors import AlreadyRunning, SettingsError
from millrace.ledger.held import holder, lock_path
from millrace.process.lock import is_daemon, take_lock

if TYPE_CHECKING:
    from pathlib import Path

_HOLD = """
import sys
from pathlib import Path
from millrace.process.lock import take_lock
take_lock(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def hold(ledger: Path) -> subprocess.Popen[bytes]:
    """Start a process that takes the lock and keeps it until its input closes."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(ledger)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill it and see it off."""
    process.kill()
    process.communicate()


def test_nobody_holds_the_lock_of_a_ledger_that_is_not_there(tmp_path: Path) -> None:
    """`status` asks before the first daemon has ever run."""
    assert holder(tmp_path / "millrace.db") is None


def test_the_holder_is_named_and_others_are_refused(tmp_path: Path) -> None:
    """The message must help a person who does not know which of her terminals it is."""
    ledger = tmp_path / "millrace.db"
    other = hold(ledger)
    try:
        assert holder(ledger) == other.pid
        with pytest.raises(AlreadyRunning, match=f"pid {other.pid}"):
            take_lock(ledger)
        assert holder(ledger) == other.pid, "a failed try must not take the lock from its holder"
    finally:
        end(other)


def test_a_kill_lets_go_of_the_lock(tmp_path: Path) -> None:
    """Nothing that a dead daemon leaves behind may stop the next one: no stale pid file."""
    ledger = tmp_path / "millrace.db"
    end(hold(ledger))
    assert holder(ledger) is None
    lock = take_lock(ledger)
    assert holder(ledger) is not None
    os.close(lock)
    assert holder(ledger) is None


def test_a_lock_whose_file_was_removed_still_holds(tmp_path: Path) -> None:
    """The daemon is at work: a second one would end its children. It looks for a lock that nobody can see any more."""
    ledger = tmp_path / "millrace.db"
    other = hold(ledger)
    try:
        lock_path(ledger).unlink()
        with pytest.raises(AlreadyRunning, match=f"pid {other.pid}"):
            take_lock(ledger)
    finally:
        end(other)
    os.close(take_lock(ledger))


def test_a_link_to_a_ledger_has_the_lock_of_the_ledger(tmp_path: Path) -> None:
    """Two sites with one ledger are one too many."""
    ledger, link = tmp_path / "millrace.db", tmp_path / "site" / "millrace.db"
    link.parent.mkdir()
    link.symlink_to(ledger)
    other = hold(ledger)
    try:
        assert holder(link) == other.pid
        with pytest.raises(AlreadyRunning):
            take_lock(link)
    finally:
        end(other)


def test_a_daemon_is_told_from_other_processes(tmp_path: Path) -> None:
    """By its lock, and what stands in it: the processes below a living one are never leftovers."""
    other = hold(tmp_path / "millrace.db")
    try:
        assert is_daemon(other.pid)
        assert not is_daemon(os.getpid())
    finally:
        end(other)
    assert not is_daemon(other.pid)


def test_looking_does_not_take_the_lock(tmp_path: Path) -> None:
    """A `status` at the wrong moment must not turn a starting daemon away."""
    ledger = tmp_path / "millrace.db"
    os.close(take_lock(ledger))  # the file is there, its lock is free
    assert holder(ledger) is None
    end(hold(ledger))


def test_a_child_of_the_holder_does_not_inherit_the_lock(tmp_path: Path) -> None:
    """A job's process that outlives a killed daemon must not keep the next daemon from starting."""
    ledger = tmp_path / "millrace.db"
    lock = take_lock(ledger)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        os.close(lock)
        assert holder(ledger) is None
        os.close(take_lock(ledger))
        child.communicate(b"\n")


def test_a_state_folder_that_cannot_be_one_is_a_matter_of_configuration(tmp_path: Path) -> None:
    """The first thing that a daemon touches is the lock, so it is here that a wrong path shows."""
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"state folder .* cannot be used"):
        take_lock(tmp_path / "file" / "millrace.db")
