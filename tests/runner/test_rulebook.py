"""The decision tables as job code meets them: asked for once, kept from job to job, new when the settings are."""

from __future__ import annotations

from typing import Any

import pytest

from millrace import rules
from millrace.errors import RulesError
from millrace.runner.context import Context, Entered
from millrace.runner.rulebook import RuleBook


class Line:
    """Answers for the daemon."""

    def __init__(self, book: RuleBook) -> None:
        self.book = book
        self.answers: list[dict[str, Any]] = []

    def ask(self, kind: str, body: dict[str, Any]) -> Any:
        assert kind == "rules"
        self.answers.append(self.book.answer(body["known"]))
        return self.answers[-1]

    def tell(self, kind: str, body: dict[str, Any]) -> None:
        raise AssertionError((kind, body))

    def check(self) -> None:
        return None


def book(outcome: str) -> RuleBook:
    """Return a site's tables: one, with one row."""
    return RuleBook({"segment": [{"when": {"points": ">=5"}, "then": outcome}]})


def test_a_job_asks_once_and_the_next_one_only_whether_they_still_hold() -> None:
    """Tables may be long: they go over the line when they change, and not with every job."""
    line = Line(book("large"))
    for _ in range(2):
        with Entered(Context(job_id="a", line=line)):
            assert [rules("segment").first({"points": n}) for n in (1, 5, 9)] == [None, "large", "large"]
    assert [sorted(answer) for answer in line.answers] == [["id", "tables"], ["id"]]


def test_a_job_that_begins_after_a_reload_has_the_new_tables() -> None:
    """One that runs keeps the old ones to its end: half by the old and half by the new would be neither."""
    line = Line(book("old"))
    with Entered(Context(job_id="a", line=line)):
        assert rules("segment").first({"points": 5}) == "old"
        line.book = book("new")
        assert rules("segment").first({"points": 5}) == "old"
    with Entered(Context(job_id="b", line=line)):
        assert rules("segment").first({"points": 5}) == "new"


def test_a_job_that_asks_for_no_table_costs_no_question() -> None:
    """Most jobs decide nothing by table."""
    line = Line(book("x"))
    with Entered(Context(job_id="a", line=line)):
        pass
    assert line.answers == []


def test_a_table_that_is_not_there_is_told_with_a_suggestion() -> None:
    """As it is outside a job."""
    with Entered(Context(job_id="a", line=Line(book("x")))), pytest.raises(RulesError, match="segment"):
        rules("segmnt")
