"""A ledger of an older version, as a site has it, brought up to this one."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from millrace.ledger.ledger import Ledger
from millrace.ledger.migrations import VERSION
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
