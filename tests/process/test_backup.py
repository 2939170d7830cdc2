"""Backups: whole or not there, without secrets, kept for a while, rehearsed and put back."""

from __future__ import annotations

import errno
import gzip
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from millrace.clock import SYSTEM
from millrace.config.find import Places, places
from millrace.config.storage import BackupSettings
from millrace.errors import BackupBroken, LedgerBusy, LedgerError
from millrace.events import BackupDone, BackupFailed, BackupFlawed, RestoreTested, RestoreTestFailed
from millrace.ledger import blob_rows
from millrace.ledger.blobs import LARGE, folder_of
from millrace.ledger.ledger import Ledger
from millrace.ledger.notes import BACKUP
from millrace.ledger.reads import Reads
from millrace.ledger.rows import ChildRow, JobFilter, NewJob
from millrace.ledger.states import Status
from millrace.process.backup.archive import MANIFEST, unpack
from millrace.process.backup.make import kept, make, name_for, prune
from millrace.process.backup.restore import rehearse, restore
from millrace.process.backup.rota import AGAIN_S, Rota
from millrace.process.backup.scratch import scratch
from tests.ledger.rig import LIMIT_S, OwnClock
from tests.process.scratch import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from millrace.events import Event
    from tests.process.conftest import MakeSite


@pytest.fixture
def spot(tmp_path: Path) -> Places:
    """A site with a token file, job files, and a ledger with five jobs."""
    root = tmp_path / "site"
    (root / "jobs" / "__pycache__").mkdir(parents=True)
    (root / "jobs" / "work.py").write_text("# work\n")
    (root / "jobs" / "__pycache__" / "work.pyc").write_bytes(b"code")
    (root / "jobs" / ".env").write_text("PASSWORD=hush\n")
    (root / "jobs" / "link.csv").symlink_to("/etc/hostname")
    (root / "config.toml").write_text('[site]\nname = "Spot"\n')
    found = places(root / "config.toml", {})
    with Ledger(found.ledger) as ledger:
        ledger.moves.accept([NewJob("add", "q", f'{{"n":{n}}}') for n in range(5)]).wait(LIMIT_S)
        ledger.moves.audit("cli:ann", "job.look", "x").wait(LIMIT_S)
    (found.state / "admin.token").write_text("mr_secret")
    return found


LARGE_TEXT = '{"fill":"' + "x" * (LARGE + 1) + '"}'


@pytest.fixture
def bulky(spot: Places) -> Places:
    """The same site with two large payloads."""
    with Ledger(spot.ledger) as ledger:
        ledger.moves.accept([NewJob("add", "q", LARGE_TEXT) for _ in range(2)]).wait(LIMIT_S)
    return spot


def elsewhere(tmp_path: Path) -> Places:
    """A machine where nothing is yet."""
    root = tmp_path / "new"
    root.mkdir()
    (root / "config.toml").write_text("")
    return places(root / "config.toml", {})


def test_a_backup_holds_the_site_and_no_secret(spot: Places, tmp_path: Path) -> None:
    """It goes to another machine, and whoever gets hold of it must not get in with it."""
    (tmp_path / "b").mkdir()
    done = make(spot, tmp_path / "b" / "one.tar.gz", clock=SYSTEM)
    assert (done.accepted, done.difference, done.size) == (5, 0, done.file.stat().st_size)
    with tarfile.open(done.file) as tar:
        assert tar.getnames() == [MANIFEST, "ledger.db", "config.toml", "jobs/work.py"]
    assert unpack(done.file, None)["left_out"] == ["jobs/.env", "jobs/link.csv"]
    assert not [word for word in (b"mr_secret", b"hush") if word in content(done.file)]
    assert done.file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in done.file.parent.iterdir()] == ["one.tar.gz"]


def content(archive: Path) -> bytes:
    """Return the tar within."""
    with gzip.open(archive) as file:
        return file.read()


def change_the_log(ledger: Path) -> None:
    """Let somebody put another name into the first row of the audit log."""
    with Ledger(ledger) as opened:
        opened.writer.submit(lambda tx: tx.run("UPDATE audit SET actor = 'cli:bob' WHERE id = 1")).wait(LIMIT_S)


FLAW = "audit log: row 1, or the one before it, was changed"


def test_a_ledger_whose_audit_log_was_changed_is_backed_up_and_put_back(spot: Places, tmp_path: Path) -> None:
    """Its jobs are whole: no backup at all would be worse. Each step tells."""
    change_the_log(spot.ledger)
    done = make(spot, tmp_path / "one.tar.gz", clock=SYSTEM)
    assert (done.accepted, done.audit_flaw) == (5, FLAW)
    assert unpack(done.file, None)["ledger"]["audit_flaw"] == FLAW
    assert rehearse(done.file, tmp_path, clock=SYSTEM).problems == (FLAW,)
    there = elsewhere(tmp_path)
    back = restore(done.file, there, clock=SYSTEM)
    assert (back.found.audit_flaw, back.found.accepted) == (FLAW, 5)
    with Ledger(there.ledger) as now:
        assert now.reads.balance(count_rows=True).accepted == 5


def test_a_name_that_is_taken_is_left_alone(spot: Places, tmp_path: Path) -> None:
    """The backup of last week must not go for one of today by mistake."""
    target = tmp_path / "one.tar.gz"
    target.write_text("precious")
    with pytest.raises(BackupBroken, match="there already"):
        make(spot, target, clock=SYSTEM)
    assert target.read_text() == "precious"


def test_a_backup_that_was_changed_or_cut_off_is_found(spot: Places, tmp_path: Path) -> None:
    """Disks rot and copies break off; better to hear it from a rehearsal."""
    whole = make(spot, tmp_path / "one.tar.gz", clock=SYSTEM).file
    text = content(whole)
    changed = tmp_path / "changed.tar.gz"
    changed.write_bytes(gzip.compress(text.replace(b"# work", b"# evil")))
    with pytest.raises(BackupBroken, match=r"jobs/work\.py is not what was backed up"):
        unpack(changed, None)
    cut = tmp_path / "cut.tar.gz"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    assert "damaged" in rehearse(cut, tmp_path, clock=SYSTEM).problems[0]
    other = tmp_path / "other.tar.gz"
    with tarfile.open(other, "w:gz") as tar:
        tar.add(spot.root / "config.toml", "config.toml")
    with pytest.raises(BackupBroken, match="not a backup of Millrace"):
        unpack(other, None)


def test_a_wrong_byte_anywhere_is_found_and_told_as_a_broken_backup(spot: Places, tmp_path: Path) -> None:
    """In the packing, in a member, in the manifest: whichever reader trips over it. Some change nothing of all that."""
    whole = make(spot, tmp_path / "one.tar.gz", clock=SYSTEM).file
    packed, text = whole.read_bytes(), content(whole)
    rotten = tmp_path / "rotten.tar.gz"
    found = 0
    for place in range(0, len(packed), 41):
        rotten.write_bytes(packed[:place] + bytes([packed[place] ^ 0x41]) + packed[place + 1 :])
        try:
            unpack(rotten, None)
        except BackupBroken:
            found += 1
        else:
            assert content(rotten) == text, place
    assert found > len(packed) / 82


def test_a_rotten_backup_is_no_trouble_of_the_folder(spot: Places, tmp_path: Path) -> None:
    """What gzip finds wrong is an OSError to Python, and was told as if the scratch folder could not be written."""
    whole = make(spot, tmp_path / "one.tar.gz", clock=SYSTEM).file
    rotten = tmp_path / "rotten.tar.gz"
    packed = bytearray(gzip.compress(content(whole)))
    packed[-8] ^= 1  # the checksum of all
    rotten.write_bytes(packed)
    assert "damaged, or no backup at all (CRC check failed" in rehearse(rotten, tmp_path, clock=SYSTEM).problems[0]


def test_what_is_no_archive_is_called_that_in_one_line(spot: Places) -> None:
    """The list of all that a reader of archives has tried says nothing to a person."""
    assert spot.config is not None
    seen = rehearse(spot.config, spot.root, clock=SYSTEM)
    assert seen.problems == (f"{spot.config}: is no backup of Millrace: it is no compressed tar file",)


def test_a_member_that_would_leave_the_folder_is_refused(spot: Places, tmp_path: Path) -> None:
    """An archive from a stranger must not write where it likes."""
    whole = make(spot, tmp_path / "one.tar.gz", clock=SYSTEM).file
    evil = tmp_path / "evil.tar.gz"
    with tarfile.open(whole) as good, tarfile.open(evil, "w:gz") as tar:
        for info in good:
            data = b"".join(good.extractfile(info) or ()).replace(b"jobs/work.py", b"../../out.py")
            info.name = info.name.replace("jobs/work.py", "../../out.py")
            tar.addfile(info, io.BytesIO(data))
    with pytest.raises(BackupBroken, match="not in its manifest"):
        unpack(evil, tmp_path / "deep" / "down")
    assert not list(tmp_path.rglob("out.py"))


def test_it_is_put_back_on_a_machine_where_nothing_is(spot: Places, tmp_path: Path) -> None:
    """The machine burned down: ledger, settings where there are none, and jobs."""
    archive = make(spot, tmp_path / "one.tar.gz", clock=SYSTEM).file
    new = elsewhere(tmp_path)
    done = restore(archive, new, clock=SYSTEM)
    assert (done.before, done.found.accepted) == (None, 5)
    assert [path.relative_to(new.root).as_posix() for path in done.written] == ["jobs/work.py"]
    assert done.differ == (new.root / "config.toml",)
    with Ledger(new.ledger) as ledger:
        assert ledger.reads.balance(count_rows=True).accepted == 5
    assert new.ledger.stat().st_mode & 0o777 == 0o600


def test_the_ledger_before_is_kept_whole(spot: Places, tmp_path: Path) -> None:
    """Who restores the wrong one must be able to go back; what was in its log goes with it."""
    archive = make(spot, tmp_path / "one.tar.gz", clock=SYSTEM).file
    with Ledger(spot.ledger) as ledger:
        ledger.moves.accept([NewJob("late", "q")]).wait(LIMIT_S)
    done = restore(archive, spot, clock=SYSTEM)
    assert done.before is not None
    with Ledger(done.before) as before, Ledger(spot.ledger) as now:
        assert before.reads.balance(count_rows=True).accepted == 6
        assert now.reads.balance(count_rows=True).accepted == 5
    assert not list(spot.state.glob(".millrace-*"))


def test_a_damaged_ledger_is_set_aside(spot: Places, tmp_path: Path) -> None:
    """It is what backups are for; and somebody may want to look for what is left in it."""
    archive = make(spot, tmp_path / "one.tar.gz", clock=SYSTEM).file
    spot.ledger.write_bytes(b"\xa5" * 10_000)
    done = restore(archive, spot, clock=SYSTEM)
    assert done.before is not None
    assert done.before.read_bytes() == b"\xa5" * 10_000
    assert rehearse(archive, tmp_path, clock=SYSTEM).problems == ()


def test_a_backup_of_version_1_is_brought_up_to_date_in_the_rehearsal(spot: Places, tmp_path: Path) -> None:
    """Whether an old backup is of any use shows only when it is migrated."""
    import apsw

    spot.ledger.unlink()
    with apsw.Connection(str(spot.ledger)) as connection:
        connection.execute((Path(__file__).parents[1] / "ledger" / "version_1.sql").read_text())
    archive = make(spot, tmp_path / "one.tar.gz", clock=SYSTEM).file
    seen = rehearse(archive, tmp_path, clock=SYSTEM)
    assert (seen.problems, seen.found and seen.found.version) == ((), 1)


def test_what_a_dead_maker_left_is_swept_and_what_is_in_use_is_not(tmp_path: Path) -> None:
    """Otherwise each crash would cost a copy of the ledger for ever."""
    (tmp_path / ".millrace-dead.partial").mkdir()
    (tmp_path / ".millrace-dead.partial" / "ledger.db").write_text("half")
    with scratch(tmp_path, 1) as one, scratch(tmp_path, 1) as two:
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([one.name, two.name])
    assert not list(tmp_path.iterdir())


def test_only_our_own_oldest_are_pruned(tmp_path: Path) -> None:
    """A file that somebody put beside them is theirs."""
    for ms in (0, 1000, 2000, 3000):
        name_for(tmp_path, ms).touch()
    name_for(tmp_path, 3000).touch()
    (tmp_path / "millrace-mine.tar.gz").touch()
    assert [path.name for path in prune(tmp_path, 2)] == [
        f"millrace-19700101T00000{second}Z.tar.gz" for second in (2, 1, 0)
    ]
    assert [path.name for path in kept(tmp_path)] == [
        "millrace-19700101T000003Z-2.tar.gz", "millrace-19700101T000003Z.tar.gz",
    ]  # fmt: skip
    assert (tmp_path / "millrace-mine.tar.gz").exists()


class Round:
    """A rota under a clock of its own."""

    def __init__(self, spot: Places, ledger: Ledger) -> None:
        self.clock = OwnClock()
        self.events: list[Event] = []
        self.settings = BackupSettings.model_validate({"every": "1h", "keep": 2, "test_every": "3h"})
        self.folder = spot.state / "backups"
        self.rota = Rota(
            spot, lambda: self.settings, moves=ledger.moves, reads=ledger.reads, clock=self.clock,
            emit=self.events.append, stop=lambda: False,
        )  # fmt: skip

    def after(self, seconds: float) -> list[type[Event]]:
        """Let time pass and take a turn; return the kinds of events that came of it."""
        self.clock.advance(seconds)
        self.events.clear()
        self.rota.turn()
        return [type(event) for event in self.events]


@pytest.fixture
def rota(spot: Places) -> Iterator[Round]:
    """A rota that backs up each hour, keeps two, and rehearses every three hours."""
    with Ledger(spot.ledger) as ledger:
        yield Round(spot, ledger)


def test_backups_are_made_kept_and_rehearsed_when_they_are_due(rota: Round) -> None:
    """Nobody has to think of it."""
    assert rota.after(0) == [BackupDone, RestoreTested]
    assert rota.after(1800) == []
    assert rota.after(1800) == [BackupDone]
    assert rota.after(3600) == [BackupDone]
    assert len(kept(rota.folder)) == 2
    assert rota.after(3600) == [BackupDone, RestoreTested]
    rota.settings = BackupSettings.model_validate({})
    assert rota.after(7200) == []


def test_a_clock_that_was_set_back_does_not_stop_them(rota: Round) -> None:
    """The last one seems to lie in the future: without more it would not be due for as long."""
    assert BackupDone in rota.after(0)
    rota.clock.ms -= 10**9
    assert BackupDone in rota.after(0)


def test_a_failure_is_told_and_tried_again_soon(rota: Round) -> None:
    """And not at each turn: the log has other things to tell."""
    rota.folder.write_text("in the way")
    assert rota.after(0) == [BackupFailed]
    assert rota.after(AGAIN_S / 2) == []
    rota.folder.unlink()
    assert rota.after(AGAIN_S / 2) == [BackupDone, RestoreTested]


def test_a_broken_audit_log_is_told_with_each_backup(rota: Round, spot: Places) -> None:
    """And stops none."""
    change_the_log(spot.ledger)
    assert rota.after(0) == [BackupDone, BackupFlawed, RestoreTestFailed]
    flawed = next(event for event in rota.events if isinstance(event, BackupFlawed))
    assert flawed == BackupFlawed(str(kept(rota.folder)[0]), FLAW)
    assert rota.after(3600) == [BackupDone, BackupFlawed]


def test_flawed_backups_do_not_push_out_the_last_good_one(rota: Round, bulky: Places) -> None:
    """What they lack is in that one alone. Once a backup is whole again, the others go as ever."""
    assert rota.after(0) == [BackupDone, RestoreTested]
    (good,) = kept(rota.folder)
    gone = next(folder_of(bulky.ledger).iterdir())
    value = gone.read_bytes()
    gone.unlink()
    for _ in range(4):
        assert BackupFlawed in rota.after(3600)
    assert len(kept(rota.folder)) == 3
    assert good in kept(rota.folder)
    assert rehearse(good, rota.folder, clock=SYSTEM).problems == ()
    gone.write_bytes(value)
    assert BackupFlawed not in rota.after(3600)
    assert len(kept(rota.folder)) == 2
    assert good not in kept(rota.folder)


def test_a_backup_that_rotted_is_not_taken_for_the_last_good_one(rota: Round, bulky: Places) -> None:
    """Its manifest says that it was whole; the older one still is."""
    rota.after(0)
    rota.after(3600)
    rotten, good = kept(rota.folder)
    rotten.write_bytes(rotten.read_bytes()[:-200])
    next(folder_of(bulky.ledger).iterdir()).unlink()
    for _ in range(3):
        assert BackupFlawed in rota.after(3600)
    assert [path for path in (rotten, good) if path.exists()] == [good]


def test_a_difference_in_the_balance_is_a_flaw(rota: Round, spot: Places) -> None:
    """A backup of a ledger that has lost a job is not as good as the one before."""
    with Ledger(spot.ledger) as ledger:
        lose = "DELETE FROM job WHERE id = (SELECT min(id) FROM job)"
        ledger.writer.submit(lambda tx: tx.run(lose)).wait(LIMIT_S)
    assert rota.after(0) == [BackupDone, BackupFlawed, RestoreTestFailed]
    flawed = next(event for event in rota.events if isinstance(event, BackupFlawed))
    assert flawed.reason == "1 of its 5 accepted jobs are not accounted for"


def test_a_backup_under_a_clock_that_was_set_back_is_kept(rota: Round, spot: Places) -> None:
    """By its name it is the oldest, and it is the only one of what the ledger holds now."""
    for _ in range(2):
        rota.after(3600)
    rota.clock.ms -= 10**9
    for _ in ("whole", "flawed"):
        assert BackupDone in rota.after(3600)
        done = next(event for event in rota.events if isinstance(event, BackupDone))
        assert Path(done.file).is_file()
        change_the_log(spot.ledger)


def test_a_backup_that_rotted_is_told_by_its_rehearsal(rota: Round) -> None:
    """It is found while the ledger is still there."""
    rota.after(0)
    for archive in kept(rota.folder):
        archive.write_bytes(archive.read_bytes()[:-200])
    rota.settings = BackupSettings.model_validate({"every": "2d", "test_every": "3h"})
    assert rota.after(3 * 3600) == [RestoreTestFailed]


# ---- the real thing

_HALF = """
import os, signal, sys
from pathlib import Path
from millrace.clock import SYSTEM
from millrace.config.find import places
from millrace.process.backup import make as making
place = {place!r}
real = getattr(making, place)
def die(*args, **given):
    if {before!r}:
        os.kill(os.getpid(), signal.SIGKILL)
    result = real(*args, **given)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(making, place, die)
making.make(places(Path(sys.argv[1]), dict()), Path(sys.argv[2]), clock=SYSTEM)
"""


@pytest.mark.parametrize(("place", "before"), [("snapshot", False), ("pack", False), ("settle", True)])
def test_a_kill_in_the_middle_leaves_nothing_under_the_name(
    spot: Places,
    tmp_path: Path,
    place: str,
    before: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Half a backup that looks like one is found out on the worst of days."""
    target = tmp_path / "b" / "one.tar.gz"
    target.parent.mkdir()
    argv = [sys.executable, "-c", _HALF.format(place=place, before=before), str(spot.config), str(target)]
    assert subprocess.run(argv, check=False, timeout=60).returncode == -signal.SIGKILL
    assert not target.exists()
    assert list(target.parent.glob(".millrace-*.partial"))
    make(spot, target, clock=SYSTEM)
    assert [path.name for path in target.parent.iterdir()] == ["one.tar.gz"]


_ROTTEN = """
import sys
from pathlib import Path
from millrace.clock import SYSTEM
from millrace.config.find import places
from millrace.process.backup import make as making
real = making.pack
def pack(target, *args):
    manifest = real(target, *args)
    data = bytearray(target.read_bytes())
    data[len(data) // 2] ^= 1
    target.write_bytes(data)
    return manifest
making.pack = pack
making.make(places(Path(sys.argv[1]), dict()), Path(sys.argv[2]), clock=SYSTEM)
"""


def test_what_the_disk_did_not_keep_as_it_was_written_is_no_backup(bulky: Places, tmp_path: Path) -> None:
    """It is read back before it gets its name: the day on which it is needed is too late."""
    target = tmp_path / "b" / "one.tar.gz"
    target.parent.mkdir()
    argv = [sys.executable, "-c", _ROTTEN, str(bulky.config), str(target)]
    done = subprocess.run(argv, check=False, timeout=60, capture_output=True, text=True)
    assert done.returncode == 1
    assert "BackupBroken" in done.stderr
    assert list(target.parent.iterdir()) == []


_HALF_BACK = """
import os, signal, sys
from pathlib import Path
from millrace.clock import SYSTEM
from millrace.config.find import places
from millrace.process.backup import restore as restoring
def kill(*args, **given):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(restoring{owner}, {place!r}, kill)
restoring.restore(Path(sys.argv[2]), places(Path(sys.argv[1]), dict()), clock=SYSTEM)
"""


@pytest.mark.parametrize(
    ("owner", "place", "accepted"),
    [
        ("", "Blobs", 6),
        (".Blobs", "share", 6),
        ("", "folded", 6),
        (".os", "link", 6),
        ("", "_swap", 6),
        ("", "sync_folder", 5),
        ("", "_site_files", 5),
    ],
)
def test_a_kill_in_the_middle_of_a_restore_leaves_the_old_ledger_or_the_new_one(
    bulky: Places, tmp_path: Path, owner: str, place: str, accepted: int
) -> None:
    """There is a ledger under its name at each moment, and it is whole, with the files of its large values."""
    spot = bulky
    archive = make(spot, tmp_path / "one.tar.gz", clock=SYSTEM).file
    with Ledger(spot.ledger) as ledger:
        ledger.moves.accept([NewJob("late", "q")]).wait(LIMIT_S)
    argv = [sys.executable, "-c", _HALF_BACK.format(owner=owner, place=place), str(spot.config), str(archive)]
    assert subprocess.run(argv, check=False, timeout=60).returncode == -signal.SIGKILL
    with Ledger(spot.ledger) as ledger:
        balance = ledger.reads.balance(count_rows=True)
        assert (balance.accepted, balance.difference) == (accepted + 2, 0)
        assert blob_rows.damaged(ledger.reads) == []
    assert restore(archive, spot, clock=SYSTEM).found.accepted == 7
    assert not list(spot.state.glob(".millrace-*"))


def test_a_kill_in_the_middle_of_a_restore_where_no_ledger_is_leaves_none(bulky: Places, tmp_path: Path) -> None:
    """What was only there to be held is not taken for a ledger that has to be kept."""
    archive = make(bulky, tmp_path / "one.tar.gz", clock=SYSTEM).file
    spot = elsewhere(tmp_path)
    argv = [sys.executable, "-c", _HALF_BACK.format(owner="", place="_swap"), str(spot.config), str(archive)]
    assert subprocess.run(argv, check=False, timeout=60).returncode == -signal.SIGKILL
    with pytest.raises(LedgerError):
        Reads.open(spot.ledger)
    done = restore(archive, spot, clock=SYSTEM)
    assert (done.found.accepted, done.before) == (7, None)


_LATE = """
import sys
from pathlib import Path
from millrace.ledger import ledger as opening
from millrace.ledger.rows import NewJob
opening.BUSY_MS = int(sys.argv[2])
with opening.Ledger(Path(sys.argv[1])) as ledger:
    print(ledger.moves.accept([NewJob("late", "q")]).wait(30)[0].id)
"""

_INTO_THE_GAP = """
import subprocess, sys
from contextlib import suppress
from pathlib import Path
from millrace.clock import SYSTEM
from millrace.config.find import places
from millrace.process.backup import restore as restoring
from tests.process.scratch import until
config, archive, late, patience = sys.argv[1:]
spot = places(Path(config), dict())
real = restoring{owner}.{place}
def meets(pid):
    with suppress(OSError):
        return any(str(fd.readlink()) == str(spot.ledger) for fd in Path(f"/proc/{{pid}}/fd").iterdir())
def gap(*args, **given):
    setattr(restoring{owner}, {place!r}, real)
    submitter = subprocess.Popen([sys.executable, "-c", late, str(spot.ledger), patience])
    until(lambda: submitter.poll() is not None or (patience == "5000" and meets(submitter.pid)), "the submitter")
    return real(*args, **given)
setattr(restoring{owner}, {place!r}, gap)
restoring.restore(Path(archive), spot, clock=SYSTEM)
"""


def restore_beside_a_submitter(archive: Path, spot: Places, gap: tuple[str, str], patience_ms: int) -> str:
    """Restore, and let a submitter come at a place; return the id of its job, nothing if it was refused."""
    script = _INTO_THE_GAP.format(owner=gap[0], place=gap[1])
    argv = [sys.executable, "-c", script, str(spot.config), str(archive), _LATE, str(patience_ms)]
    done = subprocess.run(argv, check=False, timeout=60, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout or "LedgerBusy" in done.stderr, done.stderr
    return done.stdout.strip()


WITH_OLD = [(".os", "link"), (".Blobs", "share")]
ALWAYS = [(".Blobs", "adopt"), ("", "_swap"), (".Path", "replace")]


@pytest.mark.parametrize(
    ("gap", "there"),
    [*((gap, True) for gap in WITH_OLD + ALWAYS), *((gap, False) for gap in ALWAYS)],
    ids=lambda given: given[1] if isinstance(given, tuple) else "replaced" if given else "first",
)
def test_no_job_is_acknowledged_that_a_restore_leaves_behind(
    bulky: Places, tmp_path: Path, gap: tuple[str, str], *, there: bool
) -> None:
    """Neither in the ledger that has been set aside, nor in one that a command makes where there was none."""
    archive = make(bulky, tmp_path / "one.tar.gz", clock=SYSTEM).file
    spot = bulky if there else elsewhere(tmp_path)
    late = restore_beside_a_submitter(archive, spot, gap, patience_ms=50)
    with Ledger(spot.ledger) as ledger:
        assert not late or ledger.reads.job(late).task == "late"
        balance = ledger.reads.balance(count_rows=True)
        assert (balance.accepted, balance.difference) == (8 if late else 7, 0)
        assert blob_rows.damaged(ledger.reads) == []


@pytest.mark.parametrize("there", [True, False], ids=["replaced", "first"])
def test_who_waits_for_a_restore_submits_to_the_new_ledger(bulky: Places, tmp_path: Path, *, there: bool) -> None:
    """It had the old file open when that lost its name."""
    archive = make(bulky, tmp_path / "one.tar.gz", clock=SYSTEM).file
    spot = bulky if there else elsewhere(tmp_path)
    late = restore_beside_a_submitter(archive, spot, ("", "_swap"), patience_ms=5000)
    with Ledger(spot.ledger) as ledger:
        assert ledger.reads.job(late).task == "late"
        assert ledger.reads.balance(count_rows=True).accepted == 8


def test_a_daemon_backs_itself_up_and_tells(make_site: MakeSite) -> None:
    """While it works; and its health says when the last one was made."""
    site = make_site('[backup]\nevery = "1h"\nkeep = 1\n')
    daemon = site.serve()
    done = daemon.await_event("backup.done")
    assert Path(done["file"]).is_file()
    daemon.await_event("backup.restore_tested")
    until(lambda: site.ask("GET", "/health").json()["checks"]["backup"]["tested"], "the note of the rehearsal")
    check = site.ask("GET", "/health").json()["checks"]["backup"]
    assert (check["status"], check["every_s"], check["file"]) == ("pass", 3600.0, done["file"])
    assert daemon.stop() == 0


def test_backup_and_restore_from_the_command_line(make_site: MakeSite) -> None:
    """The whole way: back up while it runs, lose the ledger, and have every job again."""
    site = make_site()
    daemon = site.serve()
    job_id = site.submit("add", a=1, b=2)
    site.await_final(job_id)
    file = site.root / "mine.tar.gz"
    told = json.loads(site.run("backup", str(file), "--json").stdout)
    assert (told["accepted"], told["difference"]) == (1, 0)
    assert "a daemon already serves" in site.run("restore", str(file), "--yes", code=75).stderr
    assert daemon.stop() == 0
    site.ledger.unlink()
    assert json.loads(site.run("restore", str(file), "--check", "--json").stdout)["whole"] is True
    assert not site.ledger.exists()
    site.run("restore", str(file))
    assert "There is nobody to ask here: add --yes" in site.run("restore", str(file), code=1).stderr
    assert json.loads(site.run("jobs", "show", job_id, "--json").stdout)["status"] == "succeeded"
    assert "chain holds" in site.run("audit", "verify").stdout
    change_the_log(site.ledger)
    flawed = site.run("backup", str(site.root / "flawed.tar.gz"))
    assert f"The backup has a flaw of the ledger: {FLAW}" in flawed.stderr
    assert "row 1" in site.run("restore", str(site.root / "flawed.tar.gz"), "--yes").stderr
    file.write_bytes(file.read_bytes()[:-300])
    assert "not whole" in site.run("restore", str(file), "--check", code=1).stdout
    assert site.serve().stop() == 0


def test_a_folder_that_is_not_there_is_not_made(make_site: MakeSite, tmp_path: Path) -> None:
    """A mistyped mount point would put the backup onto the disk that it is to outlive."""
    site = make_site()
    site.submit("add", a=1, b=2)
    said = site.run("backup", str(tmp_path / "nosuch" / "x.tar.gz"), code=1).stderr
    assert f"there is no folder {tmp_path / 'nosuch'}" in said
    assert not (tmp_path / "nosuch").exists()


def test_a_stopped_copy_is_no_backup(spot: Places, tmp_path: Path) -> None:
    """The daemon stops: what is half done is left."""
    with pytest.raises(LedgerError, match="stopped"):
        make(spot, tmp_path / "one.tar.gz", clock=SYSTEM, stop=lambda: True)
    assert [path.name for path in tmp_path.iterdir()] == ["site"]


def test_the_files_of_large_values_are_in_a_backup_and_come_back(bulky: Places, tmp_path: Path) -> None:
    """A ledger without them would be full of jobs that nobody can run."""
    archive = make(bulky, tmp_path / "one.tar.gz", clock=SYSTEM).file
    assert len([name for name in unpack(archive, None)["files"] if name.startswith("ledger.db-blobs/")]) == 2
    seen = rehearse(archive, tmp_path, clock=SYSTEM)
    assert (seen.problems, seen.files) == ((), 4)
    new = elsewhere(tmp_path)
    restore(archive, new, clock=SYSTEM)
    with Ledger(new.ledger) as ledger:
        assert [job.payload for job in ledger.reads.jobs(JobFilter(), whole=True).jobs[:2]] == [LARGE_TEXT] * 2
        assert blob_rows.strays(ledger.reads, 1 << 62) == []
    assert {path.stat().st_mode & 0o777 for path in folder_of(new.ledger).iterdir()} == {0o600}


def test_a_backup_without_one_of_them_is_made_and_says_so(bulky: Places, tmp_path: Path) -> None:
    """It is the best there is, and the rehearsal names what is lost."""
    lost = next(folder_of(bulky.ledger).iterdir())
    lost.unlink()
    archive = make(bulky, tmp_path / "one.tar.gz", clock=SYSTEM).file
    assert f"ledger.db-blobs/{lost.name}" in unpack(archive, None)["left_out"]
    (problem,) = rehearse(archive, tmp_path, clock=SYSTEM).problems
    assert f": ledger.db-blobs/{lost.name}: No such file" in problem


def test_the_ledger_before_a_restore_keeps_its_files(bulky: Places, tmp_path: Path) -> None:
    """It is kept so that somebody can go back to it; the new ledger's search for strays must not empty it."""
    archive = make(bulky, tmp_path / "one.tar.gz", clock=SYSTEM).file
    with Ledger(bulky.ledger) as ledger:
        later = ledger.moves.accept([NewJob("add", "q", LARGE_TEXT)]).wait(LIMIT_S)[0].id
    before = restore(archive, bulky, clock=SYSTEM).before
    assert before is not None
    with Ledger(bulky.ledger) as ledger:
        strays = blob_rows.strays(ledger.reads, 1 << 62)
        assert ledger.moves.remove_strays(strays).wait(LIMIT_S) == 1
        assert blob_rows.damaged(ledger.reads) == []
    with Ledger(before) as ledger:
        assert ledger.reads.job(later).payload == LARGE_TEXT
        assert blob_rows.damaged(ledger.reads) == []


def test_what_is_pruned_while_a_backup_is_made_is_in_it(bulky: Places, tmp_path: Path) -> None:
    """Its row is in the copy; the file goes only once it has been packed."""
    with Ledger(bulky.ledger) as ledger:
        ledger.moves.daemon = "d1"
        held = [one for one in ledger.moves.claim("q", 10).wait(LIMIT_S) if one.payload.startswith("@")]
        for one in held:
            ledger.moves.succeed(one, None, duration_s=0.0).wait(LIMIT_S)
        pruned = 0

        def prune_now() -> bool:
            nonlocal pruned
            ids = [one.job_id for one in held]
            pruned += ledger.moves.prune_jobs(ids, Status.SUCCEEDED, 1 << 62).wait(LIMIT_S)
            return False

        archive = make(bulky, tmp_path / "one.tar.gz", clock=SYSTEM, stop=prune_now).file
        assert pruned == 2
        assert rehearse(archive, tmp_path, clock=SYSTEM).problems == ()


def large_files(ledger: Path) -> dict[str, bytes]:
    """Return the files of large values by name."""
    return {path.name: path.read_bytes() for path in folder_of(ledger).iterdir()}


def test_a_backup_of_a_damaged_value_does_not_replace_the_good_one(bulky: Places, tmp_path: Path) -> None:
    """Somebody put it right after the backup: it may be the only good copy that there is. Nor in what is kept."""
    good = large_files(bulky.ledger)
    hurt = folder_of(bulky.ledger) / min(good)
    hurt.write_bytes(b"harm" + good[hurt.name][4:])
    archive = make(bulky, tmp_path / "one.tar.gz", clock=SYSTEM).file
    hurt.write_bytes(good[hurt.name])
    done = restore(archive, bulky, clock=SYSTEM)
    assert large_files(bulky.ledger) == good
    assert done.before is not None
    assert large_files(done.before) == good
    assert done.lost == ()


def test_a_restore_mends_a_damaged_value_and_keeps_what_was_there(bulky: Places, tmp_path: Path) -> None:
    """What is kept is kept as it was, the harm included: its file is another one by then."""
    good = large_files(bulky.ledger)
    archive = make(bulky, tmp_path / "one.tar.gz", clock=SYSTEM).file
    hurt = folder_of(bulky.ledger) / min(good)
    hurt.unlink()
    hurt.write_bytes(b"harm" + good[hurt.name][4:])
    done = restore(archive, bulky, clock=SYSTEM)
    assert large_files(bulky.ledger) == good
    assert done.before is not None
    assert large_files(done.before)[hurt.name].startswith(b"harm")


def test_a_restore_that_is_refused_has_touched_no_file(bulky: Places, tmp_path: Path) -> None:
    """A command has the ledger open: it goes on with the ledger and the values that it knows."""
    archive = make(bulky, tmp_path / "one.tar.gz", clock=SYSTEM).file
    hurt = min(folder_of(bulky.ledger).iterdir())
    hurt.write_bytes(b"harm")
    before = large_files(bulky.ledger)
    with Ledger(bulky.ledger), pytest.raises(LedgerBusy):
        restore(archive, bulky, clock=SYSTEM)
    assert large_files(bulky.ledger) == before
    assert not list(bulky.state.glob("*.before-*"))


def test_what_a_link_points_to_is_replaced_and_kept(bulky: Places, tmp_path: Path) -> None:
    """The ledger lies on the large disk, and a link to it in the state folder."""
    disk = tmp_path / "disk"
    disk.mkdir()
    bulky.ledger.rename(disk / "moved.db")
    folder_of(bulky.ledger).rename(disk / "moved.db-blobs")
    bulky.ledger.symlink_to(disk / "moved.db")
    archive = make(bulky, tmp_path / "one.tar.gz", clock=SYSTEM).file
    done = restore(archive, bulky, clock=SYSTEM)
    assert bulky.ledger.is_symlink()
    assert done.before is not None
    assert (done.before.parent, done.before.is_symlink()) == (disk, False)
    for ledger in (bulky.ledger, done.before):
        with Ledger(ledger) as opened:
            assert blob_rows.damaged(opened.reads) == []
    assert not list(bulky.state.glob("*.before-*"))


def test_a_backup_of_another_site_is_told_apart(spot: Places, tmp_path: Path) -> None:
    """The admin token of the ledger that was there is none of the new one."""
    archive = make(spot, tmp_path / "one.tar.gz", clock=SYSTEM).file
    new = elsewhere(tmp_path)
    assert restore(archive, new, clock=SYSTEM).other_site is False
    assert restore(archive, new, clock=SYSTEM).other_site is False
    new.ledger.unlink()
    Ledger(new.ledger).close()
    assert restore(archive, new, clock=SYSTEM).other_site is True


def test_a_restored_ledger_has_no_children(spot: Places, tmp_path: Path) -> None:
    """The next daemon would end those on record: they may be at work for the site that the backup is of."""
    with Ledger(spot.ledger) as ledger:
        ledger.moves.child_started(ChildRow(1, 2, 1, "d0", "q")).wait(LIMIT_S)
    archive = make(spot, tmp_path / "one.tar.gz", clock=SYSTEM).file
    new = elsewhere(tmp_path)
    restore(archive, new, clock=SYSTEM)
    with Ledger(new.ledger) as ledger:
        assert ledger.reads.children() == []


GONE = os.strerror(errno.ENOENT)


def test_each_lost_value_is_named_by_backup_rehearsal_and_restore(bulky: Places, tmp_path: Path) -> None:
    """One that is gone and one of another content: with its job each, and by a name that still means something."""
    gone, hurt = sorted(folder_of(bulky.ledger).iterdir())
    gone.unlink()
    hurt.write_bytes(b"harm" + hurt.read_bytes()[4:])
    with Ledger(bulky.ledger) as ledger:
        owner = {one.name: one.owner for one in blob_rows.of_ledger(ledger.reads)}
    done = make(bulky, tmp_path / "one.tar.gz", clock=SYSTEM)
    assert unpack(done.file, None)["lost"] == list(done.lost)
    new = elsewhere(tmp_path)
    told = {
        "millrace.db-blobs": [list(done.lost), list(restore(done.file, new, clock=SYSTEM).lost)],
        "ledger.db-blobs": [list(rehearse(done.file, tmp_path, clock=SYSTEM).problems)],
    }
    for folder, lists in told.items():
        for texts in lists:
            assert texts == [
                f"the file of a large value cannot be read: {folder}/{gone.name}: {GONE} ({owner[gone.name]})",
                f"the file of a large value is not what was written: {folder}/{hurt.name} ({owner[hurt.name]})",
            ]


def test_a_lost_value_is_told_with_each_backup(rota: Round, bulky: Places) -> None:
    """As a flaw of the audit log is: there is a backup, and it is not all."""
    gone, _ = sorted(folder_of(bulky.ledger).iterdir())
    gone.unlink()
    assert rota.after(0) == [BackupDone, BackupFlawed, RestoreTestFailed]
    flawed = next(event for event in rota.events if isinstance(event, BackupFlawed))
    assert gone.name in flawed.reason


def test_the_command_line_names_what_is_lost(make_site: MakeSite) -> None:
    """And does not call that whole; nor does the restore pass over it, or over the tokens of another site."""
    site = make_site()
    site.put(NewJob("add", "q", LARGE_TEXT))
    (file,) = folder_of(site.ledger).iterdir()
    file.unlink()
    done = site.run("backup", "one.tar.gz")
    assert done.stdout.rstrip().endswith("1 large value lost")
    assert file.name in done.stderr
    back = site.run("restore", "one.tar.gz", "--yes").stderr
    assert f"Lost: the file of a large value cannot be read: millrace.db-blobs/{file.name}" in back
    assert "another ledger" not in back
    site.ledger.unlink()
    (site.state / "millrace.db.made").unlink()
    site.submit("add", a=1, b=2)
    assert "`millrace tokens create`" in site.run("restore", "one.tar.gz", "--yes").stderr


def test_a_folder_elsewhere_that_is_not_there_is_not_made_by_the_daemon(rota: Round, tmp_path: Path) -> None:
    """Its disk is not mounted: the backups would lie on the disk that they are to outlive, and fill it."""
    folder = tmp_path / "mnt"
    rota.settings = BackupSettings.model_validate({"every": "1h", "folder": str(folder)})
    assert rota.after(0) == [BackupFailed]
    assert f"there is no folder {folder}" in str(rota.events[0])
    assert not folder.exists()
    folder.mkdir()
    assert rota.after(AGAIN_S) == [BackupDone, RestoreTested]


def test_another_folder_gets_a_backup_at_once(rota: Round, tmp_path: Path) -> None:
    """The last one lies where nobody counts it any more."""
    assert BackupDone in rota.after(0)
    rota.settings = BackupSettings.model_validate({"every": "1h", "folder": str(tmp_path)})
    assert BackupDone in rota.after(60)
    assert rota.after(60) == []


def test_a_backup_by_hand_counts_only_in_the_folder_of_backups(make_site: MakeSite, tmp_path: Path) -> None:
    """One that somebody takes home must not put off those that the daemon keeps."""
    site = make_site()
    site.submit("add", a=1, b=2)
    site.run("backup", str(tmp_path / "home.tar.gz"))
    assert site.reads.note(BACKUP) is None
    site.run("backup")
    assert "backups/millrace-" in str(site.reads.note(BACKUP))
