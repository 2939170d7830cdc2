"""The pipeline of leads: over all of them against a separate script, and what becomes of rows that are no leads."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.jobs.plain_leads import plain_summary

if TYPE_CHECKING:
    from collections.abc import Callable

    from millrace import Pipeline
    from millrace.define.registry import Registry
    from millrace.define.rules import Ruled

ROOT: Final = Path(__file__).resolve().parents[2]
SAMPLE: Final = ROOT / "jobs" / "samples" / "leads.csv"
REAL: Final = ROOT.parent / "shared" / "data" / "leads.csv"
HEADER: Final = "ProspectID,LeadOrigin,LeadSource,TotalVisits,TotalTime,PageViews,Specialization,Occupation,Converted"


@pytest.fixture
def leads(jobs: Registry, site_rules: Callable[..., Ruled]) -> Pipeline:
    """The pipeline as the daemon finds it, deciding by the site's own rules."""
    site_rules(ROOT / "config.toml")
    return jobs.pipelines["leads"]


@pytest.mark.parametrize("path", [SAMPLE, REAL], ids=["sample", "real"])
def test_the_summary_is_that_of_a_separate_script(path: Path, leads: Pipeline) -> None:
    """Every lead once, in the segment and with the points that a plain loop gives it."""
    if not path.is_file():
        pytest.skip(f"{path.name} of the public data is not beside the repository")
    trial = leads.try_it(path=path)
    summary, plain = trial.value("summary"), plain_summary(str(path))

    assert (trial.status, summary.dead) == ("succeeded", 0)
    segments: dict[str, Any] = {name: vars(one) for name, one in summary.segments.items()}
    told = {"leads": summary.leads, "segments": segments, "buyers_ahead": summary.buyers_ahead}
    assert told == plain
    assert summary.buyers_ahead > 0.85


def test_a_new_site_has_a_sample_to_run(leads: Pipeline) -> None:
    """`millrace run leads` without anything must show something; what it shows is written down here."""
    trial = leads.try_it()

    assert trial.records == {"lead": 24}
    assert {name: one.leads for name, one in trial.value("summary").segments.items()} == {
        "ask": 5,
        "enterprise": 4,
        "welcome": 15,
    }
    assert trial.by_record("call")[1] == "call s-0001 today: 84 points"
    assert trial.skipped == {"call": 20, "question": 19, "welcome": 9}


def test_a_row_that_is_no_lead_stops_only_itself(leads: Pipeline, tmp_path: Path) -> None:
    """No id, a number that is none, a comma too many, bytes that are no text: each a dead letter of its own."""
    table = tmp_path / "leads.csv"
    rows = [
        "x-1,API,Google,3,900,2,,Student,1",
        ",API,Google,3,900,2,,Student,1",
        "x-3,API,Google,many,900,2,,Student,1",
        "x-4,API,Google,3,-1,2,,Student,1",
        "x-5,API,Google,3,900,2,,Student,1,more",
        "x-6,API,Google,3,900,2,,Student,perhaps",
        "",
        "x-7",
        f"x-8,API,Google,3,900,2,{'x' * 201},Student,",
        "x-9,API,Go\udcffogle,3,900,2,,Student,",
    ]
    table.write_text("\n".join([HEADER, *rows, ""]), encoding="utf-8", errors="surrogateescape")
    trial = leads.try_it(path=table)

    assert trial.status == "partial"
    assert [one.prospect_id for one in trial.value("lead")] == ["x-1", "x-7"]
    assert [(one.stage, one.record) for one in trial.dead] == [("lead", number) for number in (2, 3, 4, 5, 6, 8, 9)]
    reasons = [one.error for one in trial.dead]
    for reason, said in zip(
        reasons,
        ("prospect_id: is missing", "total_visits", "total_time", "cells_without_a_column: is no field", "bought",
         "specialization", "lead_source"),
        strict=True,
    ):  # fmt: skip
        assert said in reason
    summary = trial.value("summary")
    assert (summary.leads, summary.dead) == (2, 7)


def test_a_file_without_a_column_fails_at_once(leads: Pipeline, tmp_path: Path) -> None:
    """Every row would be dead for the same reason."""
    table = tmp_path / "leads.csv"
    table.write_text("ProspectID,LeadSource\nx-1,Google\n")
    trial = leads.try_it(path=table)

    assert trial.status == "failed"
    assert trial.dead[0].error.startswith("GiveUp: leads.csv has no column LeadOrigin, Occupation, PageViews")


def test_leads_of_whom_nobody_knows_whether_they_bought_are_summed_up(leads: Pipeline, tmp_path: Path) -> None:
    """That is what new leads are."""
    table = tmp_path / "leads.csv"
    table.write_text(f"{HEADER.removesuffix(',Converted')}\nx-1,API,Google,3,900,2,,Student\n")
    summary = leads.try_it(path=table).value("summary")

    assert (summary.leads, summary.buyers_ahead, summary.segments["ask"].bought) == (1, None, 0)


def test_the_rules_decide_and_not_the_code(leads: Pipeline, site_rules: Callable[..., Ruled]) -> None:
    """Another table, other ways; what has no branch of its own gets the usual mail."""
    site_rules({"segment": [{"when": {"channel": "social"}, "then": "enterprise"}, {"then": "somewhere"}]})
    trial = leads.try_it()

    assert trial.counts["call"]["succeeded"] == 2
    assert trial.counts["welcome"]["succeeded"] == 22
    assert set(trial.value("summary").segments) == {"enterprise", "somewhere"}
