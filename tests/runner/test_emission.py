"""A fan-out and the ledger it hands its items to: chunks, position, hash chain, and what a second attempt does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from millrace import Pipeline
from millrace.define.results import MAX_RESULT
from millrace.errors import Parked, SourceChanged
from millrace.runner.emission import CHUNK_ITEMS, CHUNK_SIZE, fan_out
from millrace.runner.stop import StopJob

flow = Pipeline("flow")


class Row(BaseModel):
    n: int
    text: str = ""


@flow.stage
def row() -> Iterator[Row]:
    """Items of a form."""
    yield from ()


@flow.stage
def anything() -> Iterator[Any]:
    """Items of any form."""
    yield from ()


class Tagged(BaseModel):
    n: int
    tags: set[str]


@flow.stage
def tagged() -> Iterator[Tagged]:
    """Items with something in them that has no order."""
    yield from ()


@flow.stage
def listed() -> Iterator[list[int]]:
    """Items with an order."""
    yield from ()


class Book:
    """What the ledger keeps of a fan-out; `room` is after how many chunks it says that there is enough for now."""

    def __init__(self, room: int = 1_000_000) -> None:
        self.position, self.chain = 0, ""
        self.items: list[Any] = []
        self.chunks: list[int] = []
        self.room = room
        self.takes = True
        self.asked: str | None = None

    def ask(self, kind: str, body: dict[str, Any]) -> Any:
        if kind == "emit.begin":
            return {"position": self.position, "chain": self.chain}
        assert kind == "emit"
        assert body["begun"] == self.position
        if not self.takes:
            return False
        self.items += body["items"]
        self.position, self.chain = body["position"], body["chain"]
        self.chunks.append(len(body["items"]))
        return len(self.chunks) % self.room != 0

    def tell(self, kind: str, body: dict[str, Any]) -> None:
        raise AssertionError((kind, body))

    def check(self) -> None:
        if self.asked:
            raise StopJob(self.asked)


def rows(count: int) -> list[dict[str, int]]:
    """Return so many ordinary items."""
    return [{"n": n} for n in range(count)]


def test_items_are_handed_on_in_chunks_in_their_order() -> None:
    """One commit for each of a million items would take a day."""
    book = Book()

    assert fan_out(row, rows(450), book) == {"records": 450, "bad": 0}
    assert book.chunks == [CHUNK_ITEMS, CHUNK_ITEMS, 50]
    assert [json.loads(text)["n"] for text in book.items] == [*range(450)]


def test_large_items_make_small_chunks() -> None:
    """A chunk is held in memory by three processes, and blocks other writers while it is written."""
    book = Book()
    fan_out(row, [{"n": 1, "text": "x" * (CHUNK_SIZE // 2)}] * 5, book)

    assert book.chunks == [2, 2, 1]


def test_a_bad_item_is_told_with_what_is_wrong_and_the_rest_goes_on() -> None:
    """Rows of files are text: a number in quotes is one, a word is not."""
    book = Book()

    assert fan_out(row, [{"n": "1"}, {"n": "one"}, None, {"n": 3}], book) == {"records": 2, "bad": 2}
    good, bad, none, last = book.items
    assert (json.loads(good)["n"], json.loads(last)["n"]) == (1, 3)
    assert json.loads(bad[0]) == {"n": "one"}
    assert "item.n" in bad[1]
    assert json.loads(none[0]) is None


class Unreadable:
    def __repr__(self) -> str:
        raise RuntimeError


@pytest.mark.parametrize("raw", [object(), {"n": object()}, Unreadable(), {1, "a", object()}, "\ud800", float("nan")])
def test_an_item_that_is_no_json_is_bad_and_kept_as_it_looks(raw: object) -> None:
    """Whoever looks at the dead letter must see something, and the fan-out must not fall over it."""
    book = Book()

    assert fan_out(anything, [raw, 1], book)["records"] == 1
    kept, reason = book.items[0]
    assert json.dumps(json.loads(kept))
    assert reason
    assert book.items[1] == "1"


@pytest.mark.parametrize("stage", [row, anything])
def test_an_item_beyond_the_bound_of_a_result_is_bad_and_cut(stage: Any) -> None:
    """Fifty megabytes in one row of the ledger would be read again by each stage."""
    book = Book()

    assert fan_out(stage, [{"n": 1, "text": "x" * MAX_RESULT}], book) == {"records": 0, "bad": 1}
    kept, reason = book.items[0]
    assert len(kept) < 5000
    assert str(MAX_RESULT) in reason


def test_a_later_attempt_skips_what_was_handed_on() -> None:
    """After a crash each item is there once, with the chain that an attempt without a crash would have made."""
    book, whole = Book(), Book()
    with pytest.raises(ZeroDivisionError):
        fan_out(row, _breaking(rows(300)), book)
    assert book.position == 300

    assert fan_out(row, [*rows(300), {"n": "bad"}, {"n": 301}], book) == {"records": 301, "bad": 1}
    fan_out(row, [*rows(300), {"n": "bad"}, {"n": 301}], whole)
    assert (book.items, book.chain) == (whole.items, whole.chain)


def _breaking(items: Iterable[Any]) -> Iterator[Any]:
    yield from items
    raise ZeroDivisionError


@pytest.mark.parametrize(
    "changed",
    [
        [{"n": 99}, *rows(300)[1:]],
        rows(300)[::-1],
        [*rows(299), {"n": "no number"}],
        [{"n": 0, "text": "x"}, *rows(300)[1:]],
        rows(299),
        [],
    ],
)
def test_a_source_that_is_not_what_it_was_is_refused(changed: list[Any]) -> None:
    """A record would be lost, another doubled, and nobody would know."""
    book = Book()
    with pytest.raises(ZeroDivisionError):
        fan_out(row, _breaking(rows(300)), book)

    with pytest.raises(SourceChanged, match="source changed"):
        fan_out(row, changed, book)
    assert len(book.items) == 300


SCRIPT = """
from tests.runner.test_emission import Book, anything, fan_out, tagged

book = Book()
tags = {f"tag {n}" for n in range(40)}
free = [tags, {"n": 1, "deep": [tags]}, dict.fromkeys(tags, 1)]
items = {"tagged": [{"n": n, "tags": tags} for n in range(3)] + [{"tags": tags}], "anything": free}
for stage in (tagged, anything):
    fan_out(stage, items[stage.stage], book)
    print(book.chain, hash("tag 1"))
    book.position, book.chain = 0, ""
"""


def test_what_has_no_order_does_not_make_a_source_look_changed() -> None:
    """A set, and a mapping that was made of one, comes in another order in each process."""
    root = Path(__file__).resolve().parents[2]
    told = []
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT], env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
            capture_output=True, text=True, check=True, cwd=root,
        )  # fmt: skip
        told.append([line.split() for line in done.stdout.splitlines()])
    (one, two) = told
    assert [chain for chain, _ in one] == [chain for chain, _ in two]
    assert [mark for _, mark in one] != [mark for _, mark in two], "the processes hash alike: the test proves nothing"


@pytest.mark.parametrize(
    ("before", "after"), [({"n": 1, "tags": ["a", "b"]}, {"n": 1, "tags": ["a", "c"]}), ({"n": 1}, {"n": 2})]
)
def test_another_member_is_a_change_also_where_order_is_none(before: object, after: object) -> None:
    """Only the order is left out of the comparison."""
    for stage in (tagged, anything):
        book = Book()
        with pytest.raises(ZeroDivisionError):
            fan_out(stage, _breaking([before]), book)
        with pytest.raises(SourceChanged):
            fan_out(stage, [after], book)


def test_the_order_of_a_list_in_an_item_counts_where_its_type_says_so() -> None:
    """A list of a model has an order, which is part of what it says."""
    book = Book()
    with pytest.raises(ZeroDivisionError):
        fan_out(listed, _breaking([[1, 2]]), book)
    with pytest.raises(SourceChanged):
        fan_out(listed, [[2, 1]], book)


def test_objects_without_json_do_not_make_a_source_look_changed() -> None:
    """Their text holds an address, which is another one in each process."""
    book = Book()
    with pytest.raises(ZeroDivisionError):
        fan_out(anything, _breaking([object(), 1]), book)

    assert fan_out(anything, [object(), 1, 2], book) == {"records": 2, "bad": 1}


def test_a_fan_out_that_is_told_to_pause_parks_and_closes_its_source() -> None:
    """It holds no worker, no file and no connection while others work off what it brought."""
    book, closed = Book(room=1), list[bool]()

    def source() -> Iterator[Any]:
        try:
            yield from rows(500)
        finally:
            closed.append(True)

    with pytest.raises(Parked) as parked:
        fan_out(row, source(), book)
    assert (parked.value.reason, parked.value.after_s, closed, book.chunks) == ("limit", None, [True], [200])


def test_a_pause_after_the_last_chunk_is_none() -> None:
    """All items are there: to go through the source once more would find nothing new."""
    assert fan_out(row, rows(5), Book(room=1)) == {"records": 5, "bad": 0}


def test_a_last_chunk_that_was_not_taken_keeps_the_fan_out_open() -> None:
    """The run is being cancelled: a success would lose the rest for good, should it be resumed."""
    book = Book()
    book.takes = False

    with pytest.raises(Parked):
        fan_out(row, rows(5), book)


def test_the_order_to_stop_reaches_a_fan_out_also_while_it_skips() -> None:
    """A thread is ended by asking alone, and skipping a million items takes a while."""
    book = Book()
    fan_out(row, rows(2500), book)
    book.asked = "cancelled"

    with pytest.raises(StopJob):
        fan_out(row, rows(2500), book)
    fresh = Book()
    fresh.asked = "timeout"
    with pytest.raises(StopJob):
        fan_out(row, rows(CHUNK_ITEMS), fresh)
