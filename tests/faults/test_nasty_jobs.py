"""
Jobs that hang, ignore signals, fork and setsid, call `sys.exit`, segfault or flood standard output, in a real daemon.

Proved: each costs one attempt, the next one succeeds, no process is left behind, and those beside it are not touched.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from millrace.ledger.rows import NewJob
from tests.process.scratch import until

if TYPE_CHECKING:
    from tests.process.scratch import Scratch

MEGABYTES = 200
WAYS = {
    "hang": "Timeout",
    "deaf": "Timeout",
    "flee and hang": "Timeout",
    "sys.exit": "SystemExit",
    "segfault": "Crashed",
    "flee and die": "Crashed",
}


def peak_mb(pid: int) -> float:
    """Return the most memory that a process has had."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def test_a_nasty_job_costs_one_attempt_and_leaves_no_process(site: Scratch) -> None:
    """All of them at once, with good jobs in between, on two workers."""
    daemon = site.serve()
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
    assert daemon.stop() == 0
    assert site.marked() == []


def test_what_a_good_job_left_behind_is_ended_too(site: Scratch) -> None:
    """A job that starts a process and returns would otherwise fill the machine, one process a run."""
    site.serve()
    job = site.submit("flee", note="note")
    assert site.await_final(job).result == '"did its work"'
    pid = int((site.root / "note").read_text())
    until(lambda: not Path(f"/proc/{pid}").exists(), "what it left behind to end")


def test_a_flood_of_output_is_neither_kept_nor_in_the_way(site: Scratch) -> None:
    """200 MB on standard output must fill neither the memory of the daemon nor its log, nor stop the job."""
    daemon = site.serve()
    job = site.submit("flood", megabytes=MEGABYTES)
    row = site.await_final(job, limit_s=60)
    assert (row.status, row.attempt) == ("succeeded", 1)
    assert peak_mb(daemon.pid) < MEGABYTES
    assert len(daemon.text()) < 2_000_000
