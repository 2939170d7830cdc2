"""Pipelines in which something is missing or does not fit: a run comes to what the trial said."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.process.pipes import Pipes

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
