"""Opening a ledger: fresh, older, newer, foreign, damaged, killed in the middle of its making, and by many at once."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import apsw
import pytest
from playhouse.apsw_ext import APSWDatabase

from millrace.errors import LedgerError, LedgerForeign, LedgerFull, SettingsError
from millrace.ledger import database, migrations
from millrace.ledger.database import VERSION, disk_bytes, log_pragmas
from millrace.ledger.ledger import Ledger
from millrace.ledger.migrations import migrate
from millrace.ledger.models import TABLES
from millrace.ledger.rows import NewJob
from tests.ledger.rig import LIMIT_S, START_MS, Book

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def look(path: Path, sql: str) -> list[tuple[object, ...]]:
    """Ask a file a question without changing it."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def digest(path: Path) -> str:
    """Return what the file is, byte for byte."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def open_files(path: Path) -> int:
    """Return how many descriptors of this process lead to a database."""
    count = 0
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - names alone
        try:
            count += os.readlink(f"/proc/self/fd/{name}").startswith(str(path))  # noqa: PTH115
        except FileNotFoundError:
            continue
    return count


def test_a_fresh_ledger_is_durable_by_default_and_says_what_it_is(tmp_path: Path) -> None:
    """The pragmas are promises: full is what the README says."""
    path = tmp_path / "state" / "l.db"
    with Ledger(path) as ledger:
        pragma = {
            name: ledger.writer.submit(lambda tx, name=name: tx.connection.pragma(name)).wait(LIMIT_S)  # type: ignore[misc]
            for name in ("journal_mode", "synchronous", "auto_vacuum", "application_id", "user_version")
        }
    assert pragma == {
        "journal_mode": "wal",
        "synchronous": 2,
        "auto_vacuum": 2,
        "application_id": 0x4D494C4C,
        "user_version": VERSION,
    }
    tables = {row[0] for row in look(path, "SELECT name FROM sqlite_schema WHERE type = 'table'")}
    assert {table._meta.table_name for table in TABLES} <= tables
    assert all(
        row[0]
        for row in look(path, "SELECT strict FROM pragma_table_list WHERE schema = 'main' AND name NOT LIKE 'sqlite_%'")
    )


@pytest.mark.parametrize(
    ("disk", "pages", "limit"),
    [
        (8 * 2**20, 64, 2**18),
        (64 * 2**20, 512, 2**21),
        (10**9, 2000, 31_250_000),
        (10**12, 2000, 64_000_000),
        (0, 2000, 64_000_000),
    ],
)
def test_the_log_is_bounded_by_the_size_of_the_disk(disk: int, pages: int, limit: int) -> None:
    """8 MB of log are all of a small disk, and a large one is to be as fast as ever."""
    assert dict(log_pragmas(disk)) == {"wal_autocheckpoint": pages, "journal_size_limit": limit}


def test_the_log_of_an_open_ledger_is_bounded_by_its_disk(tmp_path: Path) -> None:
    """By that of the database itself, whatever links to it."""
    with Ledger(tmp_path / "l.db") as ledger:
        found = ledger.writer.submit(lambda tx: tx.connection.pragma("wal_autocheckpoint")).wait(LIMIT_S)
    assert found == dict(log_pragmas(disk_bytes(tmp_path)))["wal_autocheckpoint"]


def test_synchronous_can_be_chosen_and_nothing_else(tmp_path: Path) -> None:
    """`off` would make "accepted" a lie."""
    with Ledger(tmp_path / "l.db", synchronous="normal") as ledger:
        assert ledger.writer.submit(lambda tx: tx.connection.pragma("synchronous")).wait(LIMIT_S) == 1
    with pytest.raises(ValueError, match="extra, full, normal, not off"):
        Ledger(tmp_path / "m.db", synchronous="off")


def test_what_was_accepted_is_there_after_a_reopening(tmp_path: Path) -> None:
    """And the ledger is the same one."""
    path = tmp_path / "l.db"
    with Ledger(path) as ledger:
        job_id = ledger.moves.accept([NewJob("add", "q")]).wait(LIMIT_S)[0].id
        name = ledger.reads.ledger_id()
    with Ledger(path) as ledger:
        assert ledger.reads.job(job_id).status == "queued"
        assert ledger.reads.ledger_id() == name
    assert open_files(path) == 0


def test_a_newer_ledger_is_refused_untouched(tmp_path: Path) -> None:
    """An old version that writes into a newer file would damage what it does not know."""
    path = tmp_path / "l.db"
    Ledger(path).close()
    connection = apsw.Connection(str(path))
    connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    connection.close()
    before = digest(path)
    with pytest.raises(LedgerForeign, match=f"version {VERSION + 1}, written by a newer Millrace"):
        Ledger(path)
    assert digest(path) == before
    assert open_files(path) == 0


@pytest.mark.parametrize("mark", [0, 12345])
def test_another_programs_database_is_refused_untouched(tmp_path: Path, mark: int) -> None:
    """A slip in the configuration must not change a foreign file, not even its journal mode."""
    path = tmp_path / "foreign.db"
    connection = apsw.Connection(str(path))
    connection.execute(f"PRAGMA application_id = {mark}")
    connection.execute("CREATE TABLE orders (id)")
    connection.close()
    before = digest(path)
    with pytest.raises(LedgerForeign, match="another program"):
        Ledger(path)
    assert digest(path) == before
    assert look(path, "PRAGMA journal_mode") == [("delete",)]
    assert sorted(found.name for found in tmp_path.iterdir()) == ["foreign.db"]
    assert open_files(path) == 0


def test_a_file_that_is_no_database_is_refused_untouched(tmp_path: Path) -> None:
    """A photograph, say."""
    path = tmp_path / "l.db"
    path.write_bytes(b"\xff\xd8\xff" * 5000)
    before = digest(path)
    with pytest.raises(LedgerForeign, match="not a database"):
        Ledger(path)
    assert digest(path) == before


def test_an_empty_file_becomes_a_ledger(tmp_path: Path) -> None:
    """As `touch` or an interrupted first start leave it."""
    path = tmp_path / "l.db"
    path.touch()
    with Ledger(path) as ledger:
        assert ledger.moves.accept([NewJob("add", "q")]).wait(LIMIT_S)


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """In words that lead to the setting."""
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError, match=r"state folder .*file"):
        Ledger(tmp_path / "file" / "l.db")
    (tmp_path / "l.db").mkdir()
    with pytest.raises(LedgerError, match="CantOpenError"):
        Ledger(tmp_path / "l.db")


KILLED = """
import os, sys
from pathlib import Path
import playhouse.apsw_ext as ext
from millrace.ledger.ledger import Ledger
class Count:
    left = int(sys.argv[2])
execute = ext.APSWDatabase.execute_sql
def counted(self, sql, *rest, **more):
    Count.left -= 1
    if Count.left < 0:
        os.kill(os.getpid(), 9)
    return execute(self, sql, *rest, **more)
ext.APSWDatabase.execute_sql = counted
Ledger(Path(sys.argv[1])).close()
"""


@pytest.mark.parametrize("steps", [5, 12, 16, 25, 32])
def test_a_first_start_that_is_killed_leaves_nothing_half_made(tmp_path: Path, steps: int) -> None:
    """Killed at the nth statement of its making, the next start finds an empty file or a whole ledger."""
    path = tmp_path / "l.db"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path), str(steps)], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL, "the statements ran out before the kill: the test proves nothing"
    assert look(path, "SELECT count(*) FROM sqlite_schema") == [(0,)]
    with Ledger(path) as ledger:
        assert ledger.moves.accept([NewJob("add", "q")]).wait(LIMIT_S)
        assert ledger.reads.balance(count_rows=True).difference == 0


def test_an_older_ledger_is_brought_up_step_by_step_or_not_at_all(tmp_path: Path) -> None:
    """The migrations and the version number are one transaction; those that were applied are not repeated."""
    path = tmp_path / "l.db"
    Ledger(path).close()
    applied: list[int] = []
    base = APSWDatabase(str(path), thread_safe=False)
    base.connect()

    def step(number: int) -> Callable[[APSWDatabase], None]:
        def run(db: APSWDatabase) -> None:
            applied.append(number)
            db.execute_sql("CREATE TABLE one (x)")

        return run

    migrations.MIGRATIONS.update({number: step(number) for number in (VERSION + 1, VERSION + 2)})
    kept, migrations.VERSION = migrations.VERSION, VERSION + 2  # type: ignore[attr-defined]
    try:
        with pytest.raises(Exception, match="already exists"):
            migrate(base, now_ms=START_MS)
        assert look(path, "PRAGMA user_version") == [(VERSION,)]
        assert look(path, "SELECT count(*) FROM sqlite_schema WHERE name = 'one'") == [(0,)]
        migrations.MIGRATIONS[VERSION + 2] = lambda db: db.execute_sql("CREATE TABLE two (x)")
        migrate(base, now_ms=START_MS)
        migrate(base, now_ms=START_MS)
    finally:
        migrations.VERSION = kept  # type: ignore[attr-defined]
        for number in (VERSION + 1, VERSION + 2):
            migrations.MIGRATIONS.pop(number, None)
        base.close()
    assert look(path, "PRAGMA user_version") == [(VERSION + 2,)]
    assert look(path, "SELECT count(*) FROM sqlite_schema WHERE name IN ('one', 'two')") == [(2,)]
    assert applied == [VERSION + 1, VERSION + 2, VERSION + 1]


def test_many_may_make_the_ledger_at_once(tmp_path: Path) -> None:
    """A daemon and several commands on a fresh site: one makes it, all use it."""
    path = tmp_path / "l.db"
    failed: list[BaseException] = []
    ready = threading.Barrier(6)

    def start() -> None:
        ready.wait(LIMIT_S)
        try:
            with Ledger(path, synchronous="normal") as ledger:
                ledger.moves.accept([NewJob("add", "q")]).wait(LIMIT_S)
        except BaseException as error:  # noqa: BLE001 - looked at below
            failed.append(error)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    assert failed == []
    assert look(path, "SELECT count(*) FROM job") == [(6,)]
    assert look(path, "SELECT count(*) FROM meta") == [(1,)]


def test_listeners_hear_of_commits_that_concern_others(book: Book) -> None:
    """New work, new times, wishes to end; not of a heartbeat."""
    heard: list[tuple[set[str], bool, bool]] = []
    book.ledger.on_change.append(lambda changes: heard.append((changes.queued, changes.due, changes.cancels)))
    book.accept()
    book.accept(due_at=START_MS + 5)
    book.ledger.moves.beat().wait(LIMIT_S)
    (held,) = book.claim()
    book.ledger.moves.cancel(held.job_id, actor="ann").wait(LIMIT_S)
    assert heard == [({"q"}, False, False), (set(), True, False), (set(), False, True)]


def test_an_old_sqlite_is_refused() -> None:
    """Older ones may corrupt a WAL database; the one that the driver brings is not."""
    database.check_sqlite()
    assert tuple(map(int, apsw.sqlite_lib_version().split("."))) >= database.OLDEST_SQLITE


@pytest.mark.parametrize(
    ("foreign", "ours"),
    [(apsw.FullError, LedgerFull), (apsw.NotADBError, LedgerForeign), (apsw.IOError, LedgerError)],
)
def test_errors_of_the_driver_are_translated(foreign: type[apsw.Error], ours: type[LedgerError]) -> None:
    """Most specific first."""
    assert type(database.translate(foreign("x"))) is ours
