"""
Jobs that hang, stop themselves, ignore signals, fork and setsid, call `sys.exit`, segfault, flood standard output, take
all memory, or return what cannot be kept, in a real daemon.

Proved: each costs one attempt, the next one succeeds, no process is left behind, and those beside it are not touched.
"""

from __future__ import annotations

import uuid
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from millrace.ledger.rows import NewJob
from tests.faults.referee import Referee, channels, judge_log
from tests.process.scratch import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.faults.conftest import MakeSite
    from tests.process.scratch import Scratch

MEGABYTES = 200
MOST_MEGABYTES = 1024  # with FAULT_ROUNDS of six and more
WAYS = {
    "hang": "Timeout",
    "deaf": "Timeout",
    "stop": "Timeout",
    "flee and hang": "Timeout",
    "sys.exit": "SystemExit",
    "segfault": "Crashed",
    "flee and die": "Crashed",
}


@contextmanager
def memory_group(limit: int) -> Iterator[Path]:
    """Make a control group whose processes have so many bytes together; skip where that is not to be had."""
    root = Path("/sys/fs/cgroup")
    old = (root / "memory/memory.limit_in_bytes").exists()
    group = root / ("memory" if old else "") / f"millrace-test-{uuid.uuid4().hex}"
    try:
        group.mkdir()
        (group / ("memory.limit_in_bytes" if old else "memory.max")).write_text(str(limit))
    except OSError as error:
        with suppress(OSError):
            group.rmdir()
        pytest.skip(f"no control group with a bound of memory can be made here: {error.strerror}")
    try:
        yield group
    finally:
        until(lambda: not group.joinpath("cgroup.procs").read_text(), "the group to be empty")
        group.rmdir()


def peak_mb(pid: int) -> float:
    """Return the most memory that a process has had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def test_a_nasty_job_costs_one_attempt_and_leaves_no_process(site: Scratch) -> None:
    """All of them at once, with good jobs in between, on two workers."""
    daemon = site.serve()
    warm = site.put(*(NewJob("mark", "default", f'{{"ms":200,"n":{n + 1000}}}') for n in range(2)))
    for job in warm:
        site.await_final(job)
    before = channels(daemon.pid)
    nasty = {how: site.submit("misbehave", how=how, note=f"{how}.pid") for how in WAYS}
    good = site.put(*(NewJob("mark", "default", f'{{"ms":1,"n":{n}}}') for n in range(100)))
    for how, job in nasty.items():
        row = site.await_final(job, limit_s=60)
        assert (row.status, row.attempt, row.failures) == ("succeeded", 2, 1), how
        assert row.result == '"did its work"'
        first = site.reads.attempts(job)[0]
        assert first.error is not None
        assert (first.outcome, first.error.type) == ("retried", WAYS[how]), how
    rows = [site.await_final(job) for job in good]
    assert {(row.status, row.attempt, row.failures) for row in rows} == {("succeeded", 1, 0)}
    for note in site.root.glob("*.pid"):
        pid = int(note.read_text())
        assert not Path(f"/proc/{pid}").exists(), f"{note.stem} left a process behind"
    known = {row.pid for row in site.reads.children()} | {daemon.pid}
    strangers = set(site.marked()) - known
    assert len(strangers) <= 1, "only the fork server may carry the mark beside children on record"
    until(lambda: channels(daemon.pid) <= before, "what led to dead children to be closed")
    judge_log(daemon, most=len(WAYS))
    assert daemon.stop() == 0
    assert site.marked() == []


def test_what_a_good_job_left_behind_is_ended_too(site: Scratch) -> None:
    """A job that starts a process and returns would otherwise fill the machine, one process a run."""
    site.serve()
    job = site.submit("flee", note="note")
    assert site.await_final(job).result == '"did its work"'
    pid = int((site.root / "note").read_text())
    until(lambda: not Path(f"/proc/{pid}").exists(), "what it left behind to end")


def test_a_flood_of_output_is_neither_kept_nor_in_the_way(site: Scratch, rounds: Callable[[int], int]) -> None:
    """200 MB or more on standard output must fill neither the memory of the daemon nor its log, nor stop the job."""
    daemon = site.serve()
    job = site.submit("flood", megabytes=min(rounds(MEGABYTES), MOST_MEGABYTES))
    row = site.await_final(job, limit_s=120)
    assert (row.status, row.attempt) == ("succeeded", 1)
    assert peak_mb(daemon.pid) < MEGABYTES
    assert len(daemon.text()) < 2_000_000


def test_a_result_that_cannot_be_kept_is_dead_at_once_and_nobody_elses_matter(site: Scratch) -> None:
    """The work is done; doing it again would do it twice, and bring the same. Its size must not be the daemon's."""
    daemon = site.serve()
    hows = ("nan", "deep nan", "object", "bytes", "loop", "huge")
    odd = {(how, queue): site.submit("odd", queue=queue, how=how) for how in hows for queue in ("default", "io")}
    good = site.put(*(NewJob("mark", queue, f'{{"n":{n}}}') for n in range(20) for queue in ("default", "io")))
    for key, job in odd.items():
        row = site.await_final(job)
        assert (row.status, row.attempt) == ("dead", 1), key
        assert row.error is not None
        assert row.error.type == ("ResultTooLarge" if key[0] == "huge" else "ResultNotJSON"), key
    assert {(site.await_final(job).status, site.reads.job(job).attempt) for job in good} == {("succeeded", 1)}
    assert site.ledger.stat().st_size < 10 * 2**20
    judge_log(daemon)
    assert daemon.stop() == 0


def test_a_job_beyond_the_memory_of_its_queue_fails_alone(make_site: MakeSite, tmp_path: Path) -> None:
    """It costs one attempt, says why, and neither the daemon nor the jobs beside it notice."""
    site = make_site('[queues.cpu]\nkind = "process"\nworkers = 2\nmemory = "256MB"\n')
    daemon = site.serve()
    referee = Referee(site, tmp_path / "acks.log")
    greedy = site.submit("gorge", queue="cpu", megabytes=400)
    good = site.put(*(NewJob("mark", "cpu", f'{{"ms":5,"n":{n}}}') for n in range(50)))
    row = site.await_final(greedy)
    assert (row.status, row.attempt, row.failures) == ("succeeded", 2, 1)
    error = site.reads.attempts(greedy)[0].error
    assert error is not None
    assert (error.type, "256" in error.message) == ("MemoryError", True)
    assert {(site.await_final(job).status, site.reads.job(job).attempt) for job in good} == {("succeeded", 1)}
    judge_log(daemon)
    assert daemon.stop() == 0
    referee.judge_leavings()


def test_a_job_that_the_kernel_kills_for_want_of_memory_is_told_as_that(site: Scratch, tmp_path: Path) -> None:
    """The group of daemon and children has a bound, as a unit with MemoryMax= has; the kernel takes the largest."""
    referee = Referee(site, tmp_path / "acks.log")
    with memory_group(400 * 2**20) as group:
        daemon = site.launch()
        group.joinpath("cgroup.procs").write_text(str(daemon.pid))
        daemon.await_event("daemon.started")
        greedy = site.submit("gorge", megabytes=600)
        good = site.put(*(NewJob("mark", "io", f'{{"ms":5,"n":{n}}}') for n in range(50)))
        row = site.await_final(greedy)
        assert (row.status, row.attempt, row.failures) == ("succeeded", 2, 1)
        first = site.reads.attempts(greedy)[0]
        assert first.error is not None
        assert (first.error.type, first.facts["signal"]) == ("OutOfMemory", "SIGKILL")
        assert {(site.await_final(job).status, site.reads.job(job).attempt) for job in good} == {("succeeded", 1)}
        judge_log(daemon)
        assert daemon.stop() == 0
        referee.judge_leavings()
