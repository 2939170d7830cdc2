from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from millrace.clock import SYSTEM
from millrace.ledger.wake import Listener

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Done, Past, Site

    Call = Callable[..., Done]

JOB_FIELDS = (
    "id task queue client status reason priority attempt max_attempts payload result error key run_id stage record "
    "source failures crashes correlation_id created_at queued_at due_at started_at finished_at duration_s"
)


def test_words_become_a_typed_payload(site: Site, call: Call) -> None:
    """People type text; the function wants a number. And the daemon need not run."""
    done = call("submit", "add", "left=41")
    assert (done.code, done.err) == (0, "")
    with site.open() as ledger:
        job = ledger.reads.job(done.out.strip())
    assert (job.task, job.payload, job.status) == ("add", '{"left":41}', "queued")
    assert (job.queue, job.client, job.max_attempts, job.source.kind) == ("default", "default", 4, "cli")


def test_all_options_reach_the_job(call: Call) -> None:
    """An option that is taken and dropped would be a lie."""
    options = "--client acme --queue default --priority 7 --key k-1 --at 2099-01-01T00:00:00Z --json"
    done = call("submit", "greet", "name=Ann", *options.split())
    job = done.json
    assert set(job) == set(JOB_FIELDS.split())
    told = {
        name: job[name]
        for name in ("task", "client", "queue", "priority", "key", "due_at", "status", "reason", "payload")
    }
    assert told == {
        "task": "greet", "client": "acme", "queue": "default", "priority": 7, "key": "k-1", "payload": {"name": "Ann"},
        "due_at": "2099-01-01T00:00:00.000Z", "status": "waiting", "reason": "due",
    }  # fmt: skip


def test_in_means_from_now(call: Call) -> None:
    """--in 5m is due in five minutes."""
    before = SYSTEM.now_ms()
    job_id = call("submit", "greet", "name=Ann", "--in", "5m").out.strip()
    shown = call("jobs", "show", job_id, "--json").json
    from millrace.clock import parse_time

    assert before + 300_000 <= parse_time(shown["due_at"]) <= SYSTEM.now_ms() + 300_000


def test_a_time_without_an_offset_is_one_of_the_sites_zone(site: Site, call: Call) -> None:
    """Six o'clock of those who type it; what it was taken for is said."""
    site.config.write_text(site.config.read_text().replace("[site]", '[site]\ntimezone = "Europe/Vienna"'))
    due = {}
    for at in ("2099-12-01 06:00", "2099-12-01T06:00Z", "2099-07-01T06:00"):
        done = call("submit", "add", "left=1", "--at", at)
        due[at] = call("jobs", "show", done.out.strip(), "--json").json["due_at"]
        assert done.err.startswith("due Tue 2099-12-01" if "12-01" in at else "due Wed 2099-07-01 06:00 +02:00 (in ")
    assert due == {
        "2099-12-01 06:00": "2099-12-01T05:00:00.000Z",
        "2099-12-01T06:00Z": "2099-12-01T06:00:00.000Z",
        "2099-07-01T06:00": "2099-07-01T04:00:00.000Z",
    }
    past = call("submit", "add", "left=1", "--at", "2020-12-01T06:00")
    assert (past.code, "that time has passed: it is due now" in past.err) == (0, True)
    (site.root / "lines").write_text('{"left":1}\n')
    assert "(in 4m)" in call("submit", "add", "--lines", str(site.root / "lines"), "--in", "4m30s").err
    assert "does not exist on 2099-03-29" in call("submit", "add", "left=1", "--at", "2099-03-29T02:30").err


@pytest.mark.parametrize("how", ["text", "file", "stdin"])
def test_a_payload_is_taken_as_json(site: Site, how: str) -> None:
    """Programs have JSON, in a variable, a file or a pipe."""
    text = '{"left": 2, "right": 3}'
    (site.root / "payload.json").write_text(text)
    told = {"text": text, "file": "@payload.json", "stdin": "-"}[how]
    done = site.process("submit", "add", "--payload", told, "--json", stdin=text.encode())
    assert (done.code, done.json["payload"]) == (0, {"left": 2, "right": 3})
    assert done.json["source"] == {"kind": "cli", "name": "tess"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("ad left=1", 4, 'there is no task "ad". Did you mean "add"?'),
        ("add left=1 --queue ioo", 4, 'no queue "ioo" in config.toml. Did you mean "io"?'),
        ("add left=1 --client acne", 4, 'no client "acne" in config.toml. Did you mean "acme"?'),
        ("add left=one", 2, "payload.left: "),
        ("add", 2, "payload.left: "),
        ("add left=1 rigth=2", 2, 'payload.rigth: is no field of task add (Did you mean "right"?)'),
        ("add left=1 left=2", 2, "payload.left: is given twice"),
        ("add left", 2, '"left" is not NAME=VALUE'),
        ("add left=1 --priority 99999999", 2, "priority: must lie between"),
        ("add left=1 --key=", 2, "key: must have 1 to 255 characters"),
        ("add left=1 --in soon", 2, '"soon" is not a duration'),
        ("add left=1 --at noon", 2, '"noon" is not a time'),
        ("add left=1 --in 5m --at 2099-01-01", 2, "either --in or --at"),
        ("add left=1 --payload {}", 2, "either NAME=VALUE words or --payload"),
        ("add left=1 --timeout 5s", 2, "--timeout goes with --wait"),
        ("add left=1 --key-from left", 2, "--key-from goes with --lines"),
        ("add left=1 --lines x", 2, "words are for one job"),
        ("add --wait --lines x", 2, "--wait is for one job"),
        ("add --lines nowhere", 2, "nowhere: No such file or directory"),
        ("add --payload @nowhere", 2, "nowhere: No such file or directory"),
        ("", 2, "name a TASK"),
    ],
)
def test_bad_input_is_named_and_nothing_is_queued(site: Site, call: Call, words: str, code: int, said: str) -> None:
    """Place, reason and suggestion on one line, the exit code of the contract, and no job."""
    done = call("submit", *words.split())
    assert (done.code, done.out) == (code, "")
    assert said in done.err
    assert done.err.startswith("millrace: ")
    assert done.err.count("\n") == 1
    assert call("jobs", "list", "--json").json == []


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ('{"left": "5"}', "payload.left: "),
        ('{"left": NaN}', "payload.left: is no finite number"),
        ('{"left": 1, "left": 2}', "payload.left: stands twice in one object"),
        ('{"left": 1, "right": "\\ud800"}', "payload.right: holds half of a surrogate pair"),
        ("[1]", "payload: must be a JSON object, not a list"),
        ("{", "payload: is not JSON"),
        ("", "payload: is empty"),
        ('{"left": ' + "[" * 40 + "]" * 40 + "}", "payload: is nested deeper than 32 levels"),
        (f'{{"left": 1{"0" * 5000}}}', "more digits than can be read"),
        (f'{{"left": "{"x" * 1_100_000}"}}', "payload: more than 1,000,000 bytes"),
    ],
)
def test_a_payload_that_is_no_good_json_is_refused(site: Site, payload: str, said: str) -> None:
    """The words come from the check that the API uses too."""
    done = site.process("submit", "add", "--payload", "-", stdin=payload.encode())
    assert done.code == 2
    assert said in done.err
    assert "Traceback" not in done.err


def test_bytes_that_are_no_utf_8_are_refused(site: Site) -> None:
    """A file in another encoding is told from one with a wrong field."""
    done = site.process("submit", "greet", "--payload", "-", stdin=b'{"name": "J\xf6rg"}')
    assert (done.code, done.err) == (2, "millrace: payload: is not UTF-8: byte 11 is 0xf6 (save it as UTF-8)\n")


def test_a_known_key_is_the_same_job_and_another_payload_a_conflict(call: Call) -> None:
    """A script that runs twice submits once."""
    first = call("submit", "add", "left=1", "--key", "k")
    again = call("submit", "add", "left=1", "--key", "k")
    other = call("submit", "add", "left=2", "--key", "k")
    assert (again.code, again.out) == (0, first.out)
    assert "nothing was added" in again.err
    assert other.code == 5
    assert first.out.strip() in other.err
    assert len(call("jobs", "list", "--json").json) == 1


def test_a_broken_job_file_stops_only_its_own_tasks(site: Site, call: Call) -> None:
    """The message for a task that is missing names the file that did not load."""
    (site.root / "cli_jobs" / "broken.py").write_text("def task(:\n")
    assert call("submit", "add", "left=1").code == 0
    done = call("submit", "lost")
    assert done.code == 4
    assert "cli_jobs/broken.py:1: SyntaxError" in done.err


def test_a_wrong_setting_is_exit_78_with_every_problem(site: Site, call: Call) -> None:
    """Two mistakes are told in one go, each on its line."""
    site.config.write_text('[queues.io]\nworker = 2\n[web]\nlisten = "nowhere"\n')
    done = call("submit", "add", "left=1")
    assert done.code == 78
    assert [line.startswith("millrace: ") for line in done.err.splitlines()] == [True, True]
    assert "queues.io.worker: unknown key" in done.err


def test_a_daemon_hears_of_it_at_once(site: Site, call: Call) -> None:
    """A poke, so that a submitted job starts within milliseconds."""
    site.state.mkdir()
    listener = Listener(site.state)
    try:
        call("submit", "add", "left=1")
        assert listener.wait(5.0)
    finally:
        listener.close()


def test_waiting_prints_the_result(site: Site, call: Call, past: Past) -> None:
    """The job is over already in this test: its key is known."""
    past.succeeded(result='{"sum":2}', key="k")
    done = call("submit", "add", "left=1", "--key", "k", "--wait")
    assert (done.code, json.loads(done.out)) == (0, {"sum": 2})
    assert call("submit", "add", "left=1", "--key", "k", "--wait", "--json").json["status"] == "succeeded"


def test_waiting_for_a_job_that_died_is_exit_1(call: Call, past: Past) -> None:
    """A script goes on only after a success."""
    job_id = past.dead(key="k")
    done = call("submit", "add", "left=1", "--key", "k", "--wait")
    assert (done.code, done.out) == (1, "")
    assert f"job {job_id} is dead: ValueError: no luck" in done.err


def test_a_wait_ends_when_its_time_is_up(call: Call, past: Past) -> None:
    """The job goes on; the script may come back."""
    done = call("submit", "add", "left=1", "--wait", "--timeout", "100ms")
    assert done.code == 75
    assert "is still queued" in done.err
    assert "The daemon is not running" in done.err
    assert done.out == ""


def test_a_wait_that_ends_too_soon_has_its_json_all_the_same(call: Call) -> None:
    """A script needs the id to wait on."""
    done = call("submit", "add", "left=1", "--wait", "--timeout", "100ms", "--json")
    assert (done.code, done.json["status"]) == (75, "queued")
    assert f"millrace jobs wait {done.json['id']}" in done.err
