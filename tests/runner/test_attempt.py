"""One call of job code, and what its verdict says: what it decided, what it returned, what it cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal

import pytest
from pydantic import BaseModel, field_serializer

from millrace import Pipeline, Results, rules, task
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


loose = Pipeline("loose", inputs={"told": Any})


@loose.stage
def number(told: Any) -> int:
    """Return what it is told, which may be no number."""
    return told  # type: ignore[no-any-return]


@loose.stage
def unsaid(told: Any):  # type: ignore[no-untyped-def] # noqa: ANN201 - that is the point
    """Return what it is told, and announce nothing."""
    return told


@loose.route
def turn(told: Any) -> Literal["left", "right"]:
    """Choose what it is told."""
    return told  # type: ignore[no-any-return]


@loose.stage
def each(told: Any) -> Iterator[int]:
    """Give some numbers."""
    yield from told


@loose.stage
def halved(each: int) -> float:
    """Halve one of them."""
    return each / 2


@loose.collect
def joint(halved: Results[float], told: Any) -> int:
    """Go through all of them, and return what it is told."""
    list(halved)
    return told  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("stage", "told", "why"),
    [
        (number, "null", "result: must be a whole number, got null"),
        (number, "[1]", "result: must be a whole number, got [1]"),
        (turn, '"ahead"', 'result: must be "left" or "right", got "ahead"'),
        (joint, '"many"', 'result: must be a whole number, got "many"'),
    ],
)
def test_a_value_that_does_not_fit_its_stages_type_is_final(stage: Task[..., Any], told: str, why: str) -> None:
    """Else it would count as done, and the collect that reads it would die for all the records that are good."""
    verdict = run_collected(stage, told, [(1, "1.5")])
    assert (verdict.kind, verdict.reason) == ("gave_up", "result")
    assert verdict.error is not None
    assert (verdict.error.type, verdict.error.message) == ("BadResult", why)


@pytest.mark.parametrize(("stage", "told"), [(number, "7"), (unsaid, "[null]"), (turn, '"left"'), (joint, "7")])
def test_a_value_that_fits_or_of_which_nothing_is_said_is_a_result(stage: Task[..., Any], told: str) -> None:
    """A stage without annotations is believed."""
    verdict = run_collected(stage, told, [(1, "1.5"), (2, "2")])
    assert (verdict.kind, verdict.result) == ("ok", told)


forms = Pipeline("forms", inputs={"told": Any})


class Share(BaseModel):
    """A number that its JSON shows as people write it."""

    part: float

    @field_serializer("part")
    def percent(self, part: float) -> str:
        return f"{part:.0%}"


def share(told: Any) -> Share:
    """Return what it is told, of which the next stage makes nothing."""
    return told if told is None else Share(part=told)  # type: ignore[return-value]


first = forms.stage(name="first")(share)
last = forms.stage(name="last")(share)


@forms.stage
def after(first: Share) -> float:
    """Ask for one of the two."""
    return first.part


def test_what_no_stage_asks_for_may_be_written_for_people() -> None:
    """The last stage's report is not read back, and must not die for how it looks; what is no report at all does."""
    for of, told, kind in ((last, "0.5", "ok"), (last, "null", "gave_up"), (first, "0.5", "gave_up")):
        assert run_collected(of, told, []).kind == kind


def test_a_kept_value_that_a_collect_cannot_read_is_told_by_its_record_and_not_tried_again() -> None:
    """An older version took it for a success, or the type has changed since; no attempt of the collect mends it."""
    verdict = run_collected(joint, "7", [(1, "1.5"), (4, "null")])
    assert (verdict.kind, verdict.reason) == ("gave_up", "arguments")
    assert verdict.error is not None
    assert verdict.error.type == "BadResult"
    assert verdict.error.message == "record 4 of stage halved: result: must be a number, got null"


class ResultsLine(TableLine):
    """A line whose other end has the values of one stage."""

    def __init__(self, values: list[tuple[int, str]]) -> None:
        self.values = values

    def ask(self, kind: str, body: dict[str, Any]) -> Any:
        assert body["stage"] == "halved"
        if kind == "results.head":
            return {"count": len(self.values), "dead": 0, "skipped": 0}
        return [one for one in self.values if one[0] > body["after"]]


def run_collected(of: Task[..., Any], told: str, values: list[tuple[int, str]]) -> Verdict:
    """Run a stage of `loose` here; its collect finds these values."""
    with Entered(Context(job_id="a", line=ResultsLine(values))):
        return attempt(of, f'{{"told":{told}}}')


def test_a_stage_outside_of_its_run_says_how_to_try_it() -> None:
    """A plain call, or try_it."""
    with Entered(Context(job_id="a")):
        verdict = attempt(left, '{"lead":1}')
    assert verdict.error is not None
    assert "try_it" in verdict.error.message
