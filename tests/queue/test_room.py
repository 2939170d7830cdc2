"""Whether the disk has room for work: what is on its way, what the log holds, and what accepted jobs still need."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from millrace.errors import LedgerFull
from millrace.ledger.blobs import LARGE
from millrace.ledger.database import log_bytes
from millrace.queue.room import LOOK_S, MARGIN, PAGE, PER_JOB, ROW, Level, Room, bytes_of
from tests.ledger.rig import OwnClock

PROC = Path("/proc/millrace.db")  # a file system without a size


def room_with(tmp_path: Path, spare: int, **given: object) -> Room:
    """Return a room in which so much is free beyond what is kept, give or take what others write meanwhile."""
    room = Room(tmp_path / "millrace.db", 0, **given)  # type: ignore[arg-type] # a clock, a count
    level = room.level()
    assert level is not None
    room.reserve = level.free - level.kept - spare
    return room


def test_those_who_come_together_do_not_find_the_same_room(tmp_path: Path) -> None:
    """Nothing of what the first brings is on the disk yet when the others look; also within one look of a tenth."""
    room = room_with(tmp_path, 2_500_000_000, clock=OwnClock())
    room.take(1_000_000_000)
    written = room.take(1_000_000_000)
    with pytest.raises(LedgerFull, match="nearly full"):
        room.take(1_000_000_000)
    assert room.refusal() is None, "whoever was refused holds nothing"
    written()
    room.take(1_000_000_000)


def test_many_in_one_moment_are_not_all_let_in(tmp_path: Path) -> None:
    """Between two looks what was let in counts, though it is written already: the look did not see it."""
    clock = OwnClock()
    room = room_with(tmp_path, 2_500_000_000, clock=clock)
    taken = 0
    while taken < 10:
        try:
            room.take(1_000_000_000)()
        except LedgerFull:
            break
        taken += 1
    assert taken == 10, "each is looked for anew, and finds what is really there"
    looks: list[int] = []

    def open_jobs() -> int:
        looks.append(1)
        return 0

    counted = Room(tmp_path / "millrace.db", 0, open_jobs=open_jobs, clock=clock)
    for _ in range(1000):
        counted.take(1000)()
    assert len(looks) == 1, "a submission must not cost a look"
    clock.advance(LOOK_S)
    counted.take(1000)()
    assert len(looks) == 2


def test_open_jobs_and_the_log_are_kept_room_for(tmp_path: Path) -> None:
    """Attempts and results of small jobs are more than the jobs; a long log may have to go into the database."""
    path = tmp_path / "millrace.db"
    level = Room(path, 0).level()
    assert level is not None
    disk = os.statvfs(tmp_path)
    assert level.kept == log_bytes(disk.f_blocks * disk.f_frsize)
    more = Room(path, 10**6, open_jobs=lambda: 5000).level()
    assert more is not None
    assert more.kept == level.kept + 5000 * PER_JOB, "they are what the reserve is for, so that the larger counts"
    with path.with_name("millrace.db-wal").open("wb") as log:
        log.truncate(50_000_000)
    longer = Room(path, 0).level()
    assert longer is not None
    assert longer.kept == 50_000_000


def test_a_door_that_was_shut_opens_with_some_room_to_spare(tmp_path: Path) -> None:
    """At the very edge each job that ends would open it for one more, and readiness would change with every look."""
    clock = OwnClock()
    room = room_with(tmp_path, 10**9, clock=clock)
    with pytest.raises(LedgerFull):
        room.take(2 * 10**9)
    assert room.refusal() is None, "one who brings too much shuts it for nobody else"
    at_the_edge = (room.reserve or 0) + 10**9 - MARGIN[0] // 2
    for reserve, open_ in ((10**17, False), (at_the_edge, False), (at_the_edge - 10**9, True), (at_the_edge, True)):
        room.reserve = reserve
        clock.advance(LOOK_S)
        assert (room.refusal() is None) == open_


def test_a_disk_that_does_not_tell_its_size_refuses_nothing() -> None:
    """Each write finds out by itself, as it did before."""
    room = Room(PROC, None, open_jobs=lambda: 10**9)
    assert room.level() is None
    room.take(10**12)()
    assert log_bytes(0) == log_bytes(10**12)


def test_a_small_payload_counts_twice_and_a_large_one_once() -> None:
    """The one goes into the log and from there into the database, the other into a file."""
    assert bytes_of([]) == 0
    assert bytes_of(["x" * 100]) == 2 * (100 + ROW) + PER_JOB
    assert bytes_of(["x" * 1000]) == 2 * (PAGE + ROW) + PER_JOB, "what is not in the row lies in pages of its own"
    assert bytes_of(["\N{EURO SIGN}" * 2000]) == 2 * (2 * PAGE + ROW) + PER_JOB
    assert bytes_of(["x" * (LARGE + 1)] * 2) == 2 * (LARGE + 1 + PER_JOB)


def test_a_level_refuses_below_what_is_kept() -> None:
    """And says both."""
    assert Level(100, 100).refusal is None
    assert "99B are left" in str(Level(99, 100).refusal)


def test_room_is_taken_and_given_back_by_many_threads(tmp_path: Path) -> None:
    """What leaked would shut the door for good."""
    room = Room(tmp_path / "millrace.db", 0)

    def come_and_go() -> None:
        for _ in range(500):
            room.take(1000)()

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert room._held == 0
