"""What a collecting stage is handed: read in pieces, in order, as often as it is asked for."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from millrace import Results
from millrace.define.results import PIECE
from millrace.errors import BadResult


@dataclass(frozen=True)
class Score:
    lead: str
    points: int


class Shelf:
    """Values by record, as the ledger has them; counts how often it is asked."""

    def __init__(self, values: dict[int, str]) -> None:
        self.values = values
        self.asked: list[tuple[int, int]] = []

    def fetch(self, after: int, limit: int) -> list[tuple[int, str]]:
        self.asked.append((after, limit))
        return [(number, text) for number, text in sorted(self.values.items()) if number > after][:limit]


def test_values_come_in_the_order_of_the_records_and_again() -> None:
    """A summary that reads twice, first to count and then to write, must see the same."""
    shelf = Shelf({3: '{"lead":"c","points":3}', 1: '{"lead":"a","points":1}'})
    results: Results[Score] = Results(shelf.fetch, 2, dead=1, skipped=4, of=Score)

    assert list(results) == [Score("a", 1), Score("c", 3)] == list(results)
    assert list(results.records()) == [(1, Score("a", 1)), (3, Score("c", 3))]
    assert (len(results), results.dead, results.skipped) == (2, 1, 4)


def test_many_values_are_fetched_piece_by_piece_and_not_ahead() -> None:
    """A million results do not fit into the memory of a worker."""
    shelf = Shelf({number: str(number) for number in range(1, PIECE * 3 + 1)})
    results: Results[int] = Results(shelf.fetch, PIECE * 3, of=int)

    walk = iter(results)
    assert [next(walk) for _ in range(PIECE)] == list(range(1, PIECE + 1))
    assert shelf.asked == [(0, PIECE)]
    assert sum(walk) + sum(range(1, PIECE + 1)) == sum(range(1, PIECE * 3 + 1))
    assert shelf.asked[1:] == [(PIECE, PIECE), (2 * PIECE, PIECE), (3 * PIECE, PIECE)]


def test_without_a_type_values_are_what_json_has() -> None:
    """`Results` without `[T]` is allowed, and must not guess."""
    assert list(Results(Shelf({1: '{"a":[1,null]}'}).fetch, 1)) == [{"a": [1, None]}]


def test_a_value_that_does_not_fit_its_type_is_an_error() -> None:
    """After a change of the code, half of a report in the new form would be believed. It says whose value it is."""
    shelf = Shelf({1: '{"lead":"a","points":5}', 7: '{"lead":"a","points":"many"}'})
    told = 'record 7 of stage score: result.points: must be a whole number, got "many"'
    with pytest.raises(BadResult, match=f"^{told}$"):
        list(Results(shelf.fetch, 2, of=Score, stage="score"))


def test_a_stage_is_tested_with_results_made_of_values() -> None:
    """They are handed on as they are, so that a plain call needs no JSON."""
    given = Results.of([Score("a", 1), Score("b", 2)], dead=2)

    assert list(given.records()) == [(1, Score("a", 1)), (2, Score("b", 2))]
    assert (len(given), given.dead, given.skipped, sum(score.points for score in given)) == (2, 2, 0, 3)
    assert repr(given) == "<results: 2, 2 dead, 0 skipped>"


def test_no_results_are_false() -> None:
    """`if points:` is how somebody asks whether there is anything to tell."""
    assert not Results.of([])
    assert Results.of([0])


def test_values_of_several_stages_are_joined_by_record() -> None:
    """A summary of points by segment needs both of the same lead, also when one of them is missing for some."""
    names: Results[str] = Results(Shelf({1: '"a"', 2: '"b"', 3: '"c"', 5: '"e"'}).fetch, 4)
    points: Results[int] = Results(Shelf({1: "1", 3: "3", 4: "4", 5: "5", 6: "6"}).fetch, 5)

    assert list(Results.joined(names, points)) == [("a", 1), ("c", 3), ("e", 5)]
    assert list(Results.joined(points, names)) == [(1, "a"), (3, "c"), (5, "e")]
    assert list(Results.joined(names, Results.of([]))) == []
