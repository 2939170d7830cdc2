"""Decision tables: which rows match, what they give, and what is said when a job asks wrongly."""

from __future__ import annotations

import math
import threading
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any

import pytest

from millrace import rules
from millrace.define.rules import MAX_DECISIONS, MAX_ROWS, Decision, Ruled, Rules, Tables
from millrace.errors import RulesError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SEGMENT: list[dict[str, Any]] = [
    {"when": {"occupation": "Working Professional", "points": ">=60"}, "then": "enterprise"},
    {"when": {"points": "20..59"}, "then": "nurture"},
    {"when": {"occupation": ["Student", "Unemployed"]}, "then": {"branch": "campus", "days": [3]}},
]
POINTS: list[dict[str, Any]] = [
    {"add": 35},
    {"when": {"visits": 1}, "add": -10},
    {"when": {"source": "Reference"}, "add": 5},
]
TABLES = Tables({"segment": SEGMENT, "points": POINTS})


class Grade(Enum):
    A = "a"


def holds(wanted: object, fact: object) -> bool:
    """Return whether a row that asks for one fact matches it."""
    return bool(Rules("t", [{"when": {"fact": wanted}, "then": 1}]).match({"fact": fact}))


def test_the_first_row_that_matches_decides() -> None:
    """Rows are read from above, as a person reads a table."""
    segment = Rules("segment", SEGMENT)

    assert segment.first({"occupation": "Working Professional", "points": 60}) == "enterprise"
    assert segment.first({"occupation": "Student", "points": 59}) == "nurture"
    assert segment.first({"occupation": "Student", "points": 5, "more": object()}) == {
        "branch": "campus",
        "days": [3],
    }
    assert segment.first({"occupation": None, "points": 5}) is None
    assert [row.number for row in segment.match({"occupation": "Student", "points": 30})] == [2, 3]


def test_points_are_the_sum_of_all_rows_that_match() -> None:
    """A row without conditions always counts; whole numbers stay whole."""
    points = Rules("points", POINTS)

    assert (points.total({"visits": 1, "source": "Reference"}), points.total({"visits": 2, "source": ""})) == (30, 35)
    assert isinstance(points.total({"visits": 1, "source": ""}), int)


@pytest.mark.parametrize(
    ("wanted", "fact", "expected"),
    [
        ("Student", "Student", True), ("Student", "student", False), ("Student", None, False),
        (1, 1, True), (1, 1.0, True), (1, Decimal(1), True), (0.1, Decimal("0.1"), True),
        (1, True, False), (1, "1", False), ("1", 1, False),
        (True, True, True), (True, 1, False), (False, None, False),
        ("", None, True), ("", "", True), ("", 0, False),
        ("!=", None, False), ("!=", "", False), ("!=", 0, True),
        ("!=x", "y", True), ("!=x", "x", False), ("!=x", None, False), ("!=5", 5, False), ("!=5", 6, True),
        ("!=true", True, False), ("!=true", False, True),
        (">=60", 60, True), (">=60", 59.99, False), (">60", 60, False), ("<5", 4, True), ("<= -5", -5, True),
        (">=0.3", Decimal("0.3"), True), (">=60", None, False), ("<5", "", False),
        ("10..20", 10, True), ("10..20", 20, True), ("10..20", 20.1, False), ("10..20", None, False),
        (">=19.99", 19.99, True), (">0.1", 0.1, False), ("<=0.1", 0.1, True), ("0.5..0.7", 0.7, True),
        ("!=19.99", 19.99, False), ("!=19.99", 19.98, True), ("!=5", math.nan, True), ("<5", math.inf, False),
        (["a", ">=3"], "a", True), (["a", ""], None, True), (["<1", ">9"], 5, False),
        (">=2026-01-31", date(2026, 1, 31), True), ("<2026-01-31", "2026-01-30T23:00:00Z", True),
        ("2026-01-01..2026-01-31", datetime(2026, 1, 31, 23, tzinfo=UTC), True),
        ("2026-01-31", date(2026, 1, 31), True), ("a", Grade.A, True),
        ("see..also", "see..also", True), ("first-class", "first-class", True),
    ],
)  # fmt: skip
def test_a_condition_means_what_it_says(wanted: object, fact: object, *, expected: bool) -> None:
    """Each form that config.toml may have, at its bounds; nothing is turned into something else to fit."""
    assert holds(wanted, fact) is expected


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"occupation": "Student", "pionts": 3}, 'rules.segment row 1 asks for "points", which the facts do not have.'),
        ({"occupation": "Student", "pionts": 3}, 'Did you mean "pionts"?'),
        ({"occupation": "Student", "points": "60"}, 'row 2: points is "60", and the rule compares with a number'),
        (
            {"occupation": "Student", "points": math.nan},
            "row 2: points is nan, which is no number, and the",
        ),
        ({"occupation": "Student", "points": Decimal("NaN")}, "row 2: points is nan, which is no number"),
        ({"occupation": "Working Professional", "points": True}, "row 1: points is true, and the rule compares with"),
        ({"occupation": [], "points": 5}, "row 1: occupation is a list: a fact is text, a number, true, false, a date"),
    ],
)
def test_a_fact_that_is_missing_or_of_another_kind_is_named(facts: dict[str, Any], reason: str) -> None:
    """A row that silently never matches would send every lead the wrong way."""
    with pytest.raises(RulesError) as caught:
        Rules("segment", SEGMENT).first(facts)
    assert reason in str(caught.value)


def test_a_table_is_asked_for_what_it_has() -> None:
    """The sum of a table without numbers is 0 for every lead, and nobody would notice."""
    with pytest.raises(RulesError, match=r"rules.segment has no numbers to add: ask it with .first"):
        Rules("segment", SEGMENT).total({"occupation": "", "points": 1})
    with pytest.raises(RulesError, match=r"rules.points adds up: ask it with .total"):
        Rules("points", POINTS).first({"visits": 1, "source": ""})


def test_what_a_job_does_to_an_outcome_stays_with_the_job() -> None:
    """One worker process decides thousands of leads by the same table."""
    segment = Rules("segment", SEGMENT)
    first: dict[str, Any] = segment.first({"occupation": "Student", "points": 1})
    first["days"].append(30)

    assert segment.first({"occupation": "Student", "points": 1}) == {"branch": "campus", "days": [3]}


def test_the_rows_that_decided_are_kept_with_the_decision() -> None:
    """Why did this lead get that mail? It is asked a month later."""
    with Ruled(TABLES) as ruled:
        rules("segment").first({"occupation": "Student", "points": 30})
        rules("points").total({"visits": 1, "source": "x"})
        rules("segment").first({"occupation": "", "points": 0})
        rules("segment").match({"occupation": "", "points": 30})

    assert ruled.decisions == [
        Decision("segment", (2,), "nurture"),
        Decision("points", (1, 2), 25),
        Decision("segment", (), None),
    ]
    assert ruled.decisions[1].as_json() == {"rules": "points", "rows": [1, 2], "outcome": 25}


def test_the_decisions_that_are_kept_are_bounded() -> None:
    """One job that decides about a whole file must not carry the file."""
    with Ruled(TABLES) as ruled:
        for _ in range(MAX_DECISIONS + 5):
            rules("points").total({"visits": 1, "source": ""})
    assert (len(ruled.decisions), ruled.decided) == (MAX_DECISIONS, MAX_DECISIONS + 5)


def test_the_rows_that_are_kept_of_a_decision_are_bounded() -> None:
    """A score of many rows that all match must not write all their numbers down twenty times."""
    table = {"score": [{"add": 1}] * (MAX_ROWS + 5)}
    with Ruled(Tables(table)) as ruled:
        assert rules("score").total({}) == MAX_ROWS + 5
    (one,) = ruled.decisions
    assert (one.rows, one.more) == (tuple(range(1, MAX_ROWS + 1)), 5)
    assert one.as_json() == {"rules": "score", "rows": list(one.rows), "more": 5, "outcome": MAX_ROWS + 5}


def test_an_unknown_table_is_named_with_a_suggestion() -> None:
    """The name stands in code, the table in config.toml: they drift."""
    with Ruled(TABLES), pytest.raises(RulesError, match=r'no \[\[rules.segmnet\]\] in .*Did you mean "segment"\?'):
        rules("segmnet")


def test_helper_threads_of_a_child_find_the_tables() -> None:
    """A thread inherits no context; a child has one job only."""
    found: list[object] = []
    with Ruled(TABLES, whole_process=True):
        helper = threading.Thread(target=lambda: found.append(rules("points").total({"visits": 2, "source": ""})))
        helper.start()
        helper.join()
    assert found == [35]


def test_outside_a_job_the_sites_own_file_is_read(
    config: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stage that is called in a test of the site decides as the site does; without a file there is no table."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RulesError, match=r"no \[\[rules.mail\]\] in config.toml"):
        rules("mail")
    config('[[rules.mail]]\nwhen = { due = "<2026-02-01" }\nthen = "now"\n[[rules.mail]]\nthen = "later"\n')

    assert rules("mail").first({"due": date(2026, 1, 31)}) == "now"
    assert rules("mail").first({"due": date(2026, 2, 1)}) == "later"
