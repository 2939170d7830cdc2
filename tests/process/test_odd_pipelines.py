"""Pipelines in which something is missing or does not fit: a run comes to what the trial said."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.process.pipes import LIMIT_S, Pipes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from millrace.define.trial import Trial
    from millrace.ledger.run_rows import RunRow

ODD = Path(__file__).parent / "site" / "odd.py"
BOTH = ["threads", "processes"]


@pytest.fixture
def pipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipes]:
    """A site that is served."""
    pipes = Pipes(tmp_path / "site", ODD)
    monkeypatch.chdir(pipes.root)
    pipes.start()
    yield pipes
    assert pipes.reads.balance(count_rows=True).difference == 0
    pipes.stop()


def tried(pipeline: str) -> Trial:
    """Try a pipeline in memory."""
    spec = importlib.util.spec_from_file_location("odd", ODD)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Trial = getattr(module, pipeline.replace("-", "_")).try_it(source="")
    return found


def both(pipes: Pipes, pipeline: str) -> tuple[RunRow, Trial]:
    """Run a pipeline, and try it; their counts and what died must be the same."""
    run, trial = pipes.ended(pipes.run(pipeline)), tried(pipeline)
    assert (run.status, dead(pipes, run)) == (trial.status, {(one.stage, one.record): one.error for one in trial.dead})
    assert {name: count for name, count in run.counts.items() if count} == trial.counts
    return run, trial


def dead(pipes: Pipes, run: RunRow) -> dict[tuple[str, int | None], str]:
    """Return the errors of what died in a run, by stage and record."""
    found: dict[tuple[str, int | None], Any] = {}
    for stage, count in run.counts.items():
        for record, job in pipes.jobs(run.id, stage).items() if "dead" in count else ():
            if job.status == "dead" and job.error is not None:
                found[stage, int(record) if record else None] = f"{job.error.type}: {job.error.message}"
    return found


@pytest.mark.parametrize("flow", BOTH)
def test_a_value_that_the_next_stage_cannot_take_is_one_dead_record(pipes: Pipes, flow: str) -> None:
    """It was parked for ever: the run never ended, and nothing named the field."""
    run, _ = both(pipes, f"{flow}-misfit")
    assert dead(pipes, run) == {("twice", 2): 'PayloadError: payload.told: must be a whole number, got "two"'}
    assert pipes.value(run.id, "total") == [8, 1]


@pytest.mark.parametrize("flow", BOTH)
def test_the_default_of_results_stands_for_a_fan_out_that_was_skipped(pipes: Pipes, flow: str) -> None:
    """The run handed in empty results, and the trial the default; a route may answer the member of an enum."""
    run, trial = both(pipes, f"{flow}-spare")
    assert pipes.value(run.id, "total") == trial.value("total") == ["off", None, None]
    assert pipes.value(run.id, "sum_up") is trial.value("sum_up") is None
    assert run.counts["never"] == run.counts["twice"] == {"skipped": 1}


@pytest.mark.parametrize("flow", BOTH)
def test_what_was_skipped_decides_and_a_fan_out_waits_for_what_its_records_need(pipes: Pipes, flow: str) -> None:
    """The trial said that such a record never came up, and let the fan-out run for records that go nowhere."""
    run, _ = both(pipes, f"{flow}-lost")
    assert (run.status, run.counts["needs"], run.counts["priced"]) == ("failed", {"skipped": 2}, {})


@pytest.mark.parametrize("flow", BOTH)
def test_what_came_before_a_source_called_sys_exit_is_kept(pipes: Pipes, flow: str) -> None:
    """As what came before any other failure."""
    run = pipes.ended(pipes.run(f"{flow}-broken"))
    assert (run.status, run.records, run.counts["twice"]) == ("failed", {"item": 2}, {"succeeded": 2})


@pytest.mark.parametrize("flow", BOTH)
def test_a_collect_ends_before_the_next_edition_begins(pipes: Pipes, flow: str) -> None:
    """Both were at work at once, and the one that tells of fewer records could be the last to write."""
    run_id, notes = pipes.run(f"{flow}-slow"), pipes.root / "notes"
    pipes.until(notes.exists)
    (pipes.root / "cured").touch()
    pipes.moves.resume_run(run_id, actor="ann").wait(LIMIT_S)
    run = pipes.ended(run_id)
    assert notes.read_text().splitlines() == ["begins with 1", "ends with 1", "begins with 2", "ends with 2"]
    assert (run.status, run.edition, run.counts["total"]) == ("succeeded", 2, {"succeeded": 1, "cancelled": 1})
    assert pipes.value(run_id, "total", "@2") == 2
