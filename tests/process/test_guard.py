"""The storage of a running daemon: whose file it is, whether there is room, and who pins the log."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pytest

from millrace.config.find import places
from millrace.errors import LedgerError, SettingsError
from millrace.events import Event, IntakeResumed, IntakeStopped, LogPinned, ignore
from millrace.ledger.checkup import damage
from millrace.ledger.database import VERSION
from millrace.ledger.held import lock_path
from millrace.ledger.ledger import Ledger
from millrace.ledger.rows import NewJob
from millrace.observe.storage import storage_of
from millrace.process.ground import Sentry, check_ground, file_system
from millrace.process.guard import PINNED_S, Guard, holders
from millrace.process.lock import note_index, take_lock
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


def foreign(path: Path, application: int) -> None:
    """Write the database of another program over a ledger."""
    other = path.with_name("other.db")
    with closing(apsw.Connection(str(other))) as made:
        made.pragma("application_id", application)
        made.pragma("journal_mode", "wal")
        made.execute("CREATE TABLE birds (name); INSERT INTO birds VALUES ('wren')")
    overwrite(path, other.read_bytes())


def fold(path: Path) -> None:
    """Move the log into the file, which then says whose it is."""
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda path: path.unlink(), "was removed"),
        (lambda path: path.rename(path.with_name("moved")), "was removed"),
        (lambda path: shutil.copy(path, f"{path}.new") and Path(f"{path}.new").rename(path), "was replaced"),
        (lambda path: overwrite(path, b""), None),
        (lambda path: overwrite(path, b"x" * 9000), "overwritten"),
        (lambda path: Path(f"{path}-wal").unlink(), "-wal was removed"),
        (lambda path: Path(f"{path}-shm").unlink(), "-shm was removed"),
        (
            lambda path: shutil.copy(f"{path}-shm", f"{path}.new") and Path(f"{path}.new").rename(f"{path}-shm"),
            "-shm was",
        ),
        (lambda path: foreign(path, 0), "another program"),
        (lambda path: foreign(path, 0x42495244), "another program"),
    ],
    ids=[
        *("removed", "moved", "replaced", "emptied", "overwritten", "log-removed", "index-removed", "index-replaced"),
        *("foreign", "foreign-with-id"),
    ],
)
@pytest.mark.parametrize("folded", [False, True], ids=["young", "folded"])
@pytest.mark.filterwarnings("ignore:This process")
def test_a_ledger_that_is_not_the_one_any_more_is_noticed(
    ledger: Ledger, harm: Callable[[Path], object], told: str | None, *, folded: bool
) -> None:
    """What would be written on would go to a file that nobody sees again."""
    sentry = Sentry(ledger.path)
    assert sentry.look() is None
    if folded:
        fold(ledger.path)
        assert sentry.look() is None
    harm(ledger.path)
    assert (told or "cut off") in str(sentry.look())


def begin_checkpoint(path: Path) -> None:
    """Write the first page into the file, as a checkpoint that is killed right after that."""
    child = os.fork()
    if child == 0:
        first = apsw.Connection(str(path)).serialize("main")[:4096]
        with path.open("r+b") as file:
            file.write(first)
        os._exit(0)
    os.waitpid(child, 0)


@pytest.mark.filterwarnings("ignore:This process")
def test_a_file_that_is_too_short_is_damaged_unless_the_log_has_the_rest(ledger: Ledger) -> None:
    """So it is in the middle of a checkpoint, and after one that was killed: for hours, with nothing amiss."""
    sentry = Sentry(ledger.path)
    ledger.moves.accept([NewJob("add", "q", f'"{"x" * 9_000}"') for _ in range(50)]).wait(LIMIT_S)
    begin_checkpoint(ledger.path)
    assert (sentry.look(), sentry.doubtful) == (None, False), "a checkpoint may be under way"
    assert (sentry.look(), sentry.doubtful) == (None, True)
    assert damage(ledger.path) is None
    fold(ledger.path)
    assert (sentry.look(), sentry.doubtful) == (None, False)
    os.truncate(ledger.path, ledger.path.stat().st_size - 20_480)
    assert [sentry.look(), sentry.look(), sentry.doubtful] == [None, None, True]
    assert "is damaged" in str(damage(ledger.path))


LIFE = """
import sys
from contextlib import closing
from pathlib import Path
import apsw
from millrace.ledger.ledger import Ledger
from millrace.ledger.rows import NewJob
from millrace.ledger.snapshot import snapshot
path, name, rounds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
for number in range(rounds):
    with Ledger(path, synchronous="normal") as ledger:
        ledger.moves.accept([NewJob("add", "q", '"' + "x" * 9_000 + '"')] * 5).wait()
        if number % 4 == 0:
            ledger.moves.vacuum(500).wait()
    with closing(apsw.Connection(str(path))) as other:
        other.set_busy_timeout(30_000)
        mode = ("PASSIVE", "FULL", "RESTART", "TRUNCATE")[number % 4]
        if number % 7 == 0:
            other.execute(f"CREATE TABLE {name} (x); INSERT INTO {name} VALUES (zeroblob(1000000)); DROP TABLE {name}")
        if number % 20 == 19:
            other.execute("VACUUM")
        other.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
    if number % 10 == 9:
        snapshot(path, path.with_name(f"{name}-{number}"))
"""


def test_ordinary_life_is_no_alarm(ledger: Ledger) -> None:
    """A daemon that stopped for a checkpoint, a vacuum, or the last command that goes, would be worse than the harm."""
    lock = take_lock(ledger.path)
    note_index(lock, ledger.path)
    sentry, looks, alarms = Sentry(ledger.path), 0, []
    argv = [sys.executable, "-c", LIFE, str(ledger.path)]
    lives = [subprocess.Popen([*argv, name, "60"]) for name in ("one", "two")]
    while any(life.poll() is None for life in lives):
        looks += 1
        if (alarm := sentry.look()) is not None or (sentry.doubtful and (alarm := damage(ledger.path)) is not None):
            alarms.append(alarm)
        if looks % 50 == 0:
            ledger.moves.accept([NewJob("add", "q")]).wait(LIMIT_S)
    os.close(lock)
    assert [life.returncode for life in lives] == [0, 0]
    assert alarms == []
    assert looks > 100


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


def test_a_daemon_whose_index_was_removed_stops_and_no_command_writes_beside_it(make_site: MakeSite) -> None:
    """Both would hold an index of their own, and overwrite each other's commits: 200 acknowledged jobs were lost."""
    site = make_site()
    daemon = site.serve()
    before = site.submit("add", a=1, b=2)
    site.await_final(before)
    site.forget_reads()
    daemon.signal(signal.SIGSTOP)  # so that the command comes before its look
    try:
        Path(f"{site.ledger}-shm").unlink()
        refused = site.run("submit", "add", "a=1", "b=2", code=75)
    finally:
        daemon.signal(signal.SIGCONT)
    assert "-shm was removed" in refused.stderr
    assert "-shm was removed" in daemon.await_event("daemon.failed")["reason"]
    assert daemon.end() == 1
    daemon = site.serve()
    after = site.submit("add", a=3, b=4)
    assert [site.await_final(job).status for job in (before, after)] == ["succeeded", "succeeded"]
    assert site.reads.balance(count_rows=True).accepted == 2
    assert daemon.stop() == 0


def test_a_daemon_does_not_go_on_with_a_ledger_that_a_newer_program_has_upgraded(make_site: MakeSite) -> None:
    """Its own commands refuse such a ledger, and it would write what the newer one does not expect."""
    site = make_site()
    daemon = site.serve()
    site.await_final(site.submit("add", a=1, b=2))
    with closing(apsw.Connection(str(site.ledger))) as newer:
        newer.execute(f"BEGIN IMMEDIATE; CREATE TABLE later (x); PRAGMA user_version = {VERSION + 1}; COMMIT")
    assert "newer Millrace" in daemon.await_event("daemon.failed")["reason"]
    assert daemon.end() == 78


def turn(link: Path) -> None:
    """Let a link lead somewhere else."""
    link.unlink()
    link.symlink_to("/etc/hostname")


LOST: dict[str, Callable[[Path, Path], object]] = {
    "link turned": lambda link, _real: turn(link),
    "log removed": lambda _link, real: Path(f"{real}-wal").unlink(),
    "index removed": lambda _link, real: Path(f"{real}-shm").unlink(),
    "file removed": lambda _link, real: real.unlink(),
}


@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
@pytest.mark.parametrize("lost", LOST)
def test_a_ledger_behind_a_link_is_watched_where_it_is(tmp_path: Path, lost: str, *, folder: bool) -> None:
    """Its log and its index lie beside the file. Commands follow a link that was turned, and the daemon would not."""
    disk, var = tmp_path / "disk", tmp_path / "var"
    disk.mkdir()
    (disk / "millrace.db").touch()
    if folder:
        var.symlink_to(disk)
    else:
        var.mkdir()
        (var / "millrace.db").symlink_to(disk / "millrace.db")
    found = places(None, {"STATE_DIRECTORY": str(var)})
    clock = OwnClock()
    with Ledger(found.ledger) as ledger:
        ledger.moves.accept([NewJob("add", "q")]).wait(LIMIT_S)
        room = Room(found.ledger, None, clock=clock)
        guard = Guard(found.ledger, room, named=found.named, clock=clock, emit=ignore)
        assert guard.look() is None
        assert storage_of(found.ledger).wal_bytes > 0
        LOST[lost](var if folder else var / "millrace.db", disk / "millrace.db")
        assert "under the running daemon" in str(guard.look())
        if lost == "link turned":
            assert str(found.named) in str(guard.look())


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
