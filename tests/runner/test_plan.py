"""The plan that a run follows, read from a pipeline."""

from __future__ import annotations

from collections.abc import Iterator

from millrace import Pipeline, Results
from millrace.ledger.plan import Gate, Plan
from millrace.runner.plan import plan_of

leads = Pipeline("leads", inputs={"path": str, "month": (str, "2026-01")}, queue="io", retries=5)


@leads.stage
def lead(path: str) -> Iterator[int]:
    """Fan out."""
    yield len(path)


@leads.stage(queue="cpu", retries=0)
def points(lead: int, month: str) -> int:
    """Run per record."""
    return lead + len(month)


@leads.route
def segment(points: int) -> str:
    """Send on its way."""
    return "a" if points else "b"


@segment.to("a", "c")
def call(lead: int) -> str:
    """Take one branch."""
    return str(lead)


@segment.otherwise
def mail(lead: int) -> str:
    """Take the other."""
    return str(lead)


@leads.collect
def summary(points: Results[int], call: Results[str]) -> int:
    """Wait for all."""
    return sum(points) + len(call)


@leads.stage
def report(summary: int, path: str, note: str = "") -> str:
    """Follow the barrier."""
    return f"{path}{summary}{note}"


@leads.stage
def note() -> str:
    """Run once."""
    return ""


def plan(**given: int) -> Plan:
    """Return the plan on a site of two queues."""
    backlogs = {"io": 1_000_000, "cpu": 700}
    return plan_of(leads, retries=3, fan_out=given.pop("fan_out", 50_000), backlogs={**backlogs, **given})


def test_the_plan_has_all_that_a_move_must_know() -> None:
    """Whoever makes it may be a command that loads no job code."""
    stages = {stage.name: stage for stage in plan().stages}

    assert set(stages) == set(leads.stages)
    assert (stages["points"].task, stages["points"].queue, stages["points"].max_attempts) == ("leads.points", "cpu", 1)
    assert (stages["lead"].queue, stages["lead"].max_attempts, stages["lead"].kind) == ("io", 6, "fanout")
    assert [stages[name].fanout for name in ("lead", "points", "call", "summary", "report")] == [
        None, "lead", "lead", None, None,
    ]  # fmt: skip
    assert (stages["call"].gate, stages["mail"].gate) == (Gate("segment", ("a", "c")), Gate("segment", otherwise=True))
    assert stages["report"].needs == (("summary", True), ("note", False))
    assert (stages["points"].inputs, stages["report"].inputs, stages["points"].needs) == (
        ("month",), ("path",), (("lead", True),),
    )  # fmt: skip
    assert [stages[name].after_collect for name in ("points", "summary", "report")] == [False, True, True]


def test_a_plan_survives_the_ledger_and_has_one_id() -> None:
    """Runs of the same graph share a row."""
    assert Plan.from_json(plan().to_json()) == plan()
    assert plan().id == plan().id != plan(fan_out=400).id


def test_retries_left_open_are_those_of_the_site() -> None:
    """As for tasks."""
    bare = Pipeline("bare")

    @bare.stage
    def one() -> int:
        return 1

    assert plan_of(bare, retries=3, fan_out=100, backlogs={}).stages[0].max_attempts == 4


def test_a_fan_out_pauses_before_it_fills_a_queue_by_itself() -> None:
    """Submissions of others to that queue would be refused while it is full."""
    assert plan().bound == 700
    assert plan(fan_out=200).bound == 200
    assert plan(cpu=1).bound == 2
