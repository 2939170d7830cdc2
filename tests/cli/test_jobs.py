from __future__ import annotations

import re
import signal
import sys
from typing import TYPE_CHECKING

import apsw
import pytest

from millrace.ledger.rows import JobError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Done, Past, Site

    Call = Callable[..., Done]


def test_an_empty_list_says_what_to_do_next(site: Site, call: Call) -> None:
    """A newcomer's first look must not be an error, nor nothing; and a look makes no ledger."""
    done = call("jobs", "list")
    assert (done.code, done.out) == (0, "")
    assert done.err == "No jobs yet. Submit one: millrace submit TASK (millrace tasks list)\n"
    assert call("jobs", "list", "--json").json == []
    assert "No jobs like that" in call("jobs", "list", "--status", "dead").err
    assert not site.state.exists()


def test_the_list_shows_the_newest_first_with_whole_ids(call: Call, past: Past) -> None:
    """Ids of one moment look alike at their start: only a whole one can be copied safely."""
    ids = [past.succeeded(), past.dead(), past.job()]
    done = call("jobs", "list")
    lines = done.out.splitlines()
    titles = ["ID", "TASK", "STATUS", "CREATED", "QUEUE", "TOOK", "FAILURES", "CLIENT"]
    assert lines[0].split() == [*titles, "ERROR"]
    assert [line.endswith("ValueError: no luck") for line in lines[1:]] == [False, True, False]
    assert call("jobs", "list", "--status", "queued").out.splitlines()[0].split() == titles
    assert [line.split()[0] for line in lines[1:]] == ids[::-1]
    assert [line.split()[2] for line in lines[1:]] == ["queued", "dead", "succeeded"]


def test_filters_pick(call: Call, past: Past) -> None:
    """Each filter of the contract, and all at once."""
    run = past.run()
    wanted = past.dead(task="greet", queue="io", client="acme", run_id=run, stage="only", record="1")
    past.dead(task="add", queue="io", client="acme")
    past.dead(task="greet", queue="default", client="acme")
    past.dead(task="greet", queue="io")
    past.job(task="greet", queue="io", client="acme")
    words = [
        "--task",
        "greet",
        "--queue",
        "io",
        "--client",
        "acme",
        "--status",
        "dead",
        "--run",
        run[:30],
        "--since",
        "1h",
    ]
    assert [job["id"] for job in call("jobs", "list", "--json", *words).json] == [wanted]
    assert call("jobs", "list", "--json", "--since", "2099-01-01T00:00:00Z").json == []
    done = call("jobs", "list", "--run", "ffff")
    assert (done.code, done.err) == (4, 'millrace: no run "ffff"\n')


def test_pages_follow_one_another(call: Call, past: Past) -> None:
    """`--after` goes on where the last list ended; stderr says how, so that stdout stays one document."""
    ids = [past.job() for _ in range(5)]
    first = call("jobs", "list", "--limit", "3", "--json")
    assert first.err == f"There are more: --after {ids[2]}\n"
    second = call("jobs", "list", "--limit", "3", "--json", "--after", ids[2])
    assert second.err == ""
    assert [job["id"] for job in [*first.json, *second.json]] == ids[::-1]


def test_show_tells_the_whole_history(call: Call, past: Past) -> None:
    """What happened, in order, with the reason of each turn and the last traceback."""
    job_id = past.dead(message="the disk was away", key="k-1", client="acme")
    call("jobs", "retry", job_id)
    done = call("jobs", "show", job_id)
    assert done.code == 0
    for said in (job_id, "add", "queued", "acme", "k-1", '{"left":1}', "Traceback (most recent call last):"):
        assert said in done.out
    history = [line.split("  ")[-1] for line in done.out.partition("History\n")[2].partition("\n\n")[0].splitlines()]
    assert history[0] == "accepted"
    assert history[1] == "attempt 1 started"
    assert history[2].endswith("failed after 500ms, for good (no attempts are left): ValueError: the disk was away")
    assert "put back on its queue by cli:" in history[3]
    assert history[4].startswith("queued")


def test_show_as_json_has_attempts_and_events(call: Call, past: Past) -> None:
    """The shape that scripts hold on to."""
    job_id = past.dead()
    call("jobs", "retry", job_id)
    shown = call("jobs", "show", job_id, "--json").json
    assert [attempt["outcome"] for attempt in shown["attempts"]] == ["gave_up"]
    assert [event["event"] for event in shown["events"]] == ["requeue"]
    assert shown["error"]["type"] == "ValueError"
    assert shown["created_at"].endswith("Z")


def test_an_id_may_be_shortened_while_it_is_unique(call: Call, past: Past) -> None:
    """People copy the start of an id, and must not hit another job."""
    first, second = past.job(), past.job()
    common = next(place for place in range(36) if first[place] != second[place])
    assert call("jobs", "show", first[: common + 1]).code == 0
    done = call("jobs", "show", first[:8])
    assert done.code == 4
    assert first in done.err
    assert second in done.err


def test_a_job_that_is_not_there_is_exit_4(call: Call, past: Past) -> None:
    """For each command that takes an id."""
    past.job()
    for command in ("show", "retry", "cancel", "wait"):
        done = call("jobs", command, "ffffffff")
        assert (done.code, done.out) == (4, ""), command
        assert done.err == 'millrace: no job "ffffffff"\n'
    assert call("jobs", "show", "x!").code == 4
    assert call("jobs", "list", "--after", "ffffffff").code == 4


def test_a_dead_job_is_put_back_and_a_queued_one_is_refused(call: Call, past: Past) -> None:
    """The table of moves decides."""
    dead, queued = past.dead(), past.job()
    assert call("jobs", "retry", dead).out == f"{dead}  queued\n"
    done = call("jobs", "retry", queued)
    assert done.code == 5
    assert f"job {queued} is queued; retry needs one that is cancelled or dead" in done.err
    over = past.succeeded()
    done = call("jobs", "cancel", over)
    assert done.code == 5
    assert f"job {over} is succeeded; cancel needs one that is queued or running or waiting" in done.err


def test_one_refusal_does_not_stop_the_others(call: Call, past: Past) -> None:
    """The exit code tells of the refusal, stdout of what was done."""
    first, second, third = past.dead(), past.job(), past.dead()
    done = call("jobs", "retry", first, second, "ffffffff", third, "--yes", "--json")
    assert done.code == 4
    assert done.json == [{"id": first, "status": "queued"}, {"id": third, "status": "queued"}]
    assert len(done.err.splitlines()) == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("jobs list --task gret", 'there is no task "gret". Did you mean "greet"?'),
        ("jobs list --task parcels.prise", 'there is no task "parcels.prise". Did you mean "parcels.price"?'),
        ("jobs list --queue nosuch --client acne", 'there is no client "acne". Did you mean "acme"?'),
        ("jobs list --queue nosuch", 'there is no queue "nosuch". Known: default, io.'),
        ("dead list --task gret", 'there is no task "gret"'),
        ("dead retry --all --task gret --yes", 'there is no task "gret"'),
        ("runs list --pipeline parcel", 'there is no pipeline "parcel". Did you mean "parcels"?'),
    ],
)
def test_a_name_that_nothing_has_is_told(call: Call, parcels: Site, past: Past, words: str, said: str) -> None:
    """An empty list would be read as an all-clear."""
    past.job()
    done = call(*words.split())
    assert (done.code, done.out) == (0, "")
    assert said in done.err


@pytest.mark.parametrize(
    "words",
    [
        "jobs list --task greet",
        "jobs list --task gone --status dead",
        "jobs list --task parcels.price",
        "jobs list --queue old --status dead",
        "runs list --pipeline bygone --status failed",
        "runs list --pipeline parcels",
    ],
)
def test_a_name_that_is_known_or_was_once_is_not_told(call: Call, parcels: Site, past: Past, words: str) -> None:
    """Tasks are renamed; their history keeps its names."""
    past.job(task="gone", queue="old")
    past.run(pipeline="bygone")
    done = call(*words.split())
    assert done.code == 0
    assert "there is no" not in done.err
    assert "like that" in done.err


def test_several_at_once_want_a_yes(call: Call, past: Past) -> None:
    """Where nobody can be asked, nothing happens."""
    ids = [past.job(), past.job()]
    done = call("jobs", "cancel", *ids)
    assert done.code == 1
    assert "Cancel 2 jobs? There is nobody to ask here: add --yes" in done.err
    assert {past.ledger.reads.job(job_id).status for job_id in ids} == {"queued"}
    assert call("jobs", "cancel", *ids, "--yes").code == 0
    assert {past.ledger.reads.job(job_id).status for job_id in ids} == {"cancelled"}


def test_a_running_job_is_asked_to_end(call: Call, past: Past) -> None:
    """The daemon stops it; until then it runs, and the list says that it is to be cancelled."""
    held = past.claimed()
    assert call("jobs", "cancel", held.job_id).out == f"{held.job_id}  running\n"
    assert past.ledger.reads.job(held.job_id).cancel_requested
    assert "running: to be cancelled" in call("jobs", "list").out


def test_waiting_prints_results_in_the_order_of_the_ids(call: Call, past: Past) -> None:
    """One line of JSON each; what did not succeed is told on stderr."""
    good, better, bad = past.succeeded("1"), past.succeeded('{"a":"ä"}'), past.dead()
    assert (call("jobs", "wait", better, good).out, call("jobs", "wait", good).code) == ('{"a":"ä"}\n1\n', 0)
    done = call("jobs", "wait", good, bad)
    assert (done.code, done.out) == (1, "1\n")
    assert f"job {bad} is dead: ValueError: no luck" in done.err
    assert [job["status"] for job in call("jobs", "wait", bad, good, "--json").json] == ["dead", "succeeded"]


def test_a_run_is_waited_for_by_its_id(call: Call, past: Past) -> None:
    """After a Ctrl-C, or a time-out, there was no way to wait for it again."""
    run_id, job_id = past.run(), past.succeeded("1")
    still = call("jobs", "wait", run_id, "--timeout", "50ms")
    assert (still.code, f"the run goes on (millrace jobs wait {run_id})" in still.err) == (75, True)
    (held,) = past.moves.claim("idle", 1).wait()
    past.moves.succeed(held, "7", duration_s=0.1).wait()
    done = call("jobs", "wait", job_id, run_id)
    assert done.code == 0
    assert done.out.startswith("1\n")
    assert "only" in done.out
    assert [one["id"] for one in call("jobs", "wait", run_id, job_id, "--json").json] == [run_id, job_id]
    lost = past.run()
    (held,) = past.moves.claim("idle", 1).wait()
    past.moves.give_up(held, JobError("OSError", "no luck"), duration_s=0.1, cause="gave up").wait()
    failed = call("jobs", "wait", job_id, lost)
    assert (failed.code, f"run {lost} is failed" in failed.err) == (1, True)


def test_an_id_of_the_other_kind_is_named_as_that(call: Call, past: Past) -> None:
    """Both look alike, and the log has both."""
    job_id, run_id = past.job(), past.run()
    for words in (("jobs", "show", run_id), ("jobs", "cancel", run_id), ("jobs", "list", "--after", run_id)):
        done = call(*words)
        assert done.code == 4, words
        assert f'no job "{run_id}": this is a run (millrace runs show {run_id})' in done.err
    for words in (("runs", "show", job_id), ("runs", "cancel", job_id), ("jobs", "list", "--run", job_id)):
        done = call(*words)
        assert done.code == 4, words
        assert f'no run "{job_id}": this is a job (millrace jobs show {job_id})' in done.err


def test_a_daemon_that_ends_under_a_wait_is_told_once(site: Site, past: Past) -> None:
    """The wait would look like one for a slow job."""
    import subprocess

    job_id = past.job()
    hold = (
        "import sys; from pathlib import Path; from millrace.process.lock import take_lock;"
        "take_lock(Path(sys.argv[1])); print(flush=True); sys.stdin.read()"
    )
    daemon = subprocess.Popen(
        [sys.executable, "-c", hold, str(site.ledger)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert daemon.stdout is not None
    daemon.stdout.readline()
    words = site.interruptible("submit", "add", "left=1", "--wait", "--timeout", "30s")
    waiting = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert waiting.stderr is not None
    assert waiting.stderr.readline().startswith("Job ")
    daemon.communicate(timeout=20)
    assert waiting.stderr.readline().startswith("The daemon is not running")
    waiting.send_signal(signal.SIGINT)
    _, err = waiting.communicate(timeout=20)
    assert waiting.returncode == 130
    assert "The daemon" not in err
    assert job_id not in err
    assert re.search(r"The job goes on: millrace jobs wait (\S+); to stop it: millrace jobs cancel \1\n", err)


def test_a_wait_names_what_only_somebody_can_end(call: Call, past: Past) -> None:
    """A new job file that the daemon has not read yet: the wait looked like a hang, and said nothing."""
    held, later = past.claimed(), past.claimed()
    past.moves.park(held, "unknown_task", due_at=None, duration_s=0.1).wait()
    past.moves.park(later, "backoff", due_at=2**42, duration_s=0.1).wait()
    done = call("jobs", "wait", held.job_id, later.job_id, "--timeout", "0.2s")
    assert done.code == 75
    words = f"Job {held.job_id} waits until the daemon knows its task: it reads job files when it starts"
    assert done.err.count(words) == 1
    assert f"(millrace explain {held.job_id})" in done.err
    assert f"Job {later.job_id} waits" not in done.err


def test_a_wait_names_a_queue_that_is_paused(call: Call, past: Past) -> None:
    """A job in it is queued like any other, and never starts; so it is with a run."""
    job_id, run_id = past.job(), past.run()
    for queue in ("default", "idle"):
        past.moves.pause(queue, actor="ann").wait()
    done = call("jobs", "wait", job_id, "--timeout", "0.2s")
    assert done.code == 75
    words = "Queue default is paused, and what waits in it does not start (millrace queues resume default)."
    assert done.err.count(words) == 1
    assert "idle" not in done.err
    done = call("jobs", "wait", run_id, job_id, "--timeout", "0.1s", "--json")
    assert [(one["id"], one["status"]) for one in done.json] == [(run_id, "running"), (job_id, "queued")]
    assert done.code == 75
    assert past.ledger.reads.run(run_id).counts == {"only": {"queued": 1}}


def test_a_wait_ends_when_the_last_job_is_over(site: Site, past: Past) -> None:
    """It hears of the commit of another process."""
    import subprocess

    first, second = past.claimed(), past.claimed()
    waiting = subprocess.Popen(
        site.argv("jobs", "wait", first.job_id, second.job_id),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert waiting.stderr is not None
    assert "The daemon is not running" in waiting.stderr.readline()
    past.moves.succeed(first, "1", duration_s=0.1).wait()
    assert waiting.poll() is None
    past.moves.succeed(second, "2", duration_s=0.1).wait()
    out, _ = waiting.communicate(timeout=20)
    assert (waiting.returncode, out) == (0, "1\n2\n")


def test_a_job_whose_run_is_gone_is_shown_all_the_same(call: Call, past: Past, site: Site) -> None:
    """What is left of it is what somebody looks for who looks for what was lost."""
    run_id = past.run()
    (held,) = past.moves.claim("idle", 1).wait()
    past.moves.give_up(held, JobError("ValueError", "no luck"), duration_s=0.5, cause="out of retries").wait()
    connection = apsw.Connection(str(site.ledger))
    connection.execute("DELETE FROM run WHERE id = ?", (run_id,))
    connection.close()
    for room in ("jobs", "dead"):
        done = call(room, "show", held.job_id)
        assert (done.code, done.err) == (0, "")
        assert f"its run {run_id} is missing" in done.out
        assert "ValueError: no luck" in done.out
    assert "is missing" in call("jobs", "show", held.job_id, "--json").json["payload"]["$damaged"]
    assert call("explain", held.job_id).code == 0
