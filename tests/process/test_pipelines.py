"""Pipelines through the whole engine: ledger, threads and children are those of the daemon."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.process.pipes import Pipes

if TYPE_CHECKING:
    from collections.abc import Iterator

FLOW = Path(__file__).parent / "site" / "flow.py"
BOTH = ["threads", "processes"]


@pytest.fixture
def pipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipes]:
    """A site that is served; at the end the conservation balance must hold."""
    pipes = Pipes(tmp_path / "site", FLOW)
    monkeypatch.chdir(pipes.root)  # where children work; threads of this process shall find the same files
    pipes.start()
    yield pipes
    if pipes.engine is None:
        pipes.start()
    assert pipes.reads.balance(count_rows=True).difference == 0
    pipes.stop()


def leads(count: int) -> list[dict[str, int]]:
    """Return the items of an ordinary source."""
    return [{"n": number} for number in range(1, count + 1)]


@pytest.mark.parametrize("flow", BOTH)
def test_a_run_goes_from_source_to_report(pipes: Pipes, flow: str) -> None:
    """Fan-out, two branches beside each other, their join, a route with two branches, a barrier and more."""
    run = pipes.ended(pipes.run(flow, leads(7), inputs={"bonus": 1}))

    assert run.status == "succeeded"
    assert run.records == {"lead": 7}
    assert run.counts["call"] == {"succeeded": 3, "skipped": 4}
    assert run.counts["mail"] == {"succeeded": 4, "skipped": 3}
    summary = pipes.value(run.id, "summary")
    assert summary["sum"] == summary["again"] == sum(range(1, 8)) * 10 + 7
    assert summary["done"] == [*(f"wrote to {n}" for n in range(1, 5)), *(f"called {n} with {n}1" for n in range(5, 8))]
    assert (summary["records"], summary["dead"], summary["labels"]) == ([*range(1, 8)], [0, 0, 0], ["big", "small"])
    assert pipes.value(run.id, "report") == f"source: {summary['sum']}"
    assert pipes.value(run.id, "lead") == {"records": 7, "bad": 0}


def paused_fan_out(pipes: Pipes, flow: str, count: int) -> str:
    """Start a run whose fan-out has stopped since nobody works off what it brings; return its id."""
    pipes.moves.pause("side", actor="test").wait()
    run = pipes.run(flow, leads(count))
    pipes.until(lambda: pipes.jobs(run, "lead")[None].reason == "limit", lambda: pipes.jobs(run, "lead"))
    return run


@pytest.mark.parametrize("flow", BOTH)
def test_a_fan_out_into_a_paused_queue_waits_without_a_worker_and_goes_on(pipes: Pipes, flow: str) -> None:
    """It may bring a million items: above the bound it parks at no cost, below half of it it takes up its place."""
    run = paused_fan_out(pipes, flow, 450)
    fan_out = pipes.jobs(run, "lead")[None]
    assert (fan_out.status, fan_out.failures, pipes.reads.run(run).records) == ("waiting", 0, {"lead": 200})
    pipes.until(lambda: not pipes.engine or pipes.engine.running.jobs() == [])
    pipes.moves.resume("side", actor="test").wait()

    ended = pipes.ended(run)
    assert (ended.status, ended.records, ended.counts["done"]) == ("succeeded", {"lead": 450}, {"succeeded": 450})
    assert pipes.value(run, "summary")["records"] == [*range(1, 451)]
    assert pipes.value(run, "lead") == {"records": 450, "bad": 0}
    assert pipes.jobs(run, "lead")[None].failures == 0


@pytest.mark.parametrize("flow", BOTH)
def test_a_source_that_changed_while_its_fan_out_waited_is_dead(pipes: Pipes, flow: str) -> None:
    """Going on would mix two sources: half of the records would be of one, half of the other."""
    run = paused_fan_out(pipes, flow, 450)
    pipes.source([*leads(99), {"n": 1000}, *leads(450)[100:]])
    pipes.moves.resume("side", actor="test").wait()

    ended = pipes.ended(run)
    error = pipes.jobs(run, "lead")[None].error
    assert (ended.status, ended.records) == ("failed", {"lead": 200})
    assert error is not None
    assert (error.type, "source changed" in error.message) == ("SourceChanged", True)
    assert "summary" not in ended.counts or not ended.counts["summary"]


def test_a_child_killed_in_the_midst_of_a_fan_out_costs_no_record_and_doubles_none(pipes: Pipes) -> None:
    """The next attempt goes through the source again, and skips what is in the ledger."""
    source: list[dict[str, int] | str] = [*leads(430)]
    source.insert(330, "!kill")
    run = pipes.ended(pipes.run("processes", source))

    assert (run.status, run.records) == ("succeeded", {"lead": 430})
    assert pipes.jobs(run.id, "lead")[None].crashes == 1
    assert pipes.value(run.id, "summary")["records"] == [*range(1, 431)]
    assert pipes.value(run.id, "summary")["sum"] == sum(range(1, 431)) * 10


@pytest.mark.parametrize("flow", BOTH)
def test_what_came_before_a_source_broke_off_is_worked_off(pipes: Pipes, flow: str) -> None:
    """One failure stays one: the run is failed, as its fan-out is, but its records are not lost."""
    run = pipes.ended(pipes.run(flow, [*leads(3), "!fail", {"n": 4}]))

    assert (run.status, run.records) == ("failed", {"lead": 3})
    assert run.counts["done"] == {"succeeded": 3}
    assert pipes.jobs(run.id, "lead")[None].failures == 2


@pytest.mark.parametrize("flow", BOTH)
def test_an_empty_source_is_a_run_without_records(pipes: Pipes, flow: str) -> None:
    """The barrier opens for nothing: a report of a month without sales is a report."""
    run = pipes.ended(pipes.run(flow, []))

    assert run.status == "succeeded"
    assert pipes.value(run.id, "summary")["records"] == []
    assert pipes.value(run.id, "report") == "source: 0"


@pytest.mark.parametrize("flow", BOTH)
def test_a_source_whose_every_item_is_bad_is_a_partial_run(pipes: Pipes, flow: str) -> None:
    """Each bad item is a dead letter with the item in it; the collect tells how many are missing."""
    run = pipes.ended(pipes.run(flow, [{"m": 1}, {"n": "x"}, "!raw"]))

    assert (run.status, run.records, run.counts["lead"]) == ("partial", {"lead": 0}, {"succeeded": 1, "dead": 3})
    assert pipes.value(run.id, "summary")["dead"] == [3, 3, 3]
    assert pipes.value(run.id, "lead") == {"records": 0, "bad": 3}
    bad = pipes.jobs(run.id, "lead")
    assert json.loads(bad["1"].payload) == {"item": {"m": 1}}
    assert {job.error.type for job in bad.values() if job.error} == {"BadItem"}
    assert "item.n" in str(bad["1"].error)


@pytest.mark.parametrize("flow", BOTH)
def test_what_a_stage_returns_must_fit_into_the_ledger(pipes: Pipes, flow: str) -> None:
    """No JSON, nine megabytes, a label that is none, no number: four dead records, and the other one is done."""
    told = ["points:object", "points:large", "segment:odd", "", "points:none"]
    run = pipes.ended(pipes.run(flow, [{"n": n, "do": do} for n, do in enumerate(told, 1)]))

    assert (run.status, run.counts["done"]) == ("partial", {"succeeded": 1})
    points, segment = pipes.jobs(run.id, "points"), pipes.jobs(run.id, "segment")
    errors = [job.error.type for job in (points["1"], points["2"], segment["3"], points["5"]) if job.error]
    assert errors == ["ResultNotJSON", "ResultTooLarge", "RouteLabel", "BadResult"]
    assert points["5"].failures == 1
    assert pipes.value(run.id, "summary")["dead"] == [3, 4, 4]


@pytest.mark.parametrize("flow", BOTH)
def test_the_dead_of_a_run_are_retried_and_collected_anew(pipes: Pipes, flow: str) -> None:
    """Only they run again, and what was collected without them comes in a second edition."""
    run = pipes.ended(pipes.run(flow, [{"n": 1}, {"n": 2, "do": "points:fail"}, {"n": 3}]))
    assert (run.status, pipes.value(run.id, "summary")["sum"], run.edition) == ("partial", 40, 1)
    (pipes.root / "cured").touch()
    pipes.moves.requeue(pipes.jobs(run.id, "points")["2"].id, actor="test").wait()

    pipes.until(lambda: pipes.reads.run(run.id).edition == 2)
    run = pipes.ended(run.id)
    assert (run.status, run.counts["points"]) == ("succeeded", {"succeeded": 3})
    assert pipes.value(run.id, "summary", "@2")["sum"] == 60
    assert pipes.value(run.id, "report", "@2") == "source: 60"
    assert pipes.value(run.id, "report") == "source: 40"
    assert pipes.jobs(run.id, "points")["1"].attempt == 1


@pytest.mark.parametrize("flow", BOTH)
def test_a_bad_item_that_is_put_right_becomes_a_record(pipes: Pipes, flow: str) -> None:
    """Its type was too strict: with the code mended, retrying the dead letter sends it down the pipeline."""
    run = pipes.ended(pipes.run(flow, [{"n": 1}, {"do": "", "m": 2}]))
    assert run.status == "partial"
    pipes.again("    n: int\n", "    n: int = 5\n")
    pipes.moves.requeue(pipes.jobs(run.id, "lead")["2"].id, actor="test").wait()

    pipes.until(lambda: pipes.reads.run(run.id).status == "succeeded", lambda: pipes.reads.run(run.id))
    assert pipes.value(run.id, "summary", "@2")["done"] == ["wrote to 1", "called 5 with 50"]


@pytest.mark.parametrize("flow", BOTH)
def test_a_stage_that_lost_its_name_waits_for_it(pipes: Pipes, flow: str) -> None:
    """A run follows the plan that it began with; its jobs park until the job file has the stage again."""
    pipes.moves.pause("side", actor="test").wait()
    run = pipes.run(flow, leads(3))
    pipes.until(lambda: pipes.reads.run(run).counts["points"].get("succeeded") == 3)
    pipes.again("mail", "letter")
    pipes.moves.resume("side", actor="test").wait()
    pipes.until(lambda: pipes.reads.run(run).counts.get("mail", {}).get("waiting") == 3)
    assert {job.reason for job in pipes.jobs(run, "mail").values()} == {"unknown_task"}
    pipes.again("letter", "mail")

    assert pipes.ended(run).status == "succeeded"
    assert pipes.value(run, "summary")["done"] == ["wrote to 1", "wrote to 2", "wrote to 3"]


def test_two_runs_of_one_pipeline_keep_apart(pipes: Pipes) -> None:
    """Each has its records, its counts and its inputs."""
    runs = [pipes.run(BOTH[n % 2], leads(20 + n), name=f"s{n}", inputs={"bonus": n}) for n in range(4)]

    for n, run_id in enumerate(runs):
        run = pipes.ended(run_id)
        assert (run.status, run.records) == ("succeeded", {"lead": 20 + n})
        assert pipes.value(run_id, "report") == f"s{n}: {sum(range(1, 21 + n)) * 10 + n * (20 + n)}"


@pytest.mark.parametrize("flow", BOTH)
def test_a_run_is_cancelled_with_what_runs_and_goes_on_when_resumed(pipes: Pipes, flow: str) -> None:
    """A running job is asked to end, what waits is cancelled; resumed, each record comes to its end once."""
    pipes.moves.pause("side", actor="test").wait()
    run = pipes.run(flow, [{"n": 1, "do": "points:hold"}, *leads(60)[1:]])
    pipes.until((pipes.root / "points-1.running").exists)
    pipes.until(lambda: pipes.reads.run(run).counts["lead"] == {"succeeded": 1})
    pipes.moves.cancel_run(run, actor="test", limit=5).wait()
    assert pipes.ended(run).status == "cancelled"
    pipes.moves.resume("side", actor="test").wait()
    (pipes.root / "points-1.go").touch()
    while pipes.moves.resume_run(run, actor="test", limit=20).wait()[1]:
        pass

    ended = pipes.ended(run)
    assert (ended.status, ended.counts["done"]) == ("succeeded", {"succeeded": 60})


def test_the_row_that_sent_a_record_where_it_went_is_in_its_history(pipes: Pipes) -> None:
    """Business people change the table: it must be told later which row of it decided."""
    for flow in BOTH:
        run = pipes.ended(pipes.run(flow, leads(6)))
        facts = [pipes.reads.attempts(pipes.jobs(run.id, "segment")[n].id)[0].facts for n in ("1", "6")]
        small, big = ({"rules": "segment", "rows": [2 - n], "outcome": ("small", "big")[n]} for n in (0, 1))
        assert [fact["decisions"] for fact in facts] == [[small], [big]]


@pytest.mark.parametrize("flow", BOTH)
def test_a_job_tells_how_far_it_is(pipes: Pipes, flow: str) -> None:
    """`track` around the source: what was told last is kept."""
    run = pipes.ended(pipes.run(flow, leads(7)))
    progress = pipes.reads.progress(pipes.jobs(run.id, "lead")[None].id)

    assert progress is not None
    assert (progress.done, progress.total) == (7, None)


def test_a_crash_of_a_record_costs_an_attempt_of_that_record(pipes: Pipes) -> None:
    """The other records do not notice."""
    run = pipes.ended(pipes.run("processes", [{"n": 1, "do": "points:kill"}, {"n": 2}]))

    assert run.status == "succeeded"
    assert [job.crashes for _, job in sorted(pipes.jobs(run.id, "points").items())] == [1, 0]


def test_what_was_handed_to_a_child_that_died_keeps_its_arguments(pipes: Pipes) -> None:
    """Short jobs go to a child by the batch; those that it had not begun begin in another, with the same values."""
    source = [{"n": n, "do": "done:kill" if n in (150, 250) else ""} for n in range(1, 401)]
    run = pipes.ended(pipes.run("processes", source))

    assert run.status == "succeeded"
    assert "nothing" not in pipes.value(run.id, "summary")["done"]
