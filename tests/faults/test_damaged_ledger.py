"""
A ledger that is gone, empty, cut off, old, or damaged, while the daemon is down and while it runs.

Proved: the daemon stops loudly, or does not start, with the exit code that keeps systemd from trying again; commands
and `doctor` name what is wrong; nothing is written, and no empty ledger takes the place of the one that was there; with
a copy of the ledger in its place all goes on, and nothing is lost that the copy had.
"""

from __future__ import annotations

import os
import shutil
from contextlib import closing
from typing import TYPE_CHECKING

import apsw
import pytest

from millrace.clock import SYSTEM
from millrace.ledger.rows import NewJob
from tests.faults.referee import Poller, Referee, judge_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.process.scratch import Scratch

PAGE = 4096
DAY_MS = 86_400_000


def flip(page: int, file: Path, start: int = 0) -> None:
    """Turn bits of a page, as a worn disk does; the first page is 1."""
    with file.open("r+b") as ledger:
        ledger.seek((page - 1) * PAGE + start)
        bits = ledger.read(200)
        ledger.seek((page - 1) * PAGE + start)
        ledger.write(bytes(byte ^ 0xFF for byte in bits))


def root_of(file: Path, table: str) -> int:
    """Return the first page of a table."""
    with closing(apsw.Connection(str(file))) as reader:
        found: list[tuple[int]] = list(reader.execute("SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)))
    return found[0][0]


def fold(file: Path) -> None:
    """Move the log into the file, so that what is in the file is what is read."""
    with closing(apsw.Connection(str(file))) as writer:
        writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def put_back(site: Scratch, copy: Path) -> None:
    """Put a copy in the place of the ledger, of which nothing stays."""
    site.forget_reads()
    for end in ("", "-wal", "-shm"):
        site.ledger.with_name(site.ledger.name + end).unlink(missing_ok=True)
    shutil.copy(copy, site.ledger)


def test_what_is_wrong_at_the_start_is_named_and_nothing_is_made_anew(site: Scratch, tmp_path: Path) -> None:
    """An empty ledger that took its place would have forgotten all work, and would look quite healthy."""
    daemon = site.serve()
    referee = Referee(site, tmp_path / "acks.log")
    site.put(*(NewJob("mark", "io", f'{{"n":{n}}}') for n in range(50)))
    referee.await_rest(30)
    assert daemon.stop() == 0
    fold(site.ledger)
    good = site.root / "good.db"
    shutil.copy(site.ledger, good)
    size, page = good.stat().st_size, root_of(good, "job")
    harms: dict[str, tuple[Callable[[Path], object], str]] = {
        "removed": (lambda file: file.unlink(), "is gone"),
        "emptied": (lambda file: os.truncate(file, 0), "is gone"),
        "cut off": (lambda file: os.truncate(file, size // 2), "damaged"),
        "a page": (lambda file: flip(page, file), "damaged"),
        "the schema": (lambda file: flip(1, file, 100), "damaged"),
        "the header": (lambda file: flip(1, file), "not a database"),
    }
    for name, (harm, told) in harms.items():
        put_back(site, good)
        harm(site.ledger)
        harmed = site.ledger.read_bytes() if site.ledger.exists() else None
        assert told in site.run("doctor", code=1).stdout, name
        if name in {"removed", "a page"}:
            assert told in site.run("submit", "mark", "n=99", "--queue", "io", code=78).stderr, name
        started = site.launch()
        assert started.end() == 78, f"{name}: {started.text()}"
        assert told in started.text(), name
        judge_log(started)
        if name != "a page":  # that one is met while the daemon signs in, or by its first look at all jobs
            assert (site.ledger.read_bytes() if site.ledger.exists() else None) == harmed, f"{name}: it was written to"
    put_back(site, good)
    daemon = site.serve()
    site.submit("mark", queue="io", n=100)
    referee.await_rest(30)
    assert daemon.stop() == 0
    referee.judge()


@pytest.mark.parametrize("harm", ["cut off", "a page", "older"])
def test_what_happens_to_it_under_a_running_daemon_stops_that_one_loudly(
    site: Scratch, tmp_path: Path, harm: str
) -> None:
    """What it would write on, nobody could trust; what it had accepted is in the copy."""
    daemon = site.serve()
    referee = Referee(site, tmp_path / "acks.log")
    for round_ in range(2):
        jobs = site.put(*(NewJob("mark", "io", f'{{"n":{n + 50 * round_}}}') for n in range(50)))
        referee.await_rest(30)
        fold(site.ledger)
        copy = site.root / f"copy-{round_}.db"
        shutil.copy(site.ledger, copy)
    with Poller(site) as poller:
        assert set(poller.next()) == {200}
        if harm == "cut off":
            os.truncate(site.ledger, site.ledger.stat().st_size // 2)
        elif harm == "a page":
            flip(root_of(site.ledger, "attempt"), site.ledger)
            site.put(NewJob("flood", "io", '{"megabytes":0}'))
        else:
            (site.root / "copy-0.db").rename(site.ledger)
        failed = daemon.await_event("daemon.failed")
        assert ("replaced" if harm == "older" else "damaged") in failed["reason"]
        assert daemon.end() == (1 if harm == "older" else 78)
        assert set(poller.next()) == {0}
    judge_log(daemon)
    put_back(site, copy)
    referee.acks.write_text("".join(f"{job} 0\n" for job in jobs))
    daemon = site.serve()
    site.submit("mark", queue="io", n=100)
    referee.await_rest(30)
    assert daemon.stop() == 0
    referee.judge()


def test_a_ledger_that_is_cut_off_stops_a_daemon_that_has_nothing_to_do(site: Scratch) -> None:
    """It has what it needs in memory and in the log, and would call itself well until the next job comes."""
    daemon = site.serve()
    later = NewJob("mark", "io", f'{{"n":1,"text":"{"x" * 4_000}"}}', due_at=SYSTEM.now_ms() + DAY_MS)
    for _ in range(6):  # more than the log holds, so that it begins anew
        site.put(*[later] * 500)
    with closing(apsw.Connection(str(site.ledger))) as other:
        other.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    os.truncate(site.ledger, site.ledger.stat().st_size // 2)
    assert "damaged" in daemon.await_event("daemon.failed")["reason"]
    assert daemon.end() == 78
    judge_log(daemon)
