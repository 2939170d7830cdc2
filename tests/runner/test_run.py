"""The chain from a claim to its outcome, over a real ledger; in threads where the process does not matter."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from millrace.clock import SYSTEM
from millrace.events import AttemptEnded, AttemptStarted, ResultDropped
from millrace.ledger.blobs import folder_of
from tests.runner.rig import Rig, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from pathlib import Path

    from millrace.runner.running import Kind

KINDS: list[Kind] = ["thread", "process"]


@pytest.mark.parametrize("kind", KINDS)
def test_success_is_recorded_with_its_result(rig: Rig, kind: Kind) -> None:
    """The result is in the ledger, and the events tell of start and end."""
    job = rig.run("add", kind=kind, a=2, b=40)

    assert (job.status, job.result, job.failures) == ("succeeded", "42", 0)
    until(lambda: any(isinstance(event, AttemptEnded) for event in rig.events))
    started = next(event for event in rig.events if isinstance(event, AttemptStarted))
    ended = next(event for event in rig.events if isinstance(event, AttemptEnded))
    assert (started.job_id, ended.job_id, ended.outcome, ended.status) == (job.id, job.id, "succeeded", "succeeded")


ENDINGS: list[tuple[str, dict[str, Any], str, str]] = [
    ("fail", {}, "waiting", "RuntimeError"),
    ("leave", {}, "waiting", "SystemExit"),
    ("give_up", {}, "dead", "GiveUp"),
    ("choosy", {"how": "never"}, "dead", "ValueError"),
    ("choosy", {"how": "retry"}, "waiting", "ConnectionError"),
    ("choosy", {"how": "other"}, "dead", "KeyError"),
    ("not_a_number", {}, "dead", "ResultNotJSON"),
]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("ending", ENDINGS)
def test_how_the_function_ends_decides(rig: Rig, kind: Kind, ending: tuple[str, dict[str, Any], str, str]) -> None:
    """The same verdict in a thread and in a process; `sys.exit` must not end a worker thread of the daemon."""
    task, payload, status, error = ending
    job = rig.run(task, kind=kind, **payload)

    assert job.status == status
    assert job.error is not None
    assert job.error.type == error


def test_the_traceback_shows_the_jobs_own_frames(rig: Rig) -> None:
    """Its reader wants the line of the job, not how the engine called it."""
    trace = rig.run("fail").error
    assert trace is not None
    assert trace.traceback is not None
    assert 'tricks.py", line' in trace.traceback
    assert "runner/" not in trace.traceback


def test_text_from_a_job_is_bounded_and_valid(rig: Rig) -> None:
    """A message of a megabyte, with half a character in it, is cut to what a row and a reader can take."""
    job = rig.run("fail", kind="thread", message="a" * 1_000_000)

    assert job.error is not None
    assert len(job.error.message.encode()) <= 2_000
    assert len((job.error.traceback or "").encode()) <= 8_000


def test_retry_later_names_its_own_time(rig: Rig) -> None:
    """The job knows when the other side will be back."""
    before = SYSTEM.now_ms()
    job = rig.run("later", kind="thread", after="5m")

    assert (job.status, job.failures) == ("waiting", 1)
    assert job.due_at is not None
    assert 299_000 <= job.due_at - before <= 320_000


def test_the_last_failure_is_dead(rig: Rig) -> None:
    """`retries=0` is one attempt."""
    assert rig.run("fail", kind="thread", retries=0).status == "dead"


def test_on_crash_fail_gives_no_second_attempt(rig: Rig) -> None:
    """For work that must not run twice a crash is the end, as nobody knows how far it came."""
    job = rig.run("kill_self_once")

    assert (job.status, job.crashes) == ("dead", 1)


def test_the_third_crash_is_poison(rig: Rig) -> None:
    """A job that takes its process down again and again must not go on doing so."""
    job_id = rig.accept("kill_self", retries=50)
    for crash in (1, 2, 3):
        rig.work(rig.claim())
        assert rig.row(job_id).crashes == crash
        if crash < 3:
            rig.ledger.moves.move("promote", job_id, actor="test").wait(20)

    assert rig.row(job_id).status == "dead"
    assert [attempt.facts["signal"] for attempt in rig.attempts(job_id)] == ["SIGKILL"] * 3


@pytest.mark.parametrize("kind", KINDS)
def test_an_unknown_task_waits_for_its_name(rig: Rig, kind: Kind) -> None:
    """A job whose task is gone is not lost: it waits until the name returns."""
    job = rig.run("nobody", kind=kind)

    assert (job.status, job.reason, job.failures, job.due_at) == ("waiting", "unknown_task", 0, None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_payload_that_no_longer_fits_waits(rig: Rig, kind: Kind) -> None:
    """The function changed after the job was accepted: a person decides, nothing is lost."""
    job = rig.run("add", kind=kind, a=1, c=2)

    assert (job.status, job.reason, job.failures) == ("waiting", "payload", 0)
    (attempt,) = rig.attempts(job.id)
    assert attempt.error is not None
    assert "payload.c: is no field" in attempt.error.message


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_is_done_once(rig: Rig, tmp_path: Path, kind: Kind) -> None:
    """A retry returns what the step gave; its work is not repeated."""
    calls = tmp_path / "calls"
    job_id = rig.accept("in_steps", ledger_of_calls=str(calls), fail_after=True)
    first = rig.claim()
    rig.work(first, kind)
    assert rig.row(job_id).status == "waiting"
    rig.ledger.moves.move("promote", job_id, actor="test").wait(20)
    again = rig.claim()

    rig.work(again._replace(payload=again.payload.replace("true", "false")), kind)
    assert rig.row(job_id).result == "[1,1,2,4]"
    assert calls.read_text().split() == ["1", "2"]


def test_a_late_result_is_dropped_and_said(rig: Rig) -> None:
    """An attempt that was taken back must not overwrite its successor's."""
    rig.accept("add", a=1)
    late = rig.claim()
    rig.ledger.moves.release(late, "test", duration_s=0.0).wait(20)
    rig.claim()
    rig.work(late, "thread")

    until(lambda: any(isinstance(event, ResultDropped) for event in rig.events))
    assert rig.ledger.reads.job(late.job_id).status == "running"
    assert not rig.kit.unrecorded


def test_a_thread_job_ends_at_its_deadline_when_it_logs(rig: Rig) -> None:
    """Threads cannot be killed; every call into the engine is a point where they may end."""
    job = rig.run("cooperative", kind="thread")

    assert job.error is not None
    assert (job.status, job.error.type) == ("waiting", "Timeout")


def test_a_stubborn_thread_is_seen_and_its_result_counts(
    rig: Rig, tmp_path: Path, aside: Callable[..., Future[Any]]
) -> None:
    """It cannot be stopped, so it is shown; when it ends after all, its work was done."""
    job_id = rig.accept("stubborn", release=str(tmp_path / "release"))
    under_way = aside(rig.work, rig.claim(), "thread")
    until(lambda: [live.job_id for live in rig.running.stuck()] == [job_id])

    (tmp_path / "release").touch()
    under_way.result(20)
    assert rig.row(job_id).result == '"late"'
    assert rig.running.stuck() == []


def test_a_job_that_two_daemons_died_with_runs_alone_in_a_process(rig: Rig) -> None:
    """It may be what kills the daemon; in a process of its own it can only kill itself."""
    job_id = rig.accept("who")
    rig.work(rig.claim()._replace(daemon_deaths=2), "thread")

    job = rig.row(job_id)
    assert job.status == "succeeded"
    assert f'"pid":{os.getpid()},' not in (job.result or "")
    assert rig.children.alive() == {}


@pytest.mark.parametrize("kind", KINDS)
def test_a_cancel_before_the_start_is_not_lost(rig: Rig, tmp_path: Path, kind: Kind) -> None:
    """Between the claim and the first line of the function there is time for a person to change their mind."""
    job_id = rig.accept("wait_for", release=str(tmp_path / "never"))
    held = rig.claim()
    rig.running.expect(held, kind)
    assert rig.running.cancel(job_id)
    rig.work(held, kind)

    assert rig.row(job_id).status == "cancelled"


def test_what_begins_after_the_shutdown_is_handed_back(rig: Rig) -> None:
    """A claim that was under way when the order came must not start a job that nobody waits for."""
    rig.running.interrupt_all("shutdown")
    job = rig.run("add", a=1)

    assert (job.status, job.failures) == ("queued", 0)


@pytest.mark.parametrize("kind", KINDS)
def test_large_payloads_and_results_reach_the_function_and_come_back(rig: Rig, kind: Kind) -> None:
    """They lie in files; whoever runs the job notices nothing."""
    job = rig.run("echo", kind=kind, text="x" * 3_000_000)

    assert (job.status, job.result) == ("succeeded", '"' + "x" * 3_000_000 + '"')
    assert len(list(folder_of(rig.ledger.path).iterdir())) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_whose_large_payload_is_lost_is_dead_and_never_runs(rig: Rig, kind: Kind) -> None:
    """Whatever it would be run with instead, nobody has asked for."""
    job_id = rig.accept("echo", text="x" * 1_000_000)
    (path,) = folder_of(rig.ledger.path).iterdir()
    path.write_text('{"text":"something else"}')
    rig.work(rig.claim(), kind)

    job = rig.row(job_id)
    assert job.status == "dead"
    assert job.error is not None
    assert (job.error.type, str(path) in job.error.message) == ("Damaged", True)
    assert rig.attempts(job_id)[0].facts["cause"] == "damaged"


def test_a_result_of_50_mb_makes_its_job_dead_with_the_bound(rig: Rig) -> None:
    """It is bounded by what a child's message and the daemon's memory hold, not by the ledger."""
    job = rig.run("huge", size=50 * 2**20)

    assert job.status == "dead"
    assert job.error is not None
    assert job.error.type == "ResultTooLarge"
    assert "keep it in a file and return its path" in job.error.message
    assert not folder_of(rig.ledger.path).exists()
