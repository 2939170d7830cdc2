"""Whether a ledger was ever made in a place."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from millrace.errors import LedgerDamaged, LedgerGone, NotFound
from millrace.ledger.ledger import Ledger
from millrace.ledger.reads import Reads
from millrace.ledger.rows import NewJob
from tests.ledger.rig import LIMIT_S

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: os.truncate(path, 0)], ids=["gone", "empty"])
def test_a_ledger_that_is_gone_is_not_made_anew(tmp_path: Path, harm: Callable[[Path], object]) -> None:
    """SQLite makes an empty one without a word; whoever wants that says so by removing the mark."""
    path = tmp_path / "millrace.db"
    Ledger(path).close()
    harm(path)
    with pytest.raises(LedgerGone, match=r"remove millrace\.db\.made to begin with an empty one"):
        Ledger(path)
    with pytest.raises(LedgerGone):
        Reads.open(path)
    assert not path.exists() or path.stat().st_size == 0
    (tmp_path / "millrace.db.made").unlink()
    with Ledger(path) as ledger:
        assert ledger.reads.status_counts() == dict.fromkeys(ledger.reads.status_counts(), 0)


def test_where_there_never_was_one_it_is_missing_and_not_gone(tmp_path: Path) -> None:
    """The first look at a new site is no alarm."""
    with pytest.raises(NotFound):
        Reads.open(tmp_path / "millrace.db")


def test_a_ledger_from_before_the_mark_gets_it(tmp_path: Path) -> None:
    """An upgrade protects what is there already."""
    path = tmp_path / "millrace.db"
    Ledger(path).close()
    (tmp_path / "millrace.db.made").unlink()
    Ledger(path).close()
    assert (tmp_path / "millrace.db.made").exists()


def test_damage_that_a_look_meets_is_noted(tmp_path: Path) -> None:
    """The daemon looks there each second, and writes no more on such a file."""
    path = tmp_path / "millrace.db"
    with Ledger(path) as ledger:
        for _ in range(50):
            ledger.moves.accept([NewJob("add", "q", "x" * 500)]).wait(LIMIT_S)
        assert ledger.reads.damage is None
    connection = apsw.Connection(str(path))
    root: Any = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'job'").fetchall()[0][0]
    connection.close()
    with path.open("r+b") as file:
        file.seek((root - 1) * 4096)
        file.write(b"\xff" * 200)
    reads = Reads(path)
    with pytest.raises(LedgerDamaged, match="put a backup back"):
        reads.balance(count_rows=True)
    assert reads.damage is not None
    reads.close()


def test_a_young_ledger_whose_log_was_removed_is_gone(tmp_path: Path) -> None:
    """All that it held was in the log: the file alone looks as if there had never been anything."""
    path = tmp_path / "millrace.db"
    with Ledger(path) as ledger:
        ledger.moves.accept([NewJob("add", "q")]).wait(LIMIT_S)
        content = path.read_bytes()  # as a kill leaves it
    assert len(content) == 4096
    path.write_bytes(content)
    for look in (Ledger, Reads.open):
        with pytest.raises(LedgerGone, match=r"in millrace\.db-wal, which is missing"):
            look(path)
    assert path.read_bytes() == content
    (tmp_path / "millrace.db.made").unlink()
    with Ledger(path) as ledger:
        assert ledger.reads.balance(count_rows=True).accepted == 0
