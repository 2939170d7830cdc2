"""Who serves a ledger, and what is not done beside that one."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import apsw
import pytest

from millrace.errors import LedgerBusy
from millrace.ledger.database import VERSION
from millrace.ledger.held import holder
from millrace.ledger.ledger import Ledger
from millrace.ledger.reads import Reads
from millrace.ledger.rows import NewJob
from millrace.process.lock import forget_index, note_index, take_lock
from tests.ledger.rig import LIMIT_S, OwnClock
from tests.ledger.test_migrations import OLD

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.filterwarnings("ignore:This process")  # forks while the writer's thread runs


class Hurried(OwnClock):
    """Whoever waits has waited at once."""

    def wait(self, event: threading.Event, timeout_s: float | None) -> bool:
        self.advance(timeout_s or 0.0)
        return event.is_set()


@contextmanager
def served(ledger: Path, do: Callable[[int], object] = lambda _lock: None) -> Iterator[None]:
    """Let another process have the lock, and do something with it before."""
    (ready, tell), (rest, end) = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        os.close(end)
        do(take_lock(ledger))
        os.write(tell, b"!")
        os.read(rest, 1)
        os._exit(0)
    try:
        assert os.read(ready, 1) == b"!"
        assert holder(ledger) == child
        yield
    finally:
        for descriptor in (ready, tell, rest, end):
            os.close(descriptor)
        os.waitpid(child, 0)


def put(path: Path) -> None:
    """Submit a job as a command does."""
    with Ledger(path, clock=Hurried()) as ledger:
        ledger.moves.accept([NewJob("add", "q")]).wait(LIMIT_S)


def test_a_command_writes_beside_a_daemon_with_the_same_index_alone(tmp_path: Path) -> None:
    """With two of them nobody keeps anybody out, and acknowledged jobs are overwritten."""
    path = tmp_path / "millrace.db"
    with Ledger(path) as ledger:
        with served(path, lambda lock: note_index(lock, path)):
            put(path)
            Path(f"{path}-shm").rename(tmp_path / "away")
            with pytest.raises(LedgerBusy, match="-shm was removed or replaced under the running daemon"):
                put(path)
            Path(f"{path}-shm").touch()
            with pytest.raises(LedgerBusy, match="-shm was removed or replaced"):
                put(path)
            (tmp_path / "away").rename(f"{path}-shm")
            put(path)
        assert ledger.reads.balance(count_rows=True).accepted == 2


def test_a_daemon_that_ends_is_in_no_commands_way(tmp_path: Path) -> None:
    """It closes the ledger, and SQLite removes the index, while it has the lock for a moment more."""
    path = tmp_path / "millrace.db"

    def ends(lock: int) -> None:
        with Ledger(path):
            note_index(lock, path)
            forget_index(lock)

    with served(path, ends):
        assert not Path(f"{path}-shm").exists()
        put(path)


def test_what_a_killed_daemon_noted_is_no_word_of_the_next_one(tmp_path: Path) -> None:
    """The index that it had may be gone: commands came and went in between."""
    path = tmp_path / "millrace.db"
    put(path)
    path.with_name("millrace.db.lock").write_text("7 millrace\n99999999999")
    put(path)
    with served(path):
        put(path)


def test_an_older_ledger_is_not_upgraded_under_a_daemon(tmp_path: Path) -> None:
    """The daemon would go on to write to it, by the rules of its own version."""
    path = tmp_path / "millrace.db"
    with closing(apsw.Connection(str(path))) as connection:
        connection.execute(OLD.read_text())
        connection.pragma("journal_mode", "wal")
    content = path.read_bytes()
    with served(path):
        with pytest.raises(
            LedgerBusy, match=f"has version 1, and would have to be brought to {VERSION}.*a daemon"
        ) as told:
            put(path)
        assert told.value.exit_code == 75
        assert path.read_bytes() == content
    put(path)
    assert Reads.open(path).connection().pragma("user_version") == VERSION
