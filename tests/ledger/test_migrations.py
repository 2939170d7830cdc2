"""A ledger of an older version, as a site has it, brought up to this one."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
from contextlib import closing
from pathlib import Path

import apsw
import pytest

from millrace.errors import LedgerForeign
from millrace.ledger.database import VERSION
from millrace.ledger.ledger import Ledger
from millrace.ledger.reads import Reads
from tests.ledger.rig import LIMIT_S, Book, OwnClock
from tests.ledger.runs_rig import DIAMOND, Works

OLD = Path(__file__).parent / "version_1.sql"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file that version 1 wrote, with jobs in it."""
    path = tmp_path / "old.db"
    connection = apsw.Connection(str(path))
    connection.execute(OLD.read_text())
    connection.close()
    return path


def schema(path: Path) -> set[tuple[str, str, str]]:
    """Return all tables and indexes with the text that made them."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        rows = connection.execute("SELECT type, name, coalesce(sql, '') FROM sqlite_schema").fetchall()
        return {(str(row[0]), str(row[1]), str(row[2])) for row in rows if not str(row[1]).startswith("sqlite_stat")}
    finally:
        connection.close()


def test_an_older_ledger_becomes_what_a_fresh_one_is(old: Path, tmp_path: Path) -> None:
    """Statements and plans are tested on fresh ledgers; a site that was upgraded must have the same indexes."""
    Ledger(tmp_path / "fresh.db").close()
    before = schema(old)
    Ledger(old).close()
    assert before < schema(old) == schema(tmp_path / "fresh.db")
    Ledger(old).close()
    with apsw.Connection(str(old)) as connection:
        assert connection.pragma("user_version") == VERSION


@pytest.mark.filterwarnings("ignore:This process")
def test_a_kill_at_any_statement_of_the_upgrade_leaves_the_old_version_or_the_new_one(
    old: Path, tmp_path: Path
) -> None:
    """Half an upgraded ledger would be one that no version can read."""
    before = schema(old)
    Ledger(tmp_path / "fresh.db").close()
    after = schema(tmp_path / "fresh.db")
    versions = []
    for number in range(1, 1000):
        path = tmp_path / "try.db"
        for file in tmp_path.glob("try.db*"):
            file.unlink()
        shutil.copy(old, path)
        killed = upgrade_until(path, number)
        with closing(apsw.Connection(str(path))) as connection:
            version = connection.pragma("user_version")
            assert connection.pragma("integrity_check") == "ok"
        versions.append(version)
        assert schema(path) == (before if version == 1 else after), number
        if not killed:
            break
    Ledger(path).close()
    assert schema(path) == after
    assert versions == sorted(versions)
    assert set(versions) == {1, VERSION}
    assert len(versions) > 20


def upgrade_until(path: Path, number: int) -> bool:
    """Open a ledger in a process that is killed before its statement of this number; return whether it was."""
    child = os.fork()
    if child == 0:
        statements = itertools.count(1)

        def trace(_cursor: object, _sql: str, _values: object) -> bool:
            if next(statements) == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return True

        apsw.connection_hooks.append(lambda connection: connection.set_exec_trace(trace))
        Ledger(path).close()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
    return os.WIFSIGNALED(status)


def test_a_newer_ledger_is_refused_by_looks_too(old: Path) -> None:
    """What it says may mean something else by now."""
    Ledger(old).close()
    with closing(apsw.Connection(str(old))) as connection:
        connection.execute(f"PRAGMA user_version = {VERSION + 1}")
    content = old.read_bytes()
    with pytest.raises(LedgerForeign, match="newer Millrace"):
        Reads.open(old)
    assert old.read_bytes() == content


def test_jobs_of_an_older_ledger_go_on_and_runs_work_beside_them(old: Path) -> None:
    """Nothing of what was accepted is lost, and what the old daemon ran is taken back."""
    clock = OwnClock()
    with Ledger(old, clock=clock, synchronous="normal") as ledger:
        ledger.moves.daemon = "d2"
        book = Book(ledger, clock, old)
        works = Works(book)
        assert ledger.reads.status_counts() == {
            "waiting": 0, "queued": 1, "running": 1, "succeeded": 1, "dead": 1, "cancelled": 1,
        }  # fmt: skip
        assert ledger.moves.take_back(set()).wait(LIMIT_S) == (1, 0)
        assert works.work_off() == 2
        run_id = works.start(DIAMOND)
        works.fan_out(2)
        works.work_off()
        assert works.run(run_id).status == "succeeded"
        assert works.sound()


def test_a_ledger_of_version_2_gets_what_large_values_need(tmp_path: Path) -> None:
    """Version 2 never was released, but sites that followed the work have it."""
    path = tmp_path / "two.db"
    Ledger(path).close()
    after = schema(path)
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute("DROP TABLE blob")
        connection.execute("PRAGMA user_version = 2")
    Ledger(path).close()
    assert schema(path) == after
