"""A job has the descriptors of its process in its hands, and may say to the daemon whatever it likes."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from millrace.define.load import load_jobs
from millrace.events import ChildStarted
from millrace.ledger.plan import Plan, PlanStage
from millrace.ledger.run_rows import NewRun
from tests.runner.rig import LIMIT_S, Rig, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from millrace.runner.running import Kind


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site whose jobs do not keep to the protocol."""
    jobs = tmp_path / "site" / "jobs"
    jobs.mkdir(parents=True)
    for name in ("talk.py", "tricks.py"):
        shutil.copy(Path(__file__).parent / "site" / name, jobs / name)
    return jobs.parent


def works(rig: Rig) -> bool:
    """Whether another job of the queue runs as ever."""
    return rig.run("add", a=1, b=2).result == "3"


@pytest.mark.parametrize(
    ("word", "body", "says"),
    [
        ("nonsense", {}, "not a message of a known kind"),
        ("done", {"job": "another", "v": "ok", "r": "1", "at": 1.0}, "a verdict on no job of this moment"),
        ("done", {"v": "ok", "r": "1"}, "a verdict on no job of this moment"),
        ("log", {"text": 7}, "a message without its text 'text'"),
        ("progress", {"done": -1}, "a message without its number 'done'"),
    ],
)
def test_what_is_no_word_of_the_protocol_ends_the_process(rig: Rig, word: str, body: dict[str, Any], says: str) -> None:
    """After one such word no other can be trusted; the job has failed, and nobody waits for it for ever."""
    job = rig.run("tell", word=word, body=body)

    assert (job.status, job.crashes) == ("waiting", 1)
    assert job.error is not None
    assert says in job.error.message
    assert works(rig)


def test_a_verdict_for_another_job_is_not_believed(rig: Rig) -> None:
    """The result of a job is what its own attempt said, else one job could finish another."""
    other = rig.accept("add", queue="small", a=1)
    rig.claim("small")
    rig.run("tell", word="done", body={"job": other, "v": "ok", "r": '"forged"', "at": 1.0})

    assert (rig.ledger.reads.job(other).status, rig.ledger.reads.job(other).result) == ("running", None)


def test_a_job_that_hangs_up_is_ended(rig: Rig) -> None:
    """Without its connection it could neither be asked to stop nor tell its result."""
    job = rig.run("hang_up")

    assert job.error is not None
    assert (job.status, "closed its connection" in job.error.message) == ("waiting", True)
    assert works(rig)


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_a_question_without_its_fields_is_answered_with_the_reason(rig: Rig, kind: Kind) -> None:
    """The job fails by it, as by any other mistake of its own."""
    job = rig.run("ask", kind=kind, word="step.get", body={})

    assert job.error is not None
    assert (job.status, "without its text 'name'" in job.error.message) == ("waiting", True)


def test_in_a_thread_too_a_question_that_is_none_fails_the_job(rig: Rig) -> None:
    """There is no process to end there, and the worker goes on."""
    asked = rig.run("ask", kind="thread", word="nonsense", body={}).error
    told = rig.run("remark", kind="thread", word="nonsense", body={}).error

    assert asked is not None
    assert asked.message == "nonsense is no question"
    assert told is not None
    assert told.message == "nonsense is no remark"


def test_a_remark_that_nobody_keeps_is_dropped(rig: Rig) -> None:
    """A job does not fail because the daemon has no ear for what it mentions."""
    assert rig.run("remark", word="called", body={"service": "crm"}).status == "succeeded"


def test_more_words_than_the_socket_holds_all_arrive(rig: Rig) -> None:
    """The child waits for room and goes on; its verdict comes after them."""
    assert rig.run("flood_words", count=60).status == "succeeded"


def test_an_answer_larger_than_the_socket_arrives_whole(rig: Rig) -> None:
    """The supervisor sends what fits and the rest when there is room, and serves the child meanwhile."""
    job_id = rig.run("large_step", retries=0, size=1_500_000).id
    assert rig.ledger.moves.requeue(job_id, actor="test").wait(LIMIT_S) == "queued"
    rig.work(rig.claim())

    assert rig.row(job_id).result == "1500000"


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_an_exception_that_cannot_be_told_fails_only_its_job(rig: Rig, kind: Kind) -> None:
    """Its own text is job code, and may raise; the type is told all the same."""
    job = rig.run("speechless", kind=kind)

    assert job.error is not None
    assert (job.status, job.error.type) == ("waiting", "ValueError")
    assert works(rig)


def run_of_ways(rig: Rig) -> None:
    """Start a run whose first stage is a route."""
    plan = Plan("ways", (PlanStage("way", "ways.way", "default", kind="route", inputs=("n",)),))
    rig.ledger.moves.start_run(NewRun("ways", plan, '{"n":1}')).wait(LIMIT_S)


@pytest.mark.parametrize("kind", ["thread", "process"])
def test_a_route_that_returns_no_label_fails(rig: Rig, kind: Kind) -> None:
    """No branch could be taken by it, and none must be skipped by it."""
    run_of_ways(rig)
    held = rig.claim()
    rig.work(held, kind)
    error = rig.row(held.job_id).error

    assert error is not None
    assert "a route returns the label of a branch, a text, and not 1" in error.message


def test_a_task_that_the_children_do_not_know_waits_for_its_name(rig: Rig) -> None:
    """The daemon loaded a file that is broken by the time when the fork server loads it: no attempt is lost by that."""
    (rig.root / "jobs" / "brief.py").write_text("from millrace import task\n@task\ndef brief() -> int:\n    return 1\n")
    registry = load_jobs(rig.root, "jobs", queues={"default", "small"})
    rig.kit = dataclasses.replace(rig.kit, registry=registry)
    (rig.root / "jobs" / "brief.py").write_text("")
    job = rig.run("brief")

    assert (job.status, job.reason, job.failures) == ("waiting", "unknown_task", 0)


def test_a_child_that_talks_between_jobs_gets_no_other(rig: Rig) -> None:
    """What a job left behind in its process writes later would be read as the words of the next."""
    assert works(rig)
    (pid,) = rig.children.alive()
    (words,) = [child for child in rig.children._alive.values() if child.pid == pid]
    with open(f"/proc/{pid}/fd/1", "wb", buffering=0) as out:  # noqa: PTH123 - a pipe, by the process that has it
        out.write(b"late\n")
    assert not words.quiet()
    rig.children.reap_idle()

    until(lambda: pid not in rig.children.alive())
    assert works(rig)


def test_a_job_that_is_cancelled_as_it_is_claimed_takes_no_child_down(
    rig: Rig, aside: Callable[..., Future[Any]]
) -> None:
    """The child was ready and has begun nothing, so the next job has it."""
    assert works(rig)
    pids = rig.children.alive()
    job_id = rig.accept("add", a=1)
    held = rig.claim()
    rig.running.expect(held, "process")
    assert rig.running.cancel(job_id)
    aside(rig.work, held).result(LIMIT_S)

    assert rig.row(job_id).status == "cancelled"
    assert rig.children.alive() == pids
    assert os.getpid() not in pids


def test_children_that_all_die_before_their_first_job_are_not_started_for_ever(
    rig: Rig, aside: Callable[..., Future[Any]]
) -> None:
    """A hard limit below the memory of the queue ends each as it starts: the job waits, and the machine has peace."""
    refusing = "import resource\ndef refuse(*_):\n    raise ValueError('above the hard limit')\n"
    (rig.root / "jobs" / "fatal.py").write_text(f"{refusing}resource.setrlimit = refuse\n")
    job_id = rig.accept("add", a=1)
    aside(rig.work, rig.claim()).result(LIMIT_S)
    job = rig.row(job_id)

    assert (job.status, job.reason, job.failures, job.crashes) == ("waiting", "limit", 0, 0)
    assert job.due_at is not None
    assert sum(isinstance(event, ChildStarted) for event in rig.events) < 5
