"""A copy of a ledger in use: one moment, whole, and nobody waits for it."""

from __future__ import annotations

from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pytest

from millrace.errors import LedgerBusy, LedgerError, LedgerForeign
from millrace.ledger.ledger import Ledger
from millrace.ledger.rows import NewJob
from millrace.ledger.snapshot import examine, fold, folded, size_of, snapshot
from tests.ledger.rig import LIMIT_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.ledger.rig import Book

OLD = Path(__file__).parent / "version_1.sql"
PAGE = 4096


def test_a_copy_is_one_file_with_all_that_was_committed(book: Book, tmp_path: Path) -> None:
    """What is still in the log belongs to it; a plain copy of the file would have none of this."""
    kept = [book.accept(payload='{"n":1}') for _ in range(20)]
    book.ledger.moves.pause("q", actor="cli:ann").wait(LIMIT_S)
    book.ledger.moves.audit("cli:ann", "job.look", "x").wait(LIMIT_S)
    copy = tmp_path / "copy.db"
    snapshot(book.path, copy)
    assert [path.name for path in tmp_path.glob("copy*")] == ["copy.db"]
    found = examine(copy)
    assert (found.accepted, found.counts["queued"], found.difference) == (20, 20, 0)
    assert (found.flaws, found.audit_rows, found.audit_head) == ((), 2, book.ledger.reads.audit_head())
    assert found.ledger == book.ledger.reads.ledger_id()
    assert copy.stat().st_size == size_of(book.path)
    with Ledger(copy) as again:
        assert {again.reads.job(job_id).payload for job_id in kept} == {'{"n":1}'}


def test_writers_go_on_while_the_copy_is_made_and_none_of_it_gets_in(book: Book, tmp_path: Path) -> None:
    """It is one moment: the balance of half of a later commit would not hold."""
    book.ledger.moves.accept([new_job() for _ in range(400)]).wait(LIMIT_S)
    looks = 0

    def write() -> bool:
        nonlocal looks
        looks += 1
        book.accept(payload='{"late":1}')
        return False

    copy = tmp_path / "copy.db"
    snapshot(book.path, copy, stop=write)
    found = examine(copy)
    assert looks >= 1
    assert (found.accepted, found.difference, found.flaws) == (400, 0, ())
    assert book.ledger.reads.status_counts()["queued"] == 400 + looks


def new_job() -> NewJob:
    """Return a job that takes some room."""
    return NewJob("add", "q", '{"text":"' + "x" * 500 + '"}')


def test_a_copy_can_be_stopped(book: Book, tmp_path: Path) -> None:
    """A daemon that is told to stop must not wait for ten gigabytes."""
    with pytest.raises(LedgerError, match="was stopped"):
        snapshot(book.path, tmp_path / "copy.db", stop=lambda: True)


def test_damage_is_found(book: Book, tmp_path: Path) -> None:
    """A backup of a damaged ledger that pushes the last whole one out would be worse than none."""
    book.ledger.moves.accept([new_job() for _ in range(300)]).wait(LIMIT_S)
    copy = tmp_path / "copy.db"
    snapshot(book.path, copy)
    with copy.open("r+b") as file:
        file.seek(copy.stat().st_size // 2)
        file.write(b"\xa5" * 8192)
    with suppress(LedgerError):  # so bad that it cannot even be read
        assert examine(copy).flaws


def test_an_audit_log_that_was_changed_is_found(book: Book, tmp_path: Path) -> None:
    """The file is sound, and what it tells is not."""
    for number in range(3):
        book.ledger.moves.audit("cli:ann", "job.look", str(number)).wait(LIMIT_S)
    copy = tmp_path / "copy.db"
    snapshot(book.path, copy)
    with apsw.Connection(str(copy)) as connection:
        connection.execute("UPDATE audit SET actor = 'cli:eve' WHERE id = 2")
    found = examine(copy)
    assert (found.flaws, found.audit_flaw) == ((), "audit log: row 2, or the one before it, was changed")


def test_a_ledger_of_a_newer_version_or_of_another_program_is_refused(book: Book, tmp_path: Path) -> None:
    """What cannot be understood cannot be vouched for."""
    copy = tmp_path / "copy.db"
    snapshot(book.path, copy)
    with apsw.Connection(str(copy)) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(LedgerForeign, match="newer Millrace"):
        examine(copy)
    with apsw.Connection(str(copy)) as connection:
        connection.execute("PRAGMA application_id = 1")
    with pytest.raises(LedgerForeign, match="not a ledger"):
        examine(copy)


def test_a_ledger_of_version_1_can_be_looked_at(tmp_path: Path) -> None:
    """A backup from before an upgrade has no audit log."""
    path = tmp_path / "old.db"
    with apsw.Connection(str(path)) as connection:
        connection.execute(OLD.read_text())
    found = examine(path)
    assert (found.version, found.difference, found.audit_rows, found.flaws) == (1, 0, 0, ())


def test_folding_leaves_one_file(book: Book) -> None:
    """What is renamed afterwards must be all there is."""
    book.accept()
    book.ledger.close()
    with closing(apsw.Connection(str(book.path))) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("INSERT INTO meta VALUES ('a', 'b')")
        with pytest.raises(LedgerError, match="locked"):
            fold(book.path)
    fold(book.path)
    assert [path.name for path in book.path.parent.glob(f"{book.path.name}-*")] == []


@contextmanager
def just_before(words: str, act: Callable[[], object]) -> Iterator[None]:
    """Let something happen once, just before a connection that is opened here runs what begins with these words."""
    acts = [act]

    def trace(_cursor: object, sql: str, _values: object) -> bool:
        if sql.startswith(words) and acts:
            acts.pop()()
        return True

    def hook(connection: apsw.Connection) -> None:
        connection.set_exec_trace(trace)

    apsw.connection_hooks.append(hook)
    try:
        yield
        assert not acts, f"nobody ran {words}"
    finally:
        apsw.connection_hooks.remove(hook)


def submit(path: Path) -> str:
    """Open a ledger as a command does, and submit a job."""
    with Ledger(path) as ledger:
        return ledger.moves.accept([NewJob("late", "q")]).wait(LIMIT_S)[0].id


def test_a_ledger_that_somebody_wrote_into_between_fold_and_lock_is_not_held(book: Book) -> None:
    """It has a log again, and whoever has it open would go on writing into that after the file has lost its name."""
    book.ledger.close()
    with just_before("BEGIN IMMEDIATE", lambda: submit(book.path)), pytest.raises(LedgerBusy), folded(book.path):
        pytest.fail("it was held")
    assert examine(book.path).accepted == 1


@pytest.fixture(params=["filled", "empty"])
def folded_place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file without a log: who opens it while it has one keeps it from being held."""
    place = tmp_path / "place.db"
    if request.param == "filled":
        Ledger(place).close()
        fold(place)
    else:
        place.touch()
    return place


def replace_held(place: Path, copy: Path) -> None:
    """Do what a restore does."""
    with folded(place) as filled:
        assert filled is (place.stat().st_size > PAGE)
        copy.replace(place)


def test_nobody_can_write_into_what_was_replaced_while_it_was_held(
    book: Book, folded_place: Path, tmp_path: Path
) -> None:
    """That file nobody will ever look into again; and a log of it would be played into the new one."""
    snapshot(book.path, tmp_path / "copy.db")
    with closing(apsw.Connection(str(folded_place))) as connection:
        connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        replace_held(folded_place, tmp_path / "copy.db")
        with pytest.raises(apsw.ReadOnlyError):
            connection.pragma("journal_mode", "wal")
    assert not list(tmp_path.glob("place.db-*"))


def test_who_opened_a_ledger_before_it_was_replaced_submits_to_the_new_one(
    book: Book, folded_place: Path, tmp_path: Path
) -> None:
    """It comes too late for the old one, and need not know."""
    book.accept()
    snapshot(book.path, tmp_path / "copy.db")
    with just_before("PRAGMA journal_mode", lambda: replace_held(folded_place, tmp_path / "copy.db")):
        late = submit(folded_place)
    assert examine(folded_place).accepted == 2
    with Ledger(folded_place) as ledger:
        assert ledger.reads.job(late).task == "late"
