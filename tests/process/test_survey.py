"""Where the room goes, and for how long it will last."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from millrace.clock import SYSTEM, parse_time
from millrace.events import DiskFullSoon, Event, FilesMissing
from millrace.ledger.blobs import LARGE, folder_of
from millrace.ledger.ledger import Ledger
from millrace.ledger.notes import STORAGE
from millrace.ledger.rows import NewJob
from millrace.ledger.usage import client_bytes, table_bytes
from millrace.observe.forecast import DAY_MS, EVERY_MS, days_left, growth_per_day, remember
from millrace.process.survey import Survey
from millrace.queue.room import Room
from tests.ledger.rig import LIMIT_S, OwnClock
from tests.process.scratch import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from millrace.observe.forecast import History
    from tests.process.conftest import MakeSite


def line(days: int, per_day: int, start: int = 1000) -> History:
    """Return sizes of two a day that grow evenly."""
    return [(half * DAY_MS // 2, start + half * per_day // 2) for half in range(days * 2 + 1)]


def test_a_ledger_that_grows_evenly_is_forecast_to_the_day() -> None:
    """Checked against what anybody would compute."""
    assert growth_per_day(line(4, 1000)) == pytest.approx(1000)
    assert days_left(line(4, 1000), 5000) == pytest.approx(5)
    assert days_left(line(4, 1000), -1) == 0


def test_nothing_is_forecast_from_too_little_or_for_one_that_shrinks() -> None:
    """The growth of an hour says nothing about a week."""
    assert growth_per_day([]) is None
    assert growth_per_day([(0, 1), (3_600_000, 10**9)]) is None
    assert days_left(line(4, -100), 5000) is None
    assert days_left(line(4, 0), 5000) is None


def test_the_history_is_bounded_and_forgets_what_is_yet_to_come() -> None:
    """It stands in the ledger itself; and a clock that was wrong must not spoil it for good."""
    history: History = []
    for number in range(1000):
        history = remember(history, number * EVERY_MS, number)
    assert (len(history), history[-1]) == (168, (999 * EVERY_MS, 999))
    assert remember(history, 999 * EVERY_MS + 1, 5) == history
    assert remember(history, 500 * EVERY_MS, 7) == [(500 * EVERY_MS, 7)]


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A ledger with jobs of two clients."""
    with Ledger(tmp_path / "millrace.db") as opened:
        text = '{"x":"' + "x" * 3000 + '"}'
        for client, count in (("acme", 60), ("default", 20)):
            opened.moves.accept([NewJob("add", "q", text, client=client) for _ in range(count)]).wait(LIMIT_S)
        yield opened


def test_bytes_are_told_by_table_and_by_client(ledger: Ledger) -> None:
    """Whoever has to make room must know where it went."""
    tables = table_bytes(ledger.reads)
    assert next(iter(tables)) == "job"
    assert tables["job"] > 80 * 3000
    assert sum(tables.values()) <= 10**6
    clients = client_bytes(ledger.reads, tables)
    assert clients["acme"] == pytest.approx(3 * clients["default"], rel=0.01)


def test_a_ledger_that_has_grown_is_measured_anew(ledger: Ledger) -> None:
    """A fresh one is measured when it is empty: a day later is too late to see what fills it."""
    clock = OwnClock()
    room = Room(ledger.path, 0, clock=clock)
    survey = Survey(ledger.path, room, moves=ledger.moves, reads=ledger.reads, clock=clock, emit=lambda _event: None)
    survey.turn()
    first = json.loads(ledger.reads.note(STORAGE) or "{}")
    clock.advance(60)
    survey.turn()
    assert json.loads(ledger.reads.note(STORAGE) or "{}") == first
    text = '{"x":"' + "x" * 9000 + '"}'
    ledger.moves.accept([NewJob("add", "q", text) for _ in range(150)]).wait(LIMIT_S)
    survey.turn()
    later = json.loads(ledger.reads.note(STORAGE) or "{}")
    assert later["tables"]["job"] > first["tables"]["job"] + 150 * 9000
    assert (later["at"], later["tables_at"]) == (clock.ms, clock.ms)


def test_a_disk_that_will_soon_be_full_is_told_once_a_day(ledger: Ledger) -> None:
    """Early enough to do something about it."""
    clock, events = OwnClock(), list[Event]()
    room = Room(ledger.path, 10**17, clock=clock)  # more than any disk has: none is left
    survey = Survey(ledger.path, room, moves=ledger.moves, reads=ledger.reads, clock=clock, emit=events.append)
    for number in range(48):
        ledger.moves.accept([NewJob("add", "q", '{"x":"' + "x" * 9000 + '"}') for _ in range(5)]).wait(LIMIT_S)
        survey.turn()
        survey.turn()
        clock.advance(EVERY_MS / 1000)
        if number == 10:
            assert events == []
    assert [type(event) for event in events] == [DiskFullSoon] * 3
    note = json.loads(ledger.reads.note(STORAGE) or "{}")
    assert (len(note["history"]), note["days_until_full"]) == (48, 0)
    assert note["growth_per_day"] > 10_000


def test_the_daemon_surveys_its_ledger_and_tells_in_health(make_site: MakeSite) -> None:
    """With the figures of the disk."""
    site = make_site()
    daemon = site.serve()
    until(lambda: "tables" in site.ask("GET", "/health").json()["checks"]["storage"], "the survey")
    check = site.ask("GET", "/health").json()["checks"]["storage"]
    assert check["tables"]["job"] > 0
    assert (check["days_until_full"], "history" in check) == (None, False)
    assert parse_time(check["tables_at"]) <= parse_time(check["measured_at"]) <= SYSTEM.now_ms()
    assert daemon.stop() == 0


def test_files_of_large_values_that_are_gone_are_told_once(ledger: Ledger) -> None:
    """Before a job needs one; and again only when there are more."""
    clock, events = OwnClock(), list[Event]()
    room = Room(ledger.path, 0, clock=clock)
    survey = Survey(ledger.path, room, moves=ledger.moves, reads=ledger.reads, clock=clock, emit=events.append)
    owner = ledger.moves.accept([NewJob("add", "q", '"' + "x" * LARGE + '"')]).wait(LIMIT_S)[0].id
    (path,) = folder_of(ledger.path).iterdir()
    survey.turn()
    note = json.loads(ledger.reads.note(STORAGE) or "{}")
    assert (events, note["missing_files"], note["tables"]["files"]) == ([], 0, LARGE + 2)
    path.unlink()
    for _ in range(3):
        clock.advance(EVERY_MS / 1000)
        survey.turn()
    assert events == [FilesMissing(1, f"{path} of {owner}")]
    assert json.loads(ledger.reads.note(STORAGE) or "{}")["missing_files"] == 1
