"""Real processes that do to their runner what job code does in the field. Each costs one attempt and leaves nothing."""

from __future__ import annotations

import gc
import json
import os
import resource
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic_core import to_json

from millrace.define.rules import MAX_DECISIONS
from millrace.runner import tree
from millrace.runner.attempt import MAX_OUTCOME
from millrace.runner.batch import Batch
from millrace.runner.protocol import CHUNK, MAX_LINE
from millrace.runner.rulebook import RuleBook
from millrace.runner.stop import CANCELLED
from millrace.runner.verdict import MAX_FACTS
from tests.runner.conftest import descriptors
from tests.runner.rig import Rig, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from millrace.runner.running import Kind


def works(rig: Rig) -> None:
    """The next job runs, and no process is left but the warm children."""
    assert rig.run("add", a=2, b=3).result == "5"
    assert rig.alone()


def test_a_job_runs_in_a_process_of_its_own_session(rig: Rig) -> None:
    """A killable process is what a queue's jobs get, with the job's context and the site's folder to work in."""
    told = rig.run("who")

    assert told.status == "succeeded"
    said = json.loads(told.result or "")
    assert said["pid"] in rig.children.alive()
    assert said["pid"] != os.getpid()
    assert os.getsid(said["pid"]) == said["pid"]
    assert (said["job"], said["attempt"], said["client"]) == (told.id, 1, "default")
    assert (said["threshold"], said["cwd"]) == (80, str(rig.root))
    assert 0 < said["remaining"] <= 30


def test_the_next_job_of_the_queue_takes_the_warm_child(rig: Rig) -> None:
    """Starting a process for each job would cost more than most jobs."""
    rig.run("add", a=1)
    before = rig.children.alive()
    rig.run("add", a=2)

    assert rig.children.alive() == before
    assert rig.children.warm() == 1


def test_a_queue_never_gets_the_child_of_another(rig: Rig) -> None:
    """The memory limit of a child is that of its queue."""
    rig.run("add", a=1)
    rig.run("add", queue="small", a=1)

    assert sorted(rig.children.alive().values()) == ["default", "small"]


@pytest.mark.parametrize(
    ("trick", "error", "says"),
    [
        ("leave", "SystemExit", "sys.exit(3)"),
        ("fail", "RuntimeError", "it broke"),
        ("out_of_memory", "MemoryError", "no memory for what the job asked for"),
        ("leave_now", "Crashed", "exited with code 3"),
        ("segfault", "Crashed", "ended by SIGSEGV"),
        ("term_self", "Terminated", "did not send"),
        ("kill_self", "Crashed", "ended by SIGKILL"),
        ("stop_self", "Timeout", "time was up after 0.3 s"),
        ("deaf_hang", "Timeout", "time was up after 0.3 s"),
        ("close_all", "Crashed", "lost its connection"),
    ],
)
def test_what_a_job_does_to_its_process_costs_one_attempt(rig: Rig, trick: str, error: str, says: str) -> None:
    """One failure stays one failure: it is recorded with its cause, nothing stays behind, and the next job runs."""
    job = rig.run(trick)

    assert (job.status, job.reason, job.failures) == ("waiting", "backoff", 1)
    assert job.crashes == (1 if error == "Crashed" else 0)
    assert job.error is not None
    assert job.error.type == error
    assert says in job.error.message
    works(rig)


def test_a_result_that_is_too_large_is_dead_at_once(rig: Rig) -> None:
    """The work was done; doing it again cannot make its result fit. It never leaves the child."""
    job = rig.run("huge", size=50_000_000)

    assert job.status == "dead"
    assert job.error is not None
    assert job.error.type == "ResultTooLarge"
    works(rig)


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_a_step_whose_result_is_too_large_is_dead_at_once(rig: Rig, tmp_path: Path, kind: Kind) -> None:
    """It was called in each of three attempts, whose child was ended for a line that nobody reads."""
    calls = tmp_path / "calls"
    job = rig.run("fetch_in_a_step", kind=kind, calls=str(calls), size=50_000_000)

    assert (job.status, job.crashes) == ("dead", 0)
    assert job.error is not None
    assert 'step "fetch" returned 50000002 characters' in job.error.message
    assert calls.read_text().splitlines() == ["called"]
    works(rig)


def test_a_large_payload_and_result_pass(rig: Rig) -> None:
    """More than a socket buffer holds, in one line."""
    assert len(rig.run("huge", size=3_000_000).result or "") == 3_000_002


def test_a_payload_may_be_larger_than_what_a_child_may_say(rig: Rig) -> None:
    """The bound is against foreign code. What a child is given, the site has accepted: [web] max_body may be a GB."""
    job = rig.run("weigh", text="x" * (MAX_LINE + 2 * CHUNK))

    assert (job.status, job.result) == ("succeeded", str(MAX_LINE + 2 * CHUNK))


def test_a_job_over_the_memory_of_its_queue_fails_alone(rig: Rig) -> None:
    """The limit turns a greedy job into a MemoryError instead of a machine without memory."""
    job = rig.run("hoard", queue="small")

    assert job.error is not None
    assert job.error.type == "MemoryError"
    assert job.error.message.endswith("MB is all that [queues.small] memory allows a process")
    assert rig.run("hoard").status == "succeeded"


def test_a_job_that_is_ended_may_clean_up_first(rig: Rig, tmp_path: Path) -> None:
    """TERM comes before KILL, and raises where the job stands."""
    note = tmp_path / "note"
    job = rig.run("hang", note=str(note))

    assert job.error is not None
    assert job.error.type == "Timeout"
    assert note.read_text() == "cleaned up"
    assert rig.attempts(job.id)[0].facts["ended_by"] == "TERM"


def test_a_job_may_have_a_month(rig: Rig) -> None:
    """A poll takes a C int of milliseconds, 24.8 days: each attempt of a longer timeout failed at its start."""
    assert rig.run("patient").status == "succeeded"


@pytest.mark.parametrize("kind", ["process", "thread"])
@pytest.mark.parametrize("gives", [{"add": 1}, {"then": "𝄞" * MAX_OUTCOME}, {"then": "\1" * MAX_OUTCOME}])
def test_what_tables_decide_never_makes_a_verdict_that_is_refused(rig: Rig, kind: Kind, gives: dict[str, Any]) -> None:
    """The work was done, and its child was killed as a liar: with the longest name, and all rows in each decision."""
    name = "n" * 63
    rig.kit = replace(rig.kit, rules=RuleBook({name: [{"when": {"n": ">=0"}, **gives}] * 1_000}))
    job = rig.run("decide", kind=kind, table=name, times=2 * MAX_DECISIONS, adds="add" in gives)

    assert (job.status, job.error) == ("succeeded", None)
    assert len(to_json(rig.attempts(job.id)[0].facts)) <= MAX_FACTS


@pytest.mark.parametrize("trick", ["family", "orphan", "orphan_and_die"])
def test_no_descendant_survives_the_attempt(rig: Rig, tmp_path: Path, trick: str) -> None:
    """A deaf grandchild in a session of its own would go on working while the next attempt does the same work."""
    note = tmp_path / "pid"
    job = rig.run(trick, note=str(note))

    assert job.status == ("succeeded" if trick == "orphan" else "waiting")
    assert tree.look(int(note.read_text())) is None
    works(rig)


def test_a_process_with_threads_left_is_not_used_again(rig: Rig) -> None:
    """A thread of one job must not write into the output of the next."""
    assert rig.run("threads").status == "succeeded"
    assert rig.children.warm() == 0
    works(rig)


def test_a_timer_of_one_job_does_not_go_off_in_the_next(rig: Rig) -> None:
    """It would end a job that has nothing to do with it, and three of those make poison."""
    for handled in (False, True):
        assert rig.run("leave_timers", handled=handled).status == "succeeded"
        job = rig.run("nap", seconds=0.3)
        assert (job.status, job.crashes) == ("succeeded", 0)
    assert rig.children.warm() == 1


def test_closed_standard_output_is_not_handed_to_the_next_job(rig: Rig) -> None:
    """Its number would be given to the next file that is opened."""
    assert rig.run("close_standard").status == "succeeded"
    assert rig.children.warm() == 0
    works(rig)


def test_temporary_files_go_with_the_attempt(rig: Rig) -> None:
    """A job that fails before it tidies up must not fill the disk."""
    name = json.loads(rig.run("litter").result or "")

    until(lambda: not Path(name).exists())
    assert rig.children.warm() == 1


def test_a_job_finds_its_surroundings_as_if_it_were_the_first(rig: Rig) -> None:
    """The one before it in the same process may have been another client's: its secret, its zone, its rounding."""
    before = json.loads(rig.run("look_around").result or "")
    assert rig.run("rearrange", secret="of acme").result == str(before["pid"])

    assert json.loads(rig.run("look_around").result or "") == before
    assert (before["third"], before["zone"]) == ("0." + 28 * "3", "+0000")


@pytest.mark.parametrize("how", ["priority", "files", "signals"])
def test_a_process_with_less_than_it_had_is_not_used_again(rig: Rig, how: str) -> None:
    """What a job has lowered, only root could raise; signals that were held back would come to the next job."""
    assert rig.run("hold_down", how=how).status == "succeeded"
    assert rig.children.warm() == 0
    works(rig)


@pytest.mark.parametrize("kind", ["process", "thread"])
def test_a_job_does_not_round_as_the_one_before_it(rig: Rig, kind: Kind) -> None:
    """Money that comes out differently once in a while is found by nobody."""
    with ThreadPoolExecutor(1) as worker:

        def run(digits: int | None = None) -> str | None:
            return worker.submit(rig.run, "round_to", kind=kind, digits=digits).result().result

        first = run()
        assert run(digits=3) == '"0.333"'
        assert run() == first


def test_a_flood_of_output_is_read_and_dropped(rig: Rig) -> None:
    """A job that writes a gigabyte is neither blocked nor kept."""
    job = rig.run("flood", megabytes=1000)

    assert job.status == "succeeded"
    assert sum(map(len, rig.lines())) < 1_100_000
    assert sum("dropped" in line for line in rig.lines()) == 1


def test_output_becomes_log_lines(rig: Rig) -> None:
    """What a job prints, complains and logs is found under the job, also a last line without an end."""
    rig.run("speak")

    assert set(rig.lines()) == {"printed", "complained", "logged rows=3", "unfinished"}


@pytest.mark.parametrize("room", range(2, 9))
def test_a_child_for_which_there_are_no_descriptors_takes_none_with_it(rig: Rig, room: int) -> None:
    """What was opened before the one that could not be is closed again; else each such spell brings the next."""
    rig.run("add", a=1)  # the server runs from here on
    job_id = rig.accept("add", queue="small", a=1)
    claim = rig.claim("small")
    gc.collect()
    before = descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    held: list[int] = []
    resource.setrlimit(
        resource.RLIMIT_NOFILE, (max(int(path.name) for path in Path("/proc/self/fd").iterdir()) + 40, hard)
    )
    try:
        with suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        for fd in held[-room:]:
            os.close(fd)
        del held[-room:]
        rig.work(claim)
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    gc.collect()
    assert descriptors() <= before + (4 if rig.row(job_id).status == "succeeded" else 0)
    assert rig.row(job_id).status in {"succeeded", "waiting"}
    assert rig.row(job_id).failures == 0


def test_a_job_of_a_dead_fork_server_fails_without_blame(rig: Rig) -> None:
    """Its children fall with it; their jobs did nothing, so none of them is nearer to poison, and a new one starts."""
    job = rig.run("kill_server")

    assert (job.status, job.failures, job.crashes) == ("waiting", 1, 0)
    assert job.error is not None
    assert job.error.type == "ForkServerDied"
    works(rig)


def test_an_idle_child_that_died_is_not_given_a_job(rig: Rig) -> None:
    """A job must not pay for what happened before it."""
    rig.run("add", a=1)
    (pid,) = rig.children.alive()
    os.kill(pid, signal.SIGKILL)
    until(lambda: tree.look(pid) is None)

    assert rig.run("add", a=2).status == "succeeded"
    assert pid not in rig.children.alive()


def test_a_child_is_on_record_before_its_first_job_and_off_it_when_gone(rig: Rig, tmp_path: Path) -> None:
    """A starting daemon kills what is on record, so nothing that lives may be missing there."""
    rig.run("add", a=1)
    (pid,) = rig.children.alive()
    (row,) = rig.ledger.reads.children()
    process = tree.look(pid)

    assert process is not None
    assert (row.pid, row.start_ticks, row.pgid, row.daemon) == (pid, process.start_ticks, pid, "d1")
    rig.children.close()
    until(lambda: not rig.ledger.reads.children())


def test_an_idle_daemon_has_no_helper_process(rig: Rig, site: Path) -> None:
    """What is not needed is not kept: neither the children nor the process that forks them."""
    rig.run("add", a=1)
    rig.children.reap_idle()
    assert rig.children.warm() == 1

    rig.children._idle_s = 0.0
    rig.children.reap_idle()
    rig.children.reap_idle()
    assert (rig.children.alive(), rig.children.helper()) == ({}, None)
    works(rig)


def test_a_cancel_ends_a_running_job(rig: Rig, tmp_path: Path, aside: Callable[..., Future[Any]]) -> None:
    """A person who cancels wants it to stop, not to finish first."""
    job_id = rig.accept("wait_for", release=str(tmp_path / "never"), started=str(tmp_path / "started"))
    under_way = aside(rig.work, rig.claim())
    until((tmp_path / "started").exists)

    assert rig.running.cancel(job_id)
    under_way.result(20)
    assert rig.row(job_id).status == "cancelled"
    works(rig)


def test_a_shutdown_hands_running_jobs_back_without_cost(
    rig: Rig, tmp_path: Path, aside: Callable[..., Future[Any]]
) -> None:
    """It is the daemon that stops, not the job that failed."""
    job_id = rig.accept("wait_for", release=str(tmp_path / "never"), started=str(tmp_path / "started"))
    under_way = aside(rig.work, rig.claim())
    until((tmp_path / "started").exists)

    assert rig.running.interrupt_all("shutdown") == 1
    under_way.result(20)
    job = rig.row(job_id)
    assert (job.status, job.failures, job.crashes) == ("queued", 0, 0)
    assert rig.alone()


def test_the_close_interrupts_what_runs(rig: Rig, tmp_path: Path, aside: Callable[..., Future[Any]]) -> None:
    """The daemon took its process away; that is no crash of the job's own."""
    job_id = rig.accept("wait_for", release=str(tmp_path / "never"), started=str(tmp_path / "started"))
    under_way = aside(rig.work, rig.claim())
    until((tmp_path / "started").exists)

    rig.children.close()
    under_way.result(20)
    job = rig.row(job_id)
    assert (job.status, job.failures, job.crashes) == ("queued", 0, 0)


def test_after_the_close_no_child_is_started(rig: Rig) -> None:
    """A worker that comes late finds the daemon going down, and hands its job back."""
    rig.children.close()
    job = rig.run("add", a=1)

    assert (job.status, job.failures, rig.children.helper()) == ("queued", 0, None)


def test_a_child_that_is_given_back_after_the_close_is_ended_too(rig: Rig) -> None:
    """Its job ended while the daemon went down, and nobody else would give back what it holds."""

    class Late:
        queue = "default"

        @cached_property
        def asked(self) -> str:
            """Close in the moment between the borrowing of the child and its job."""
            rig.children.close()
            return CANCELLED

    rig.run("add", a=1)
    late: Any = Late()
    desk: Any = None
    batch = Batch((), rig.kit, rig.running)
    rig.children.run(lambda: b"{}", desk, late, batch, timeout_s=None, alone=False)

    assert (rig.children.warm(), rig.children.alive()) == (0, {})


def test_many_supervisors_share_the_children(rig: Rig, aside: Callable[..., Future[Any]]) -> None:
    """Each worker thread borrows a child of its own, all from one fork server."""
    for n in range(40):
        rig.accept("add", a=n)
    claims = rig.ledger.moves.claim("default", 40).wait(20)
    for under_way in [aside(rig.work, held) for held in claims]:
        under_way.result(20)

    until(lambda: rig.ledger.reads.status_counts().get("succeeded") == 40)
    assert 1 <= len(rig.children.alive()) <= 8


def test_a_broken_job_file_does_not_stop_the_others(rig: Rig) -> None:
    """The fork server loads each file with its errors caught, whatever they are."""
    (rig.root / "jobs" / "broken.py").write_text("import sys\nsys.exit('no')\n")

    assert rig.run("add", a=1).status == "succeeded"


def test_a_site_that_does_not_let_a_child_start_parks_the_job(rig: Rig) -> None:
    """No process to be had is not the job's fault: it waits a little, at no cost."""
    (rig.root / "jobs" / "fatal.py").write_text("import os\nos._exit(1)\n")
    job = rig.run("add", a=1)

    assert (job.status, job.reason, job.failures) == ("waiting", "limit", 0)
    assert job.due_at is not None
