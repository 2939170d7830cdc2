"""One call of job code, and what its verdict says: what it decided, what it returned, what it cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from millrace import Pipeline, rules, task
from millrace.define.rules import MAX_DECISIONS
from millrace.runner.attempt import attempt
from millrace.runner.context import Context, Entered

if TYPE_CHECKING:
    from millrace.define.task import Task
    from millrace.runner.verdict import Verdict

TABLES = {"size": [{"when": {"points": ">=60"}, "then": "big"}, {"then": "small"}]}


class TableLine:
    """A line whose other end has decision tables, and nothing else."""

    def ask(self, kind: str, body: dict[str, Any]) -> Any:
        assert (kind, set(body)) == ("rules", {"known"})
        return {"id": f"{id(self)}", "tables": TABLES}

    def tell(self, kind: str, body: dict[str, Any]) -> None:
        raise AssertionError((kind, body))

    def check(self) -> None:
        """Go on."""


def run(of: Task[..., Any], payload: str, record: str | None = None) -> Verdict:
    """Run a task or a stage here, as a job that can ask for tables."""
    with Entered(Context(job_id="a", line=TableLine(), record=record)):
        return attempt(of, payload)


@task
def sized(points: list[int]) -> list[Any]:
    """Decide for each."""
    return [rules("size").first({"points": one}) for one in points]


def test_what_a_table_decided_is_told_with_the_verdict() -> None:
    """Whoever asks why a lead went where it went reads the row in the job's history."""
    verdict = run(sized, '{"points":[70,10]}')
    assert (verdict.kind, verdict.result) == ("ok", '["big","small"]')
    assert [one["outcome"] for one in verdict.facts["decisions"]] == ["big", "small"]
    assert "decided" not in verdict.facts


def test_of_very_many_decisions_the_first_are_told_and_all_are_counted() -> None:
    """A job that decides for a million rows must not write a million facts."""
    points = [1] * (MAX_DECISIONS + 5)
    verdict = run(sized, f'{{"points":{points}}}')
    assert len(verdict.facts["decisions"]) == MAX_DECISIONS
    assert verdict.facts["decided"] == MAX_DECISIONS + 5


leads = Pipeline("leads", inputs={"count": int})


@leads.stage
def lead(count: int) -> Iterator[int]:
    """Give some numbers."""
    yield from range(count)


@leads.route
def way(lead: int) -> str:
    """Choose."""
    return "left" if lead else None  # type: ignore[return-value] # what a mistaken route does


@way.to("left")
def left(lead: int) -> int:
    """Go."""
    return lead


@pytest.mark.parametrize(("payload", "kind"), [('{"lead":1}', "ok"), ('{"lead":0}', "gave_up")])
def test_a_route_that_returns_no_label_is_not_tried_again(payload: str, kind: str) -> None:
    """Nobody could tell where the record belongs, and another attempt would not either."""
    verdict = run(way, payload, record="1")
    assert verdict.kind == kind
    assert kind == "ok" or (verdict.error is not None and "label" in verdict.error.message)


def test_arguments_that_do_not_fit_are_final_for_a_stage_and_wait_for_a_task() -> None:
    """Of a task, the code may take the payload again; what another stage came to stays what it is."""
    of_stage, of_task = run(left, '{"lead":"one"}', record="1"), run(sized, '{"points":"one"}')
    assert (of_stage.kind, of_stage.reason, of_task.kind) == ("gave_up", "arguments", "payload")
    assert of_stage.error is not None
    assert "payload.lead: must be a whole number" in of_stage.error.message


def test_an_item_that_was_bad_is_checked_once_more() -> None:
    """Somebody has put it right, or has only asked again."""
    assert run(lead, '{"item":7}', record="1").result == "7"
    bad = run(lead, '{"item":"seven"}', record="1")
    assert bad.error is not None
    assert bad.error.type == "BadItem"


def test_a_stage_outside_of_its_run_says_how_to_try_it() -> None:
    """A plain call, or try_it."""
    with Entered(Context(job_id="a")):
        verdict = attempt(left, '{"lead":1}')
    assert verdict.error is not None
    assert "try_it" in verdict.error.message
