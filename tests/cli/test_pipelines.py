from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.cli.stages import needs_words, runs_words

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Done, Site

    Call = Callable[..., Done]


def test_pipelines_are_listed_and_tasks_are_not(parcels: Site, call: Call) -> None:
    """What is run and what is submitted are two lists."""
    assert parcels.config.exists()
    done = call("pipelines", "list")
    assert (done.code, done.err) == (0, "")
    assert [line.split("  ")[0] for line in done.out.splitlines()] == ["PIPELINE", "parcels"]
    for said in (" 6  ", "day, [rate]", "Parcels: priced, sorted and totalled."):
        assert said in done.out
    assert [task["name"] for task in call("tasks", "list", "--json").json] == ["add", "greet"]


def test_a_site_without_pipelines_is_told_how_to_write_one(site: Site, call: Call) -> None:
    """The next step of a newcomer."""
    done = call("pipelines", "list")
    assert (done.code, done.out) == (0, "")
    assert f"No pipelines yet. Write one in {site.root / 'cli_jobs'}" in done.err


def test_a_flawed_pipeline_is_named_with_its_line_and_the_rest_is_listed(parcels: Site, call: Call) -> None:
    """A misspelt parameter is told before the first run, and stops nothing else."""
    head = 'from millrace import Pipeline\np = Pipeline("p")\n'
    flawed = f"{head}\n@p.stage\ndef one(tow: int) -> int: ...\n\n@p.stage\ndef two() -> int: ...\n"
    (parcels.root / "cli_jobs" / "flawed.py").write_text(flawed)
    done = call("pipelines", "list")
    assert done.code == 0
    assert "parcels" in done.out
    assert done.err.startswith("millrace: cli_jobs/flawed.py:")
    assert 'Did you mean "two"?' in done.err
    shown = call("pipelines", "show", "p")
    assert (shown.code, shown.out) == (4, "")
    assert "cli_jobs/flawed.py:" in shown.err


def test_a_pipeline_is_shown_with_what_its_stages_need(parcels: Site, call: Call) -> None:
    """Enough to start a run, and to see what hangs on what; the site's defaults are filled in."""
    assert parcels.config.exists()
    text = call("pipelines", "show", "parcels").out
    rows = {line.split()[0]: " ".join(line.split()[1:]) for line in text.splitlines() if line.startswith("  ")}
    assert rows["STAGE"] == "RUNS NEEDS QUEUE ATTEMPTS TIMEOUT"
    assert rows["parcel"] == "once, fans out day default 4 10m"
    assert rows["price"] == "per parcel parcel, rate default 1 10m"
    assert rows["way"] == "per parcel, chooses parcel default 4 10m"
    assert rows["pallet"] == "per parcel parcel, if way is heavy or bulky default 4 10m"
    assert rows["label"] == "per parcel parcel, price, if way is anything else io 4 10m"
    assert rows["total"] == "once, collects all of price default 4 10m"
    assert rows["rate"] == "whole number 2"
    assert "millrace run parcels day=…\n" in text


def test_the_graph_is_given_as_json_and_for_mermaid(parcels: Site, call: Call) -> None:
    """Programs and drawings."""
    assert parcels.config.exists()
    facts = call("pipelines", "show", "parcels", "--json").json
    scopes = {stage["name"]: stage["scope"] for stage in facts["stages"]}
    per_record = dict.fromkeys(("price", "way", "pallet", "label"), "parcel")
    assert scopes == {"parcel": None, **per_record, "total": None}
    drawn = call("pipelines", "show", "parcels", "--mermaid")
    assert drawn.out.startswith("flowchart TD\n")
    assert drawn.out == facts["mermaid"].rstrip("\n") + "\n"
    assert call("pipelines", "show", "parcels", "--mermaid", "--json").code == 2


def test_an_unknown_pipeline_is_exit_4_with_a_suggestion(parcels: Site, call: Call) -> None:
    """A task is told from a pipeline: the other command runs it."""
    assert parcels.config.exists()
    done = call("pipelines", "show", "parcel")
    assert (done.code, done.err) == (4, 'millrace: there is no pipeline "parcel". Did you mean "parcels"?\n')
    assert "millrace submit add" in call("pipelines", "show", "add").err


def test_words_for_what_a_stage_runs_on_and_needs() -> None:
    """The forms that the sample pipeline has not."""
    assert runs_words("stage", None) == "once"
    assert needs_words({"needs": [], "gate": None}) == "nothing"
    gate = {"route": "way", "labels": ["heavy"], "otherwise": False}
    assert needs_words({"needs": [], "gate": gate}) == "if way is heavy"
