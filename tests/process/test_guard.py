"""The storage of a running daemon: whose file it is, whether there is room, and who pins the log."""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pytest

from millrace.errors import LedgerError, SettingsError
from millrace.events import Event, IntakeResumed, IntakeStopped, LogPinned
from millrace.ledger.ledger import Ledger
from millrace.ledger.rows import NewJob
from millrace.process.ground import Sentry, check_ground, file_system
from millrace.process.guard import PINNED_S, Guard, holders
from millrace.process.lock import lock_path, take_lock
from millrace.queue.room import LOOK_S, Room, reserve_of
from tests.ledger.rig import LIMIT_S, OwnClock
from tests.process.scratch import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.process.conftest import MakeSite

MOUNTS = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /srv rw - nfs4 server:/srv rw
31 30 8:2 / /srv/local rw - xfs /dev/sdb1 rw
32 22 0:41 / /mnt/my\040disk rw - fuse.sshfs user@host:/ rw
33 22 0:42 / /srvx rw - tmpfs tmpfs rw
34 22 8:3 / /mnt/over rw - cifs //a/b rw
35 22 8:3 / /mnt/over rw - btrfs /dev/sdc rw
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/var/lib/x.db", "ext4"),
        ("/srv/x.db", "nfs4"),
        ("/srv/local/deep/x.db", "xfs"),
        ("/srvx/x.db", "tmpfs"),
        ("/mnt/my disk/x.db", "fuse.sshfs"),
        ("/mnt/over/x.db", "btrfs"),
    ],
)
def test_the_file_system_is_that_of_the_nearest_mount_point(path: str, kind: str) -> None:
    """A prefix is not a folder, spaces are escaped, and what was mounted later covers what lies below."""
    assert file_system(Path(path), MOUNTS) == kind


def test_a_network_file_system_is_refused_in_clear_words(tmp_path: Path) -> None:
    """Its locks seem to work until two machines meet."""
    with pytest.raises(SettingsError, match=r"network file system \(nfs4\).*local disk"):
        check_ground(Path("/srv/x.db"), MOUNTS)
    check_ground(Path("/srv/local/x.db"), MOUNTS)
    check_ground(tmp_path / "x.db")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """An open ledger with a job."""
    with Ledger(tmp_path / "millrace.db") as opened:
        opened.moves.accept([NewJob("add", "q")]).wait(LIMIT_S)
        yield opened


def overwrite(path: Path, content: bytes) -> None:
    """Change a file in place, from outside: closing it here must not drop SQLite's locks in this process."""
    child = os.fork()
    if child == 0:
        with path.open("r+b") as file:
            file.write(content)
            file.truncate(max(len(content), 0))
        os._exit(0)
    os.waitpid(child, 0)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda path: path.unlink(), "was removed"),
        (lambda path: path.rename(path.with_name("moved")), "was removed"),
        (lambda path: shutil.copy(path, f"{path}.new") and Path(f"{path}.new").rename(path), "was replaced"),
        (lambda path: overwrite(path, b""), None),
        (lambda path: overwrite(path, b"x" * 9000), "overwritten"),
        (lambda path: Path(f"{path}-wal").unlink(), "-wal was removed"),
    ],
    ids=["removed", "moved", "replaced", "emptied", "overwritten", "log-removed"],
)
@pytest.mark.filterwarnings("ignore:This process")
def test_a_ledger_that_is_not_the_one_any_more_is_noticed(
    ledger: Ledger, harm: Callable[[Path], object], told: str | None
) -> None:
    """What would be written on would go to a file that nobody sees again."""
    sentry = Sentry(ledger.path)
    assert sentry.look() is None
    harm(ledger.path)
    assert (told or "cut off") in str(sentry.look())


def test_a_lock_that_is_not_the_one_any_more_is_noticed(ledger: Ledger) -> None:
    """Whoever removed it may have started a second daemon."""
    os.close(take_lock(ledger.path))
    sentry = Sentry(ledger.path)
    assert sentry.look() is None
    lock_path(ledger.path).unlink()
    assert "db.lock was removed" in str(sentry.look())
    os.close(take_lock(ledger.path))
    sentry = Sentry(ledger.path)
    lock_path(ledger.path).with_name("new").touch()
    lock_path(ledger.path).with_name("new").rename(lock_path(ledger.path))
    assert "db.lock was replaced" in str(sentry.look())


def test_looking_does_not_drop_the_locks_of_sqlite(ledger: Ledger) -> None:
    """A look that opened and closed the file would let another process write in the middle of our transaction."""
    sentry = Sentry(ledger.path)
    with closing(apsw.Connection(str(ledger.path))) as holder:
        holder.execute("BEGIN IMMEDIATE")
        for _ in range(3):
            assert sentry.look() is None
        child = os.fork()
        if child == 0:
            try:
                other = apsw.Connection(str(ledger.path))
                other.execute("BEGIN IMMEDIATE")
            except apsw.BusyError:
                os._exit(0)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_log_of_a_replaced_ledger_is_taken_away_from_the_new_one(tmp_path: Path) -> None:
    """At the next start SQLite would play it into a file that it does not belong to."""
    path = tmp_path / "millrace.db"
    ledger = Ledger(path)
    ledger.moves.accept([NewJob("add", "q")]).wait(LIMIT_S)
    sentry = Sentry(path)
    with Ledger(tmp_path / "other.db") as other:
        other.moves.accept([NewJob("add", "q") for _ in range(3)]).wait(LIMIT_S)
    (tmp_path / "other.db").rename(path)
    assert "was replaced" in str(sentry.look())
    ledger.writer.condemn("gone")
    with pytest.raises(LedgerError, match="gone"):
        ledger.moves.accept([NewJob("add", "q")]).wait(LIMIT_S)
    ledger.close()
    sentry.set_log_aside()
    assert not Path(f"{path}-wal").exists()
    with Ledger(path) as found:
        assert found.reads.balance(count_rows=True).accepted == 3


def test_the_reserve_is_a_share_of_a_small_disk_unless_it_is_set() -> None:
    """50 MB of an 8 MB disk would mean that nothing is ever taken; half of it is what one transaction may need."""
    assert [reserve_of(None, total) for total in (8 * 10**6, 10**12)] == [4_000_000, 50_000_000]
    assert reserve_of(10**9, 8 * 10**6) == 10**9


def test_intake_stops_below_the_reserve_and_goes_on_above_it(ledger: Ledger) -> None:
    """Each is told once; the next caller after there is room finds the door open."""
    clock, events = OwnClock(), list[Event]()
    room = Room(ledger.path, None, clock=clock)
    guard = Guard(ledger.path, room, clock=clock, emit=events.append)
    assert (guard.look(), room.refusal(), events) == (None, None, [])
    room.reserve = 10**18
    clock.advance(LOOK_S)
    for _ in range(3):
        assert guard.look() is None
    refusal = room.refusal()
    assert refusal is not None
    assert (refusal.http_status, refusal.exit_code) == (507, 75)
    room.reserve = 0
    assert room.refusal() is None
    for _ in range(3):
        guard.look()
    assert [type(event) for event in events] == [IntakeStopped, IntakeResumed]


def test_a_log_that_somebody_pins_is_told_once_with_who(ledger: Ledger) -> None:
    """It grows until the disk is full, and the cause is another program."""
    clock, events = OwnClock(), list[Event]()
    guard = Guard(ledger.path, Room(ledger.path, 0, clock=clock), clock=clock, emit=events.append, log_bound=0)
    guard.look()
    clock.advance(PINNED_S - 1)
    guard.look()
    assert events == []
    clock.advance(1)
    for _ in range(3):
        guard.look()
    assert [type(event) for event in events] == [LogPinned]


def test_who_else_has_the_ledger_open_is_found(ledger: Ledger) -> None:
    """So that the alert says whom to end."""
    assert holders(ledger.path) == []
    ready_r, ready_w = os.pipe()
    child = os.fork()
    if child == 0:
        file = ledger.path.open("rb")
        os.write(ready_w, b"!")
        os.read(0 if file.closed else os.pipe()[0], 1)
        os._exit(0)
    try:
        os.read(ready_r, 1)
        assert [word.split(" (")[0] for word in holders(ledger.path)] == [f"pid {child}"]
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


# ---- the real daemon


@pytest.mark.parametrize("harm", ["removed", "replaced"])
def test_a_daemon_whose_ledger_is_gone_stops_loudly(make_site: MakeSite, harm: str) -> None:
    """Instead of taking work into a ghost, or starting an empty one."""
    site = make_site()
    backup = site.root / "copy.db"
    daemon = site.serve()
    done = site.submit("add", a=1, b=2)
    site.await_final(done)
    if harm == "removed":
        site.ledger.unlink()
    else:
        with closing(apsw.Connection(str(site.ledger))) as reader:
            reader.execute("VACUUM INTO ?", (str(backup),))
        backup.rename(site.ledger)
    failed = daemon.await_event("daemon.failed")
    assert harm in failed["reason"]
    assert daemon.end() == 1
    if harm == "removed":
        assert not site.ledger.exists()
    else:
        with Ledger(site.ledger) as ledger:
            assert ledger.reads.balance(count_rows=True).difference == 0
            assert ledger.reads.job(done).status == "succeeded"


def test_a_nearly_full_disk_stops_intake_while_work_goes_on(make_site: MakeSite) -> None:
    """And once there is room it goes on, without a restart."""
    site = make_site('[storage]\nreserve = "0B"\n')
    daemon = site.serve()
    waiting = site.submit("hold", name="one")
    site.await_status(waiting, "running")
    text = site.config.read_text()
    site.config.write_text(text.replace('"0B"', '"9TB"'))
    daemon.await_event("storage.intake_stopped")
    answer = site.ask("POST", "/api/v1/jobs", json={"task": "add", "payload": {"a": 1, "b": 2}})
    assert (answer.status_code, answer.json()["type"]) == (507, "urn:millrace:problem:disk-full")
    assert site.ask("GET", "/readyz").status_code == 503
    assert "nearly full" in site.run("submit", "add", "a=1", "b=2", code=75).stderr
    site.ask("POST", f"/api/v1/jobs/{waiting}/cancel")
    assert site.await_final(waiting).status == "cancelled"
    site.config.write_text(text)
    daemon.await_event("storage.intake_resumed")
    until(lambda: site.ask("GET", "/readyz").status_code == 200, "the daemon to be fit again")
    answer = site.ask("POST", "/api/v1/jobs", json={"task": "add", "payload": {"a": 1, "b": 2}})
    assert answer.status_code == 202
    assert site.await_final(answer.json()["id"]).status == "succeeded"
    assert daemon.stop() == 0
