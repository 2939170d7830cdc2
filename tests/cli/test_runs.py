from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from millrace.cli.acting import Retries
from millrace.cli.progress import progress_words
from millrace.cli.session import Session
from millrace.ledger.plan import PlanStage
from millrace.ledger.rows import JobError, ProgressRow
from millrace.ledger.run_rows import Item

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cli.conftest import Done, Past, Site

    Call = Callable[..., Done]

STAGES = (
    PlanStage("lead", "leads.lead", "default", kind="fanout", inputs=("path",)),
    PlanStage(
        "points", "leads.points", "default", fanout="lead", needs=(("lead", True),), waits=("lead",), inputs=("rate",)
    ),
    PlanStage(
        "total",
        "leads.total",
        "default",
        kind="collect",
        needs=(("points", True),),
        waits=("points",),
        after_collect=True,
    ),
)
ERROR = JobError("ValueError", "too dear")
INPUTS = '{"path":"leads.csv","rate":2}'


def partial(past: Past, **given: str) -> tuple[str, str, str]:
    """Let a run come to three items: one good, one that dies, one bad; return the ids of the run and of both dead."""
    run_id = past.run(*STAGES, pipeline="leads", inputs=INPUTS, **given)
    (source,) = past.of_stage(run_id, "lead")
    bad = Item(None, {"name": "?"}, JobError("BadItem", "item.name: is no name"))
    past.moves.emit(source, [Item("10"), Item("20"), bad], position=3, chain="c", begun=0).wait()
    past.moves.succeed(source, '{"records":2,"bad":1}', duration_s=0.1).wait()
    good, dying = past.of_stage(run_id, "points")
    past.moves.succeed(good, "1", duration_s=0.1).wait()
    past.moves.give_up(dying, JobError("ValueError", "too dear"), duration_s=0.1, cause="gave up").wait()
    past.moves.succeed(past.of_stage(run_id, "total")[0], "1", duration_s=0.1).wait()
    dead = {job["stage"]: job["id"] for job in _dead(past, run_id)}
    return run_id, dead["points"], dead["lead"]


def _dead(past: Past, run_id: str) -> list[dict[str, str]]:
    from millrace.ledger.rows import JobFilter

    return [job.as_json() for job in past.ledger.reads.jobs(JobFilter(run=run_id, status="dead", limit=1000)).jobs]


def test_an_empty_list_says_what_to_do_next(site: Site, call: Call) -> None:
    """A newcomer's first look must not be an error, nor nothing; and a look makes no ledger."""
    done = call("runs", "list")
    assert (done.code, done.out) == (0, "")
    assert done.err == "No runs yet. Start one: millrace run PIPELINE (millrace pipelines list)\n"
    assert call("runs", "list", "--json").json == []
    assert "No runs like that" in call("runs", "list", "--status", "failed").err
    assert not site.state.exists()


def test_runs_are_listed_newest_first_with_what_died(call: Call, past: Past) -> None:
    """One line says whether somebody has to look."""
    first, _, _ = partial(past)
    second = past.run(client="acme")
    lines = call("runs", "list").out.splitlines()
    assert lines[0].split() == ["ID", "PIPELINE", "STATUS", "CREATED", "TOOK", "RECORDS", "DEAD", "CLIENT"]
    assert [line.split()[:3] for line in lines[1:]] == [[second, "parcels", "running"], [first, "leads", "partial"]]
    assert lines[2].split()[-3:] == ["2", "2", "default"]
    assert re.search(r"partial +now +\d+ms ", lines[2]), "a short run took some time"
    assert [run["id"] for run in call("runs", "list", "--json").json] == [second, first]


def test_filters_pick_and_pages_follow(call: Call, past: Past) -> None:
    """The filters of the contract; `--after` goes on where the last list ended."""
    ids = [past.run() for _ in range(3)]
    other = past.run(pipeline="other", client="acme")

    def listed(*words: str) -> list[str]:
        return [run["id"] for run in call("runs", "list", "--json", *words).json]

    assert listed("--pipeline", "other") == listed("--client", "acme") == [other]
    assert listed("--status", "failed") == listed("--since", "2099-01-01T00:00:00Z") == []
    assert len(listed("--status", "running", "--since", "1h")) == 4
    first = call("runs", "list", "--limit", "2", "--json")
    assert first.err == f"There are more: --after {ids[2]}\n"
    assert listed("--limit", "2", "--after", ids[2]) == ids[1::-1]


def test_a_run_is_shown_with_its_counts_and_what_died(call: Call, past: Past) -> None:
    """How far each stage came, and each dead job with its error; statuses that nothing has are left out."""
    run_id, dying, bad = partial(past, key="k-1")
    done = call("runs", "show", run_id[:30])
    assert done.code == 0
    rows = {line.split()[0]: line.split() for line in done.out.splitlines() if line.startswith("  ")}
    assert rows["STAGE"] == ["STAGE", "RUNS", "RECORDS", "SUCCEEDED", "DEAD"]
    assert rows["lead"] == ["lead", "once,", "fans", "out", "2", "1", "1"]
    assert rows["points"] == ["points", "per", "lead", "1", "1"]
    assert re.search(r"^  total +once, collects +1$", done.out, re.MULTILINE)
    assert rows["total"] == ["total", "1"], "what it came to"
    assert rows["inputs"][1] == INPUTS
    assert rows["key"][1] == "k-1"
    assert rows[dying][1:3] == ["points", "2"]
    assert rows[bad][1:3] == ["lead", "3"]
    assert "item.name: is no name" in done.out
    assert f"millrace runs resume {run_id}" in done.out


def test_a_run_as_json_is_the_contract_s_with_its_stages(call: Call, past: Past) -> None:
    """The shape that scripts hold on to."""
    run_id, dying, bad = partial(past)
    shown = call("runs", "show", run_id, "--json").json
    assert (shown["id"], shown["pipeline"], shown["status"], shown["edition"]) == (run_id, "leads", "partial", 1)
    assert shown["inputs"] == {"path": "leads.csv", "rate": 2}
    assert shown["counts"]["points"] == {"succeeded": 1, "dead": 1}
    assert shown["records"] == {"lead": 2}
    assert shown["stages"][1] == {"name": "points", "kind": "stage", "scope": "lead"}
    assert {one["id"] for one in shown["dead"]} == {dying, bad}
    assert shown["working"] == []


def test_an_open_run_without_a_daemon_says_so(call: Call, past: Past) -> None:
    """Else somebody waits for nothing."""
    run_id = past.run()
    assert "The daemon is not running" in call("runs", "show", run_id).err
    assert "Runs     1 open (millrace runs list --status running)" in call("status").out
    assert call("status", "--json").json["open_runs"] == 1
    call("runs", "cancel", run_id)
    assert "Runs " not in call("status").out


def test_what_waits_says_why(call: Call, past: Past) -> None:
    """A run that stands still is looked at to learn what it waits for."""
    run_id = past.run(STAGES[0])
    (held,) = past.of_stage(run_id, "lead")
    error, due_at = JobError("OSError", "no such day"), held.started_at + 600_000
    past.moves.retry(held, error, due_at=due_at, duration_s=0.1).wait()
    text = call("runs", "show", run_id).out
    assert f"{held.job_id}  lead  waits before the next attempt, in 9m: OSError: no such day" in text
    shown = call("runs", "show", run_id, "--json").json["waiting"]
    assert [(one["stage"], one["reason"], one["error"]["type"]) for one in shown] == [("lead", "backoff", "OSError")]


def test_progress_of_what_runs_is_shown(call: Call, past: Past) -> None:
    """A stage that takes an hour says how far it is."""
    run_id = past.run(STAGES[0])
    (held,) = past.of_stage(run_id, "lead")
    past.moves.progress(held, 30, 120).wait()
    text = call("runs", "show", run_id).out
    assert f"{held.job_id}  lead  25%: 30 of 120" in text
    assert call("runs", "show", run_id, "--json").json["working"][0]["progress"]["percent"] == 25
    assert "progress    25%: 30 of 120" in call("jobs", "show", held.job_id).out
    assert call("jobs", "show", held.job_id, "--json").json["progress"]["done"] == 30


@pytest.mark.parametrize(
    ("row", "now_ms", "words"),
    [
        (None, 0, ""),
        (ProgressRow(4200, 10_000, 0, 12_000), 12_000, "42%: 4,200 of 10,000, 350/s, 16s left"),
        (ProgressRow(4200, 10_000, 0, 12_000), 20_000, "42%: 4,200 of 10,000, 350/s, 8s left"),
        (ProgressRow(4200, 10_000, 0, 12_000), 90_000, "42%: 4,200 of 10,000, 350/s, 0s left"),
        (ProgressRow(3, 9, 0, 2000), 2000, "33%: 3 of 9, 1.5/s, 4s left"),
        (ProgressRow(5, None, 0, 10_000), 10_000, "5 done, 0.5/s"),
        (ProgressRow(0, 10, 0, 0), 0, "0%: 0 of 10"),
        (ProgressRow(0, 0, 0, 5), 5, "0 done"),
    ],
)
def test_progress_in_words(row: ProgressRow | None, now_ms: int, words: str) -> None:
    """Percent, rate and time left, so far as they are known; the time since the last word counts."""
    assert progress_words(row, now_ms) == words


def test_a_job_of_a_stage_shows_the_arguments_that_it_gets(call: Call, past: Past) -> None:
    """Its own payload is empty: a value is stored once, with the job that made it. A bad item is its own."""
    run_id, dying, bad = partial(past)
    assert call("jobs", "show", dying, "--json").json["payload"] == {"lead": 20, "rate": 2}
    text = call("dead", "show", dying).out
    assert 'arguments   {"rate":2,"lead":20}' in text
    assert f"run         {run_id}, points, record 2" in text
    assert call("dead", "show", bad, "--json").json["payload"] == {"item": {"name": "?"}}
    assert "the item that came for it does not fit" in call("dead", "show", bad).out
    source = call("jobs", "list", "--run", run_id, "--task", "leads.lead", "--status", "succeeded", "--json").json[0]
    assert call("jobs", "show", source["id"], "--json").json["payload"] == {"path": "leads.csv"}


def test_lists_of_jobs_name_record_and_run(call: Call, past: Past) -> None:
    """Ten thousand jobs of one task are told apart; other lists have no empty columns for it."""
    run_id, dying, _ = partial(past)
    line = next(line for line in call("dead", "list").out.splitlines() if dying in line)
    assert line.split()[1:3] == ["leads.points", "#2"]
    assert line.endswith(run_id)
    assert "leads.points #1" in call("jobs", "list").out
    past.dead()
    assert call("dead", "list", "--task", "add").out.splitlines()[0].split() == ["ID", "TASK", "DIED", "ERROR"]


def test_what_died_is_put_back_and_the_collect_is_made_again(call: Call, past: Past) -> None:
    """Only what died; what was collected before is collected anew, as a second edition."""
    run_id, dying, bad = partial(past)
    done = call("runs", "resume", run_id)
    assert (done.code, done.out) == (0, f"{run_id}  running  2 jobs put back\n")
    assert {past.ledger.reads.job(job_id).status for job_id in (dying, bad)} == {"queued"}
    for held in past.moves.claim("default", 10).wait():
        past.moves.succeed(held, "2", duration_s=0.1).wait()
    for stage in ("points", "total"):
        for held in past.of_stage(run_id, stage):
            past.moves.succeed(held, "3", duration_s=0.1).wait()
    assert past.ledger.reads.run(run_id).status == "succeeded"
    text = call("runs", "show", run_id).out
    assert "edition     2" in text
    assert "leads.total @2" in call("jobs", "list", "--run", run_id).out


def test_what_is_put_back_by_one_command_is_collected_once(site: Site, past: Past) -> None:
    """It goes in parts; what the first of them put back is through, collect and all, before the second comes."""
    run_id = past.run(*STAGES, pipeline="leads", inputs=INPUTS)
    (source,) = past.of_stage(run_id, "lead")
    past.moves.emit(source, [Item("1")] * 520, position=520, chain="c", begun=0).wait()
    past.moves.succeed(source, '{"records":520}', duration_s=0.1).wait()
    dying = [*past.of_stage(run_id, "points"), *past.of_stage(run_id, "points")]
    for ticket in [past.moves.give_up(held, ERROR, duration_s=0.1, cause="gave up") for held in dying]:
        ticket.wait()
    assert work_off(past) == 1, "the first collect"
    dead = [job["id"] for job in _dead(past, run_id)]
    worked = []

    def ids() -> Iterator[str]:
        for number, job_id in enumerate(dead):
            if number == 500:
                worked.append(work_off(past))
            yield job_id

    acts = Retries(Session(site.config))
    acts.on_ids(ids())
    assert (len(acts.moved), acts.code, worked) == (520, 0, [500])
    assert work_off(past) == 21
    run = past.ledger.reads.run(run_id)
    assert (run.status, run.edition, past.ledger.reads.runs_to_resume()) == ("succeeded", 2, {})


def work_off(past: Past) -> int:
    """Let all succeed that is there and that comes; return how many jobs that were."""
    done = 0
    while claims := past.moves.claim("default", 500).wait():
        for ticket in [past.moves.succeed(held, "1", duration_s=0.1) for held in claims]:
            ticket.wait()
        done += len(claims)
    return done


def test_nothing_to_put_back_is_exit_5(call: Call, past: Past) -> None:
    """Neither in a run that goes on, nor in one whose dead letters were discarded."""
    run_id, dying, bad = partial(past)
    call("dead", "discard", dying, bad, "--yes")
    done = call("runs", "resume", run_id)
    assert (done.code, done.out) == (5, "")
    assert f"run {run_id} is partial: " in done.err
    assert call("runs", "resume", past.run()).code == 5
    assert resumes(past) == []


def resumes(past: Past) -> list[str]:
    """Return the runs of which the audit log says that somebody resumed them."""
    return [row.subject for row in past.ledger.reads.audit() if row.action == "run.resume"]


def test_a_run_is_cancelled_and_taken_up_again(call: Call, past: Past) -> None:
    """What has not started is cancelled at once; one that is over is refused."""
    run_id = past.run()
    assert call("runs", "cancel", run_id).out == f"{run_id}  cancelled\n"
    done = call("runs", "cancel", run_id)
    assert done.code == 5
    assert f"run {run_id} is cancelled" in done.err
    assert call("runs", "resume", run_id, "--json").json == [{"id": run_id, "status": "running", "put_back": 1}]


def test_a_run_that_works_is_asked_to_end(call: Call, past: Past) -> None:
    """The daemon stops its jobs; until then it is open, and says that it is to be cancelled."""
    run_id = past.run(STAGES[0])
    assert past.of_stage(run_id, "lead")
    assert call("runs", "cancel", run_id, "--json").json == [{"id": run_id, "status": "running"}]
    assert "running: to be cancelled" in call("runs", "list").out
    assert "running: to be cancelled" in call("runs", "show", run_id).out


def test_a_large_run_is_cancelled_to_the_last_job(call: Call, past: Past) -> None:
    """In small transactions, but all of it before the command ends: no daemon need run."""
    run_id = past.run(*STAGES, pipeline="leads", inputs=INPUTS)
    (source,) = past.of_stage(run_id, "lead")
    for begun in range(0, 1200, 200):
        items = [Item(str(number)) for number in range(200)]
        past.moves.emit(source, items, position=begun + 200, chain="c", begun=begun).wait()
    past.moves.succeed(source, '{"records":1200,"bad":0}', duration_s=0.1).wait()
    assert call("runs", "cancel", run_id).out == f"{run_id}  cancelled\n"
    assert call("runs", "show", run_id, "--json").json["counts"]["points"] == {"cancelled": 1200}
    assert call("runs", "resume", run_id).out == f"{run_id}  running  1,200 jobs put back\n"
    assert resumes(past) == [run_id]


def test_a_run_that_is_not_there_is_exit_4(call: Call, past: Past) -> None:
    """For each command that takes an id; a start of two ids names both."""
    ids = [past.run(), past.run()]
    for command in ("show", "cancel", "resume"):
        done = call("runs", command, "ffffffff")
        assert (done.code, done.out, done.err) == (4, "", 'millrace: no run "ffffffff"\n'), command
        several = call("runs", command, ids[0][:8])
        assert several.code == 4
        assert all(run_id in several.err for run_id in ids)
    assert call("runs", "list", "--after", "ffffffff").code == 4


def test_several_at_once_want_a_yes_and_one_refusal_stops_none(call: Call, past: Past) -> None:
    """Where nobody can be asked, nothing happens."""
    first, second = past.run(), past.run()
    done = call("runs", "cancel", first, second)
    assert done.code == 1
    assert "Cancel 2 runs? There is nobody to ask here: add --yes" in done.err
    done = call("runs", "cancel", first, "ffffffff", second, "--yes", "--json")
    assert done.code == 4
    assert [run["status"] for run in done.json] == ["cancelled", "cancelled"]
