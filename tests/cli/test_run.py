from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from millrace.cli.run_waiting import progress_line
from millrace.ledger.plan import PlanStage

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Done, Past, Site

    Call = Callable[..., Done]


def test_a_run_is_started_while_the_daemon_is_down(parcels: Site, call: Call) -> None:
    """Its id is printed when it is on disk; words are read by the types of the inputs."""
    done = call("run", "parcels", "day=monday", "rate=3")
    assert (done.code, done.err) == (0, "")
    with parcels.open() as ledger:
        run = ledger.reads.run(done.out.strip())
    assert (run.pipeline, run.status, json.loads(run.inputs)) == ("parcels", "running", {"day": "monday", "rate": 3})
    assert (run.client, run.source.kind, run.counts["parcel"]) == ("default", "cli", {"queued": 1})


def test_all_options_reach_the_run(parcels: Site, call: Call) -> None:
    """An option that is taken and dropped would be a lie."""
    (parcels.root / "inputs.json").write_text('{"day": "tuesday"}')
    words = ["--payload", f"@{parcels.root / 'inputs.json'}", "--client", "acme", "--key", "k-1", "--priority", "7"]
    run = call("run", "parcels", *words, "--json").json
    told = {name: run[name] for name in ("pipeline", "client", "key", "status", "inputs")}
    assert told == {
        "pipeline": "parcels",
        "client": "acme",
        "key": "k-1",
        "status": "running",
        "inputs": {"day": "tuesday", "rate": 2},
    }
    assert [job["priority"] for job in call("jobs", "list", "--run", run["id"], "--json").json] == [7]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("parcel day=x", 4, 'there is no pipeline "parcel". Did you mean "parcels"?'),
        ("add left=1", 4, "millrace submit add"),
        ("parcels", 2, "inputs.day: is missing"),
        ("parcels day=x rate=two", 2, 'inputs.rate: must be a whole number, got "two"'),
        ("parcels day=x rat=1", 2, 'inputs.rat: is no field of pipeline parcels (Did you mean "rate"?)'),
        ("parcels day=x day=y", 2, "inputs.day: is given twice"),
        ("parcels day", 2, '"day" is not NAME=VALUE'),
        ("parcels day=x --client acne", 4, 'no client "acne" in config.toml. Did you mean "acme"?'),
        ("parcels day=x --priority 99999999", 2, "priority: must lie between"),
        ("parcels day=x --key=", 2, "key: must have 1 to 255 characters"),
        ("parcels day=x --payload {}", 2, "either NAME=VALUE words or --payload"),
        ("parcels day=x --timeout 5s", 2, "--timeout goes with --wait"),
        ("parcels day=x --dry-run --wait", 2, "either --dry-run, which starts nothing, or --wait"),
        ("parcels --payload @nowhere", 2, "nowhere: No such file or directory"),
        ("parcels --payload [1]", 2, "inputs: must be a JSON object"),
        ("", 2, "Missing argument 'PIPELINE'"),
    ],
)
def test_bad_input_is_named_and_nothing_is_started(parcels: Site, call: Call, words: str, code: int, said: str) -> None:
    """Place, reason and suggestion on one line, the exit code of the contract, and no run."""
    assert parcels.config.exists()
    done = call("run", *words.split())
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert done.err.startswith("millrace: ")
    assert done.err.count("\n") == 1
    assert call("runs", "list", "--json").json == []


def test_a_stage_is_not_submitted_by_itself(parcels: Site, call: Call) -> None:
    """Its arguments come from its run; the message says how to get one."""
    assert parcels.config.exists()
    done = call("submit", "parcels.price", "parcel=1")
    assert (done.code, done.out) == (4, "")
    assert done.err == 'millrace: "parcels.price" is a stage of pipeline parcels: millrace run parcels\n'
    assert "millrace run parcels" in call("submit", "parcels").err


def test_a_known_key_is_the_same_run_and_other_inputs_a_conflict(parcels: Site, call: Call) -> None:
    """A script that runs twice starts one."""
    assert parcels.config.exists()
    first = call("run", "parcels", "day=monday", "--key", "k")
    again = call("run", "parcels", "day=monday", "--key", "k")
    other = call("run", "parcels", "day=sunday", "--key", "k")
    assert (again.code, again.out) == (0, first.out)
    assert "nothing was started" in again.err
    assert other.code == 5
    assert first.out.strip() in other.err
    assert len(call("runs", "list", "--json").json) == 1


def test_a_dry_run_says_what_its_key_would_come_to(parcels: Site, call: Call) -> None:
    """It said that a run would be started; the start itself then was a conflict, or none at all."""
    assert parcels.config.exists()
    words = ("run", "parcels", "--key", "k", "--dry-run")
    assert "The key is known" not in call(*words, "day=monday").err
    run_id = call("run", "parcels", "day=monday", "--key", "k").out.strip()
    same = call(*words, "day=monday")
    assert (same.code, same.err.splitlines()) == (
        0,
        [
            f"The key is known: run {run_id} has it, so that nothing would be started.",
            "Nothing was started: this was a dry run.",
        ],
    )
    assert call(*words, "day=monday", "--json").json["run_id"] == run_id
    other = call(*words, "day=sunday")
    assert (other.code, other.out) == (5, "")
    assert f'key "k" was used before with other inputs, by run {run_id}' in other.err


def test_a_dry_run_checks_and_shows_and_starts_nothing(parcels: Site, call: Call) -> None:
    """Before ten thousand records, one look at what will happen to each."""
    assert parcels.config.exists()
    done = call("run", "parcels", "day=monday", "--dry-run")
    assert (done.code, done.err) == (0, "Nothing was started: this was a dry run.\n")
    assert done.out.startswith('A run of parcels for client default with {"day":"monday","rate":2}\n')
    assert "per parcel, chooses" in done.out
    facts = call("run", "parcels", "day=monday", "--client", "acme", "--dry-run", "--json").json
    assert (facts["client"], facts["inputs"]) == ("acme", {"day": "monday", "rate": 2})
    assert {stage["name"] for stage in facts["stages"]} == {"parcel", "price", "way", "pallet", "label", "total"}
    assert call("run", "parcels", "--dry-run").code == 2
    assert call("runs", "list", "--json").json == []


def test_waiting_prints_the_counts_of_a_success(parcels: Site, call: Call, past: Past) -> None:
    """The run is over already in this test: its key is known."""
    assert parcels.config.exists()
    run_id = _same_run(call, past)
    for stage in ("parcel", "total"):
        for held in past.of_stage(run_id, stage):
            past.moves.succeed(held, '{"sum":7}', duration_s=0.1).wait()
    done = call("run", "parcels", "day=monday", "--key", "k", "--wait")
    assert done.code == 0
    assert f"Run {run_id}\n" in done.err
    assert done.out.splitlines()[1].split() == ["parcel", "once,", "fans", "out", "0", "1"]
    assert done.out.endswith('\nResult\n  total  {"sum":7}\n')
    shown = call("run", "parcels", "day=monday", "--key", "k", "--wait", "--json").json
    assert (shown["status"], shown["results"]) == ("succeeded", {"total": {"sum": 7}})


def test_waiting_for_a_run_that_failed_is_exit_1_and_names_what_died(parcels: Site, call: Call, past: Past) -> None:
    """A script goes on only after a success."""
    from millrace.ledger.rows import JobError

    assert parcels.config.exists()
    run_id = _same_run(call, past)
    (held,) = past.of_stage(run_id, "parcel")
    past.moves.give_up(held, JobError("OSError", "no such day"), duration_s=0.1, cause="gave up").wait()
    done = call("run", "parcels", "day=monday", "--key", "k", "--wait")
    assert done.code == 1
    assert f"millrace: parcel: OSError: no such day (millrace dead show {held.job_id})\n" in done.err
    assert f"millrace: run {run_id} is failed (millrace runs show {run_id})\n" in done.err


def test_a_wait_ends_when_its_time_is_up(parcels: Site, call: Call) -> None:
    """The run goes on; the script may come back."""
    assert parcels.config.exists()
    done = call("run", "parcels", "day=monday", "--wait", "--timeout", "0.01s")
    assert (done.code, done.out) == (75, "")
    assert "The daemon is not running" in done.err
    assert "is still running: the time to wait is up" in done.err
    done = call("run", "parcels", "day=monday", "--wait", "--timeout", "0.01s", "--json")
    assert (done.code, done.json["status"]) == (75, "running")
    assert f"millrace jobs wait {done.json['id']}" in done.err


def test_a_wait_for_a_run_names_a_queue_that_is_paused(parcels: Site, call: Call) -> None:
    """Nothing of it starts, and nothing else would say so."""
    assert call("queues", "pause", "default").code == 0
    done = call("run", "parcels", "day=monday", "--wait", "--timeout", "0.2s")
    assert done.code == 75
    assert done.err.count("Queue default is paused, and what waits in it does not start") == 1
    assert parcels.config.exists()


def test_on_a_terminal_the_words_about_the_daemon_have_a_line_of_their_own(parcels: Site) -> None:
    """They came behind the line of progress: "parcel 0The daemon is not running"."""
    ours, theirs = pty.openpty()
    argv = parcels.argv("run", "parcels", "day=monday", "--wait", "--timeout", "0.01s")
    process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    shown = b""
    with suppress(OSError), os.fdopen(ours, "rb", buffering=0) as terminal:  # which fails when the other end is closed
        while piece := terminal.read(4096):
            shown += piece
    assert process.wait(20) == 75
    assert re.search(rb"parcel 0\r +\rThe daemon is not running", shown), shown


def test_a_wait_ends_when_the_run_is_over(parcels: Site, call: Call, past: Past) -> None:
    """It hears of the commit of another process."""
    run_id = _same_run(call, past)
    (held,) = past.of_stage(run_id, "parcel")
    argv = parcels.argv("run", "parcels", "day=monday", "--key", "k", "--wait")
    waiting = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert waiting.stderr is not None
    while "The daemon is not running" not in waiting.stderr.readline():
        assert waiting.poll() is None
    past.moves.succeed(held, "0", duration_s=0.1).wait()
    (total,) = past.of_stage(run_id, "total")
    past.moves.succeed(total, "0", duration_s=0.1).wait()
    out, _ = waiting.communicate(timeout=20)
    assert waiting.returncode == 0
    assert "total" in out


def test_the_line_of_progress_says_how_far_each_stage_is(past: Past) -> None:
    """What has not begun is left out: the line has one line's room."""
    from millrace.ledger.run_rows import Item

    stages = (
        PlanStage("table", "leads.table", "default"),
        PlanStage("lead", "leads.lead", "default", kind="fanout", waits=("table",)),
        PlanStage("points", "leads.points", "default", 1, "stage", "lead", (("lead", True),), None, ("lead",)),
        PlanStage("grade", "leads.grade", "default", 1, "stage", "lead", (("points", True),), None, ("points",)),
    )
    run_id = past.run(*stages, pipeline="leads")
    reads = past.ledger.reads
    assert progress_line(stages, reads.run(run_id)) == "table · lead 0"
    past.moves.succeed(past.of_stage(run_id, "table")[0], "1", duration_s=0.1).wait()
    (source,) = past.of_stage(run_id, "lead")
    past.moves.emit(source, [Item("1"), Item("2")], position=2, chain="c", begun=0).wait()
    past.moves.succeed(past.of_stage(run_id, "points")[0], "1", duration_s=0.1).wait()
    line = progress_line(stages, reads.run(run_id))
    assert line == "table done · lead 2 · points 1 of 2 · grade 0 of 2"


def _same_run(call: Call, past: Past) -> str:
    """Start a run under a key, so that another command can wait for it."""
    run_id = call("run", "parcels", "day=monday", "--key", "k").out.strip()
    assert past.ledger.reads.run(run_id).status == "running"
    return str(run_id)
