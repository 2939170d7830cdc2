"""
A file system of 8 MB for the state folder, which fills while jobs are submitted and run.

Proved: what does not fit is refused with a clear error (507, exit 75), what was acknowledged stays and is finished,
outcomes that could not be written are written later and not lost, and all goes on by itself once there is room.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from millrace.errors import LedgerFull
from millrace.ledger import blob_rows
from millrace.ledger.blobs import LARGE, folder_of
from millrace.ledger.ledger import Ledger
from millrace.ledger.rows import NewJob
from tests.faults.mounts import mounted
from tests.faults.referee import Referee
from tests.process.scratch import until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.faults.conftest import MakeSite
    from tests.process.scratch import Scratch

BALLAST = 4 * 2**20
FILL = "x" * 40_000
LINES = 500


@pytest.fixture
def cramped(make_site: MakeSite) -> Iterator[Scratch]:
    """A site whose state folder is a small file system, with a file on it whose end makes room."""
    site = make_site()
    with mounted(site.state, "size=8m"):
        (site.state / "ballast").write_bytes(b"\0" * BALLAST)
        yield site
        site.__exit__()


@pytest.mark.parametrize("queue", ["io", "default"])
def test_a_full_disk_refuses_new_work_and_loses_none(cramped: Scratch, tmp_path: Path, queue: str) -> None:
    """The commonest outage of all: it must cost no job, and no restart."""
    site = cramped
    daemon = site.serve()
    referee = Referee(site, tmp_path / "acks.log")
    accepted, refused = [], 0
    with site.client() as client:
        for n in range(2000):
            body = {"task": "bulk", "queue": queue, "payload": {"n": n, "fill": FILL}}
            answer = client.post("/api/v1/jobs", json=body)
            if answer.status_code == 202:
                accepted.append(answer.json()["id"])
                continue
            assert answer.status_code == 507, answer.text
            assert answer.json()["type"].endswith("disk-full")
            assert "full" in answer.json()["detail"]
            refused += 1
            if refused == 20:
                break
        assert refused == 20, "the disk was never full"
        told = site.run("submit", "bulk", "--queue", queue, "--payload", json.dumps({"n": 9999, "fill": FILL}), code=75)
        assert "full" in told.stderr
        assert "Traceback" not in told.stderr
        assert daemon.alive
        assert client.get("/livez").status_code == 200
        assert client.get("/readyz").status_code == 503, "a full daemon asks for more work"
        (site.state / "ballast").unlink()
        until(lambda: client.get("/readyz").status_code == 200, "the daemon to be ready again")
        body = {"task": "bulk", "queue": queue, "payload": {"n": 5000, "fill": "little"}}
        answer = client.post("/api/v1/jobs", json=body)
        assert answer.status_code == 202, answer.text
        accepted.append(answer.json()["id"])
    referee.acks.write_text("".join(f"{job} 0\n" for job in accepted))
    referee.await_rest(30)
    referee.judge()
    starts = [effect for effect in referee.effects() if effect.kind == "start"]
    assert len(starts) == len(accepted), "finished work was done again"
    assert daemon.stop() == 0
    referee.judge_leavings()


def test_a_large_value_that_does_not_fit_is_refused_and_leaves_nothing(cramped: Scratch) -> None:
    """The same verdict as for a row, no half file that takes the room of others, and no restart once there is room."""
    text = json.dumps({"fill": "x" * (LARGE + 1)})
    with Ledger(cramped.ledger, synchronous="normal") as ledger:
        tickets = [ledger.moves.accept([NewJob("add", "q", text)]) for _ in range(10)]
        accepted = [ticket.wait(30)[0].id for ticket in tickets[:2]]
        with pytest.raises(LedgerFull, match="disk is full"):
            tickets[-1].wait(30)
        accepted += [ticket.wait(30)[0].id for ticket in tickets[2:] if ticket.done and ticket.error is None]
        names = {path.name for path in folder_of(cramped.ledger).iterdir()}
        assert names == {one.name for one in blob_rows.of_ledger(ledger.reads)}
        assert len(names) == len(accepted)
        (cramped.state / "ballast").unlink()
        accepted.append(ledger.moves.accept([NewJob("add", "q", text)]).wait(30)[0].id)
        assert {ledger.reads.job(job_id).payload for job_id in accepted} == {text}
        assert ledger.reads.balance(count_rows=True).difference == 0


def test_a_log_on_a_full_disk_costs_no_work_and_says_what_it_lacks(site: Scratch, tmp_path: Path) -> None:
    """The log is the first to meet a full disk: it must not take the jobs with it, and must own up to its gap."""
    referee = Referee(site, tmp_path / "acks.log")
    with mounted(tmp_path / "log", "size=128k") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(b"\0" * 64 * 1024)
        daemon = site.serve(log=disk / "daemon.log")
        site.put(*(NewJob("mark", "io", f'{{"n":{n}}}') for n in range(LINES)))
        referee.await_rest(30)
        assert site.ask("GET", "/readyz").status_code == 200, "work can be done, though it cannot be told"
        assert len(daemon.text()) <= 64 * 1024, "the log was never full: the test proves nothing"
        ballast.unlink()
        site.await_final(site.submit("mark", queue="io", n=LINES))
        lost = daemon.await_event("log.dropped")
        told = lost["lines"] + len(daemon.events("job.ended"))
        assert LINES < told <= LINES + 2, "each line is there or counted; one may be both, but for its end"
        assert daemon.stop() == 0
    referee.judge()
    referee.judge_leavings()
