"""`millrace explain`."""

from __future__ import annotations

import json
import os
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Final, cast

import pytest
from click.testing import CliRunner

from millrace.cli.explain import explain
from millrace.cli.session import Session
from millrace.ledger.wake import Listener
from millrace.process.lock import take_lock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from millrace.clock import Clock
    from tests.cli.conftest import Done, Past, Site

NOON: Final = 1_700_000_000_000
DECIDED: Final = """
INSERT INTO fire (key, due_at, how, schedule, client, outcome, why, since, count, state, decided_at)
VALUES ('tick', ?, 'clock', 'tick', 'default', 'skipped', '', ?, 1, 'none', ?)"""


def test_a_dead_job_is_explained_with_the_command_that_helps(call: Callable[..., Done], past: Past) -> None:
    """Somebody reads it at seven in the morning."""
    job_id = past.dead()

    done = call("explain", job_id[:30])

    assert done.code == 0
    head, _, accepted, dead, _, title, *cures = done.out.splitlines()
    assert head == f"Job {job_id}  add  dead"
    assert accepted[2:22].endswith("Z")
    assert accepted[24:] == "It was accepted from api."
    assert "It is dead. Attempt 1 failed after 500ms: ValueError: no luck." in dead
    assert title == "What would change it:"
    assert f"      millrace dead retry {job_id}" in cures


def test_json_has_codes_and_facts(call: Callable[..., Done], past: Past) -> None:
    """A script must not parse sentences."""
    job_id = past.dead()

    found = call("explain", job_id, "--json").json

    assert (found["kind"], found["id"], found["name"], found["status"]) == ("job", job_id, "add", "dead")
    assert found["code"] == "dead.out_of_retries"
    assert [one["code"] for one in found["because"]] == ["accepted", "dead.out_of_retries"]
    assert found["because"][-1]["at"].endswith("Z")
    assert found["change"][1]["command"] == f"millrace dead retry {job_id}"
    assert found["facts"]["attempts"][0]["facts"]["cause"] == "out of retries"
    assert found["facts"]["daemon_running"] is False


def test_a_queue_is_explained_by_its_name(call: Callable[..., Done], past: Past) -> None:
    """Names come before ids: "default" is no hex anyway, "cafe" could be."""
    past.job()
    call("queues", "pause", "default")

    done = call("explain", "default")

    assert done.out.startswith("Queue default  paused\n")
    assert "It was paused by " in done.out
    assert "millrace queues resume default" in done.out
    assert "millrace serve" in done.out
    assert call("explain", "io", "--json").json["code"] == "no_daemon"


def test_a_run_is_explained_by_its_id(call: Callable[..., Done], past: Past) -> None:
    """Its jobs have other ids."""
    run_id = past.run()

    found = call("explain", run_id, "--json").json

    assert (found["kind"], found["status"], found["code"]) == ("run", "running", "no_daemon")
    assert "run.stage_queued" in [one["code"] for one in found["because"]]


@pytest.mark.parametrize("what", ["nothing", "0123", "defualt"])
def test_what_is_not_there_is_not_found(call: Callable[..., Done], past: Past, what: str) -> None:
    """Exit code 4, with the name that was meant."""
    past.job()

    done = call("explain", what)

    assert done.code == 4
    assert f'there is no job, run, schedule or queue "{what}"' in done.err
    assert ('Did you mean "default"' in done.err) == (what == "defualt")


def test_a_start_that_could_be_several_names_them(call: Callable[..., Done], past: Past) -> None:
    """To explain another job than the one that was meant would be worse than none."""
    first, second = past.job(), past.job()

    done = call("explain", first[:3])

    assert done.code == 4
    assert first in done.err
    assert second in done.err


def test_a_schedule_is_explained_by_its_name(call: Callable[..., Done], past: Past, site: Site) -> None:
    """Why nothing came last night."""
    site.config.write_text(site.config.read_text() + '[schedules.nightly]\ntask = "add"\ncron = "0 2 * * *"\n')
    past.job()

    found = call("explain", "nightly", "--json").json

    assert (found["kind"], found["name"], found["status"], found["code"]) == ("schedule", "nightly", "on", "no_daemon")
    codes = [one["code"] for one in found["because"]]
    assert codes == ["no_daemon", "schedule.problem", "schedule.never", "schedule.next"]
    assert "left" in found["because"][1]["text"]
    assert "Did you mean" in call("explain", "nigthly").err


class Passing:
    """A clock that goes on by a second while the job files are read."""

    def __init__(self, loaded: Path) -> None:
        self._loaded = loaded

    def now_ms(self) -> int:
        return NOON + 400 + (1000 if self._loaded.exists() else 0)


def test_a_due_time_that_passed_while_job_files_were_read_is_no_time_to_come(past: Past, site: Site) -> None:
    """Of a schedule of seconds each second look spoke of a clock that was ahead."""
    loaded = site.root / "loaded"
    (site.root / "cli_jobs" / "slow.py").write_text(f"open({str(loaded)!r}, 'w').close()\n")
    site.config.write_text(
        site.config.read_text() + '[schedules.tick]\ntask = "add"\npayload = {left = 1}\nevery = "1s"\n'
    )
    past.ledger.writer.submit(lambda tx: tx.run(DECIDED, (NOON + 1000, NOON + 1000, NOON + 1010))).wait()
    answer = CliRunner().invoke(explain, ["tick", "--json"], obj=Session(site.config, cast("Clock", Passing(loaded))))
    found = json.loads(answer.stdout)
    assert found["kind"] == "schedule"
    assert "schedule.ahead" not in [one["code"] for one in found["because"]]


def test_a_full_disk_is_among_the_facts(call: Callable[..., Done], past: Past, site: Site) -> None:
    """Of the daemon that cannot write there is no word in the ledger: it is asked."""
    job_id = past.claimed().job_id
    said = json.dumps({"full": True, "unrecorded": {job_id: [1, "the disk is full"]}})
    with closing(Listener(site.state, lambda: said)) as listener:
        ear = threading.Thread(target=listener.wait, args=(20.0,))
        ear.start()
        lock = take_lock(site.ledger)
        found = call("explain", job_id, "--json").json
        os.close(lock)
        ear.join(20)
    assert (found["status"], found["code"]) == ("running", "disk_full")
    assert found["facts"]["disk"]["full"] is True
    assert found["facts"]["unrecorded"] == {"attempt": 1, "why": "the disk is full"}


def test_a_payload_that_waits_for_a_task_that_is_gone_meanwhile(call: Callable[..., Done], past: Past) -> None:
    """What it does not fit is not there any more: to let the task take it again would be no cure."""
    gone, there = past.job("renamed"), past.job("add")
    for held in past.moves.claim("default", 2).wait():
        past.moves.park(held, "payload", due_at=None, duration_s=0.0).wait()
    found = call("explain", gone, "--json").json
    assert (found["code"], found["facts"]["reason"]) == ("waiting.unknown_task", "payload")
    assert "which the daemon does not know" in found["because"][-2]["text"]
    assert call("explain", there, "--json").json["code"] == "waiting.payload"
