"""The sample pipelines through the whole engine: a run comes to what a trial of the same inputs said it would."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from millrace.define.payload import result_json
from millrace.ledger.rows import JobFilter
from millrace.queue.runs import RunSubmission
from tests.process.pipes import Pipes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from millrace.ledger.run_rows import RunRow

ROOT: Final = Path(__file__).resolve().parents[2]
REAL: Final = ROOT.parent / "shared" / "data" / "invoices.csv"
LEADS: Final = b"""\
ProspectID,LeadOrigin,LeadSource,TotalVisits,TotalTime,PageViews,Specialization,Occupation,Converted
x-1,Lead Add Form,Reference,3,900,2,Finance,Working Professional,1
,API,Google,3,900,2,,Student,1
x-3,API,Google,many,900,2,,Student,1
x-4,API,Google,3,900,2,,Student,0
x-5,API,Google,3,900,2,,Student,1,more
x-6,API,Go\xffogle,3,900,2,,Student,0
x-7
"""


@pytest.fixture
def samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipes]:
    """A new site as `millrace init` makes it, served."""
    pipes = Pipes(tmp_path / "site", ROOT / "jobs" / "leads.py", (ROOT / "config.toml").read_text())
    shutil.copytree(ROOT / "jobs", pipes.root / "jobs", dirs_exist_ok=True)
    monkeypatch.chdir(pipes.root)
    pipes.start()
    yield pipes
    assert pipes.reads.balance(count_rows=True).difference == 0
    pipes.stop()


def ran(pipes: Pipes, pipeline: str, **inputs: Any) -> tuple[RunRow, dict[str, Any]]:
    """Run a pipeline to its end; return the run and what a trial of the same says."""
    assert pipes.engine is not None
    found = pipes.engine.registry.pipelines[pipeline]
    payload = {name: str(value) for name, value in inputs.items()}
    run = pipes.ended(pipes.engine.submitter.start_run(RunSubmission(pipeline, payload=payload)).id)
    trial = found.try_it(**inputs)
    dead = pipes.reads.jobs(JobFilter(run=run.id, status="dead", limit=100)).jobs
    assert (run.status, run.counts, run.records) == (trial.status, trial.counts, trial.records)
    assert {(job.stage, job.record, f"{job.error.type}: {job.error.message}") for job in dead if job.error} == {
        (one.stage, None if one.record is None else str(one.record), one.error) for one in trial.dead
    }
    once = [stage for stage in trial.results if not isinstance(trial.results[stage], list)]
    return run, {stage: (pipes.value(run.id, stage), trial.value(stage)) for stage in once}


def assert_same(values: dict[str, Any]) -> None:
    """The values of the run are those of the trial, as JSON has them."""
    for stage, (of_run, of_trial) in values.items():
        assert result_json(of_run) == result_json(of_trial), stage


def test_a_new_site_runs_its_leads(samples: Pipes) -> None:
    """`millrace run leads` without anything else is what a newcomer types first."""
    run, values = ran(samples, "leads")

    assert (run.status, run.records) == ("succeeded", {"lead": 24})
    assert values["summary"][1].leads == 24
    assert_same(values)


def test_rows_that_are_no_leads_are_dead_in_a_run_as_in_a_trial(samples: Pipes, tmp_path: Path) -> None:
    """The words of the error, the counts and the summary: a trial that says something else is worth nothing."""
    table = tmp_path / "leads.csv"
    table.write_bytes(LEADS)
    run, values = ran(samples, "leads", path=table)

    assert (run.status, run.records) == ("partial", {"lead": 3})
    assert (values["summary"][1].leads, values["summary"][1].dead) == (3, 4)
    assert_same(values)


def test_a_new_site_runs_its_month_end(samples: Pipes) -> None:
    """In child processes: results over the line, files by the side."""
    run, values = ran(samples, "month-end")

    assert (run.status, run.records) == ("succeeded", {"invoice": 31})
    assert Path(values["page"][0]).is_file()
    assert_same({stage: pair for stage, pair in values.items() if stage != "customers"})  # a set has no order


def test_a_month_of_real_invoices_comes_to_what_its_trial_says(samples: Pipes) -> None:
    """Thousands of records through one barrier, to the cent."""
    if not REAL.is_file():
        pytest.skip(f"{REAL.name} of the public data is not beside the repository")
    run, values = ran(samples, "month-end", path=REAL, month="2011-11")

    assert (run.status, run.records) == ("succeeded", {"invoice": 2657 + 1929})
    assert str(values["comparison"][1].amount) == "1161817.38"
    assert_same({stage: pair for stage, pair in values.items() if stage != "customers"})
