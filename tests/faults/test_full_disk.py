"""
A file system of 8 MB for the state folder, which fills while jobs are submitted and run.

Proved: what does not fit is refused with a clear error (507, exit 75), what was acknowledged stays and is finished,
outcomes that could not be written are written later and not lost, and all goes on by itself once there is room.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count, islice
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
    """A site whose state folder is a small file system that it may fill, with a file on it whose end makes room."""
    site = make_site('[storage]\nreserve = "0B"\n')
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
        numbers = count(2000)

        def full() -> bool:
            """What is small still fits for a while, and what ends makes some room again."""
            body = {"task": "bulk", "queue": queue, "payload": {"n": next(numbers), "fill": "x"}}
            answer = client.post("/api/v1/jobs", json=body)
            accepted.extend([answer.json()["id"]] if answer.status_code == 202 else [])
            return answer.status_code == 507 and client.get("/readyz").status_code == 503

        until(full, "a full daemon to ask for no more work")
        told = site.run("submit", "bulk", "--queue", queue, "--payload", json.dumps({"n": 9999, "fill": FILL}), code=75)
        assert "full" in told.stderr
        assert "Traceback" not in told.stderr
        assert daemon.alive
        assert client.get("/livez").status_code == 200
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


@pytest.mark.parametrize(("megabytes", "queue"), [(4, "io"), (8, "default"), (16, "io"), (64, "default")])
def test_what_a_small_disk_has_accepted_drains_to_its_end(
    make_site: MakeSite, tmp_path: Path, megabytes: int, queue: str
) -> None:
    """
    The reserve is for that: claims, results and the log's growth need room, when nobody makes any. The hardest case is
    a disk that was filled before anything ran, by callers that come together, with payloads that each move writes anew.
    """
    site = make_site()
    with mounted(site.state, f"size={megabytes}m"):
        daemon = site.serve()
        site.run("queues", "pause", queue)
        accepted = fill(site, queue, "x" * 90_000)
        assert len(accepted) * 90_000 > megabytes * 2**20 // 5, "so small a part of the disk is no use to anybody"
        daemon.kill()
        daemon = site.serve()
        site.run("queues", "resume", queue)
        referee = Referee(site, tmp_path / "acks.log")
        referee.acks.write_text("".join(f"{job} 0\n" for job in accepted))
        referee.await_rest(60)
        referee.judge()
        assert not daemon.events("job.outcome_refused"), "an outcome found no room"
        assert {site.reads.job(job).result for job in accepted} == {json.dumps("x" * 1000)}
        assert daemon.stop() == 0
        site.__exit__()


def test_small_jobs_on_a_small_disk_drain_though_they_need_more_to_end_than_to_come(
    make_site: MakeSite, tmp_path: Path
) -> None:
    """A result of half a kilobyte does not fit into the row beside its payload, and takes a page: more than the job."""
    site = make_site()
    with mounted(site.state, "size=4m"):
        daemon = site.serve()
        site.run("queues", "pause", "io")
        accepted: list[str] = []
        refused, numbers = 0, count(1)
        with site.client() as client:
            while not refused:
                jobs = [
                    {"task": "bulk", "queue": "io", "payload": {"n": n, "fill": "x" * 400}}
                    for n in islice(numbers, 500)
                ]
                answer = client.post("/api/v1/jobs/batch", content="\n".join(map(json.dumps, jobs)))
                lines = [json.loads(line) for line in answer.text.splitlines()]
                accepted += [line["id"] for line in lines if line["status"] == 202]
                refused += sum(line["status"] == 507 for line in lines)
        assert len(accepted) > 200
        site.run("queues", "resume", "io")
        referee = Referee(site, tmp_path / "acks.log")
        referee.acks.write_text("".join(f"{job} 0\n" for job in accepted))
        referee.await_rest(60)
        referee.judge()
        assert not daemon.events("job.outcome_refused"), "an outcome found no room"
        assert daemon.stop() == 0
        site.__exit__()


@pytest.mark.parametrize("queue", ["io", "default"])
def test_what_ended_on_a_full_disk_is_explained_and_written_later(
    make_site: MakeSite, tmp_path: Path, queue: str
) -> None:
    """Another program may fill the disk to its end: then no reserve helps, but nobody is told that a job runs on."""
    site = make_site()
    with mounted(site.state, "size=8m"):
        daemon = site.serve()
        job = site.submit("swell", queue=queue, n=1, name="go", size=400_000)
        site.await_status(job, "running")
        with suppress(OSError), (site.state / "ballast").open("wb", buffering=0) as ballast:
            while ballast.write(b"\0" * 4096):
                pass
        (site.root / "go").touch()
        assert daemon.await_event("job.outcome_refused")["job_id"] == job
        assert site.reads.job(job).status == "running"
        for found in (
            json.loads(site.run("explain", job, "--json").stdout),
            site.ask("GET", f"/api/v1/jobs/{job}/explain").json(),
        ):
            assert found["code"] == "disk_full"
            assert [one["code"] for one in found["because"]][-2:] == ["disk_full", "running.unrecorded"]
            assert found["facts"]["unrecorded"]["attempt"] == 1
            assert "Make room" in found["change"][0]["text"]
        found = json.loads(site.run("explain", queue, "--json").stdout)
        assert (found["code"], found["facts"]["disk"]["unrecorded"]) == ("disk_full", 1)
        refused = site.ask("POST", "/api/v1/jobs", json={"task": "mark", "queue": queue, "payload": {"n": 2}})
        assert refused.status_code == 507
        (site.state / "ballast").unlink()
        assert len(site.await_final(job).result or "") == 400_002
        referee = Referee(site, tmp_path / "acks.log")
        referee.judge()
        assert json.loads(site.run("explain", job, "--json").stdout)["code"] == "succeeded"
        assert daemon.stop() == 0
        site.__exit__()


def fill(site: Scratch, queue: str, fill: str) -> list[str]:
    """Let several callers submit at once until each has been refused five times; return what was accepted."""
    accepted: list[str] = []
    numbers = count(1)

    def submit() -> None:
        refused = 0
        with site.client() as client:
            while refused < 5:
                body = {"task": "bulk", "queue": queue, "payload": {"n": next(numbers), "fill": fill}}
                answer = client.post("/api/v1/jobs", json=body)
                assert answer.status_code in {202, 507}, answer.text
                if answer.status_code == 202:
                    accepted.append(answer.json()["id"])
                else:
                    refused += 1

    with ThreadPoolExecutor(8) as callers:
        for done in [callers.submit(submit) for _ in range(8)]:
            done.result()
    submit()  # alone: what was on its way is written, and its room is seen
    return accepted
