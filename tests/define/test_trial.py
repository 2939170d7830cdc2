"""A pipeline that is tried: it comes to what a run would come to, and finds what a run would find."""

from __future__ import annotations

import threading  # noqa: TC003 - the same
from collections.abc import Iterator  # noqa: TC003 - the pipelines read it
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, PlainSerializer

from millrace import once, step
from millrace.define.pipeline import Pipeline
from millrace.define.results import MAX_RESULT, Results
from millrace.errors import GiveUp, NotFound, PayloadError


@dataclass(frozen=True)
class Lead:
    name: str
    visits: int


class Share(BaseModel):
    of: Annotated[float, PlainSerializer("{:.0%}".format)]


def shop() -> Pipeline:  # noqa: C901 - many small stages
    """A pipeline with all that there is: a fan-out, a join, a route with branches, a collect and what follows it."""
    leads = Pipeline("leads", inputs={"rows": list[dict[str, Any]], "best": (int, 50)})

    @leads.stage
    def lead(rows: list[dict[str, Any]]) -> Iterator[Lead]:
        yield from rows  # type: ignore[misc]  # raw items: what they are is checked one by one

    @leads.stage
    def points(lead: Lead) -> int:
        if lead.visits < 0:
            raise ValueError(f"{lead.name} cannot have visited {lead.visits} times")
        return lead.visits * 10

    @leads.stage
    def label(lead: Lead) -> str:
        return lead.name.upper()

    @leads.route
    def segment(points: int, label: str, best: int) -> str:
        return "big" if points >= best else "odd" if label == "ODD" else "small"

    @segment.to("big", "odd")
    def call(label: str) -> tuple[str, int]:
        return (label, 1)

    @segment.otherwise
    def mail(label: str) -> str:
        return f"Dear {label}"

    @leads.stage
    def note(lead: Lead, call: list[Any], mail: str = "none") -> str:
        return f"{lead.name}: {call} {mail}"

    @leads.collect
    def summary(segment: Results[str], call: Results[Any], lead: Results[Lead]) -> dict[str, Any]:
        return {
            "labels": list(segment),
            "names": [one.name for one in lead],
            "missing": [segment.dead, call.dead, lead.dead],
            "skipped": call.skipped,
        }

    @leads.stage
    def told(summary: dict[str, Any]) -> int:
        return len(summary["labels"])

    return leads


ROWS = [{"name": "a", "visits": "7"}, {"name": "b", "visits": 1}, {"name": "odd", "visits": 2}]


def test_a_pipeline_is_walked_to_its_end() -> None:
    """Branches, joins and the collect; items of text become what the fan-out promises."""
    trial = shop().try_it(rows=ROWS)

    assert (trial.status, trial.dead, trial.records) == ("succeeded", [], {"lead": 3})
    assert trial.value("lead") == [Lead("a", 7), Lead("b", 1), Lead("odd", 2)]
    assert trial.value("segment") == ["big", "small", "odd"]
    assert trial.by_record("mail") == {2: "Dear B"}
    assert trial.value("note") == ["a: ['A', 1] none", "odd: ['ODD', 1] none"]
    assert trial.value("summary") == {
        "labels": ["big", "small", "odd"],
        "names": ["a", "b", "odd"],
        "missing": [0, 0, 0],
        "skipped": 1,
    }
    assert trial.value("told") == 3
    assert trial.skipped == {"call": 1, "mail": 2, "note": 1}
    assert trial.inputs == {"rows": ROWS, "best": 50}


def test_counts_are_those_of_a_run() -> None:
    """A fan-out is one job that succeeded, beside its dead items."""
    trial = shop().try_it(rows=[*ROWS, {"name": "c"}, {"name": "d", "visits": -1}])

    assert trial.counts["lead"] == {"succeeded": 1, "dead": 1}
    assert trial.counts["points"] == {"succeeded": 3, "dead": 1}
    assert trial.counts["segment"] == {"succeeded": 3}
    assert trial.counts["call"] == {"succeeded": 2, "skipped": 1}
    assert trial.counts["summary"] == {"succeeded": 1}


def test_what_is_dead_stops_only_itself() -> None:
    """A row that is no lead and a stage that fails: both are named, the rest goes on, the collect knows."""
    trial = shop().try_it(rows=[{"name": "c"}, *ROWS, {"name": "d", "visits": -1}])

    assert trial.status == "partial"
    assert [(one.stage, one.record) for one in trial.dead] == [("lead", 1), ("points", 5)]
    bad, failed = trial.dead
    assert bad.item == {"name": "c"}
    assert bad.error.startswith("BadItem: item.visits: is missing")
    assert failed.error == "ValueError: d cannot have visited -1 times"
    assert isinstance(failed.exception, ValueError)
    assert trial.value("segment") == ["big", "small", "odd"]
    assert trial.value("summary")["missing"] == [2, 2, 1]
    assert trial.value("summary")["names"] == ["a", "b", "odd", "d"]


@pytest.mark.parametrize("rows", [[], [{"name": "c"}, {}]], ids=["empty", "all bad"])
def test_the_collect_comes_also_when_there_is_nothing(rows: list[dict[str, Any]]) -> None:
    """A report of nothing is a report; one that never comes is a riddle."""
    trial = shop().try_it(rows=rows)

    assert trial.status == ("partial" if rows else "succeeded")
    assert trial.value("summary")["labels"] == []
    assert trial.value("summary")["missing"] == [len(rows)] * 3
    assert trial.value("told") == 0


def test_a_generator_that_fails_leaves_the_collect_out() -> None:
    """What it had emitted goes on, but nobody knows whether that is all."""
    broken = Pipeline("broken", inputs={})

    @broken.stage
    def number() -> Iterator[int]:
        yield 1
        raise GiveUp("the file ends here")

    @broken.stage
    def double(number: int) -> int:
        return number * 2

    @broken.collect
    def total(double: Results[int]) -> int:
        return sum(double)

    trial = broken.try_it()
    assert (trial.status, trial.value("double")) == ("failed", [2])
    assert str(trial.dead[0]) == "number is dead: GiveUp: the file ends here"
    with pytest.raises(NotFound, match=r'"total" has no value: something that it needs is dead, first of all number'):
        trial.value("total")


def test_values_pass_through_json() -> None:
    """A tuple becomes a list, and what has no JSON form is found here and not at night."""
    odd = Pipeline("odd", inputs={})

    @odd.stage
    def pair():  # type: ignore[no-untyped-def]  # noqa: ANN202 - without a promise, the value is what JSON has
        return (1, 2)

    @odd.stage
    def thing() -> Any:
        return object()

    @odd.stage
    def after(pair: list[int]) -> str:
        return repr(pair)

    @odd.stage
    def never(thing: Any) -> Any:
        return thing

    trial = odd.try_it()
    assert trial.value("pair") == [1, 2]
    assert trial.value("after") == "[1, 2]"
    assert [one.stage for one in trial.dead] == ["thing"]
    assert trial.dead[0].error.startswith("ResultNotJSON: ")
    assert trial.results == {"pair": [1, 2], "after": "[1, 2]"}


def test_a_value_that_does_not_fit_the_next_stage_is_found() -> None:
    """A stage that does not say what it returns may return anything."""
    vague = Pipeline("vague", inputs={})

    @vague.stage
    def count():  # type: ignore[no-untyped-def]  # noqa: ANN202 - it does not say
        return "many"

    @vague.stage
    def double(count: int) -> int:
        return count * 2

    trial = vague.try_it()
    assert trial.status == "failed"
    assert trial.dead[0].error.startswith("PayloadError: ")
    assert "count: must be a whole number" in trial.dead[0].error


def test_a_value_that_does_not_fit_is_one_dead_record_and_the_collect_has_the_rest() -> None:
    """A stage that forgets one case: the total of the others must not be lost with it, nor end as a riddle."""
    shelf = Pipeline("shelf", inputs={"names": list[str]})

    @shelf.stage
    def name(names: list[str]) -> Iterator[str]:
        yield from names

    @shelf.stage
    def price(name: str) -> int:
        return {"a": 1, "c": 3}.get(name)  # type: ignore[return-value]  # the slip that this is about

    @shelf.collect
    def total(price: Results[int]) -> int:
        return sum(price) * 10 + price.dead

    trial = shelf.try_it(names=["a", "zz", "c"])
    assert (trial.status, trial.results) == ("partial", {"name": ["a", "zz", "c"], "price": [1, 3], "total": 41})
    assert [str(one) for one in trial.dead] == [
        "price, record 2 is dead: BadResult: result: must be a whole number, got null"
    ]


def test_a_value_that_is_not_what_its_stage_says_is_found() -> None:
    """Whoever needs it next would be sent what it cannot take."""
    vague = Pipeline("vague", inputs={})

    @vague.stage
    def count() -> int:
        return True

    @vague.stage
    def line() -> threading.Event:
        return 1  # type: ignore[return-value]  # what has no form in JSON cannot be checked

    trial = vague.try_it()
    assert trial.results == {"line": 1}
    assert [str(one) for one in trial.dead] == ["count is dead: BadResult: result: must be a whole number, got true"]


def test_what_is_written_for_people_is_told_as_it_is_written() -> None:
    """No stage asks for it, so that it need not be readable; the trial has what a run would show."""
    shown = Pipeline("shown", inputs={})

    @shown.stage
    def part() -> Share:
        return Share(of=0.5)

    trial = shown.try_it()
    assert (trial.status, trial.results) == ("succeeded", {"part": {"of": "50%"}})


def test_a_route_returns_text() -> None:
    """A label that is a number would be compared with text, and never taken."""
    routed = Pipeline("routed", inputs={})

    @routed.route
    def way() -> Any:
        return 1

    @way.to("1")
    def one() -> None: ...

    trial = routed.try_it()
    assert trial.dead[0].error == "RouteLabel: a route returns the label of a branch, a text, and not 1"
    assert "one" not in trial.counts


class Way(Enum):
    LEFT = "left"
    RIGHT = 2


@pytest.mark.parametrize(("way", "error"), [(Way.LEFT, None), (Way.RIGHT, "RouteLabel: a route returns the label")])
def test_a_route_may_answer_the_member_of_an_enum(way: Way, error: str | None) -> None:
    """Its value is what goes to the ledger, and what labels are; the graph let it pass, and each record died."""
    routed = Pipeline("routed", inputs={})

    @routed.route
    def turn() -> Any:
        return way

    @turn.to("left")
    def left(turn: Way) -> str:
        return turn.name

    trial = routed.try_it()
    assert [one.error.startswith(str(error)) for one in trial.dead] == [True] * (error is not None)
    assert trial.counts.get("left") == (None if error else {"succeeded": 1})


@pytest.mark.parametrize(("way", "taken"), [("a", ["a"]), ("b", ["rest"]), ("none", ["rest"])])
def test_a_run_can_be_routed_as_a_whole(way: str, taken: list[str]) -> None:
    """A fan-out in a branch that is not taken is skipped, and so is what collects it."""
    routed = Pipeline("routed", inputs={"way": str})

    @routed.route
    def turn(way: str) -> str:
        return way

    @turn.to("a")
    def a() -> Iterator[int]:
        yield from (1, 2)

    @turn.otherwise
    def rest() -> str:
        return "rest"

    @routed.stage
    def twice(a: int) -> int:
        return 2 * a

    @routed.collect
    def total(twice: Results[int]) -> int:
        return sum(twice)

    trial = routed.try_it(way=way)
    assert trial.status == "succeeded"
    assert ("a" in trial.results, "rest" in trial.results) == ("a" in taken, "rest" in taken)
    if taken == ["a"]:
        assert trial.value("total") == 6
    else:
        assert trial.skipped == {"a": 1, "twice": 1, "total": 1}
        with pytest.raises(NotFound, match='"total" has no value: it was skipped'):
            trial.value("total")


@pytest.mark.parametrize("error", [SystemExit(3), RecursionError("deep"), GeneratorExit()])
def test_whatever_a_stage_raises_is_a_dead_job(error: BaseException) -> None:
    """`sys.exit` in a stage must not end the test run."""
    nasty = Pipeline("nasty", inputs={})

    @nasty.stage
    def leave() -> None:
        raise error

    assert nasty.try_it().dead[0].exception is error


def test_the_hand_that_stops_a_test_is_obeyed() -> None:
    """Ctrl-C during a trial ends it."""
    nasty = Pipeline("nasty", inputs={})

    @nasty.stage
    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        nasty.try_it()


def test_what_the_ledger_would_not_take_is_dead() -> None:
    """As a value of a stage, and as an item, which stops only itself."""
    large = Pipeline("large", inputs={})

    @large.stage
    def item() -> Iterator[str]:
        yield from ("x" * MAX_RESULT, "y")

    @large.stage
    def grown(item: str) -> str:
        return item * MAX_RESULT

    trial = large.try_it()
    assert [(one.stage, one.record) for one in trial.dead] == [("item", 1), ("grown", 2)]
    assert "item: has 8388610 characters" in trial.dead[0].error
    assert trial.dead[1].error.startswith("ResultTooLarge: has 8388610 characters")


def test_inputs_are_checked_as_those_of_a_run() -> None:
    """A name that is misspelt, a value that does not fit: refused before anything runs."""
    with pytest.raises(PayloadError, match=r"inputs\.rows: "):
        shop().try_it(rows="many")
    with pytest.raises(PayloadError, match="bets"):
        shop().try_it(rows=[], bets=1)


def test_a_stage_that_is_not_there_is_named() -> None:
    """A test with a misspelt name must not pass."""
    with pytest.raises(NotFound, match=r'no stage "sumary"\. Did you mean "summary"\?'):
        shop().try_it(rows=[]).value("sumary")


def test_a_trial_shows_what_is_wrong() -> None:
    """The text is what a failed assertion prints."""
    trial = shop().try_it(rows=[{"name": str(number), "visits": -1} for number in range(5)])

    assert repr(trial).splitlines()[:2] == [
        "<trial of leads: partial",
        "  points, record 1 is dead: ValueError: 0 cannot have visited -1 times",
    ]
    assert repr(trial).endswith("and 2 more dead>")


def test_a_step_whose_name_is_used_twice_is_found_out() -> None:
    """Each record is an attempt of its own; within one, a run would get the first value once more."""
    sums = Pipeline("sums")

    @sums.stage
    def number() -> Iterator[int]:
        yield from range(1, 4)

    @sums.stage
    def total(number: int) -> int:
        return sum(step("double", int, 2 * n) for n in range(number))

    trial = sums.try_it()
    assert [(one.stage, one.record) for one in trial.dead] == [("total", 2), ("total", 3)]
    assert trial.dead[0].error.startswith('ValueError: step "double" was done in this attempt already')
    assert trial.value("total") == [0]


def test_an_effect_that_two_records_share_is_done_once() -> None:
    """As in a run: the key is one for all jobs of a client. The next trial begins anew."""
    flow = Pipeline("flow", inputs={"names": list[str]})
    sent: list[str] = []

    @flow.stage
    def name(names: list[str]) -> Iterator[str]:
        yield from names

    @flow.stage
    def mail(name: str) -> int:
        return once(f"mail-{name}", send, name)

    def send(to: str) -> int:
        sent.append(to)
        return len(sent)

    assert flow.try_it(names=["ada", "bo", "ada"]).value("mail") == [1, 2, 1]
    assert flow.try_it(names=["ada"]).value("mail") == [3]
