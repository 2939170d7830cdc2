"""Explanations over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from millrace.ledger.rows import NewJob
from tests.web.test_runs import start

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_job_is_explained(rig: Any) -> None:
    """The same codes as the command line."""
    job = rig.submit()
    rig.kill(job["id"])

    with rig.client("viewer") as client:
        answer = client.get(f"/api/v1/jobs/{job['id']}/explain")

    assert answer.status_code == 200
    found = answer.json()
    assert (found["kind"], found["code"]) == ("job", "dead.gave_up")
    assert found["change"][1]["command"] == f"millrace dead retry {job['id']}"
    described = rig.app.openapi()["components"]["schemas"]["Explanation"]
    assert set(described["required"]) == set(found)


def test_a_run_and_a_queue_are_explained(rig: Any) -> None:
    """Beside the jobs."""
    run = start(rig)

    with rig.client("viewer") as client:
        of_run = client.get(f"/api/v1/runs/{run['id']}/explain").json()
        of_queue = client.get("/api/v1/queues/small/explain").json()
        nothing = client.get("/api/v1/queues/smal/explain")

    assert (of_run["kind"], of_run["code"]) == ("run", "run.stage_queued")
    assert of_queue["facts"]["max_backlog"] == 2
    assert nothing.status_code == 404


def test_a_bound_token_learns_nothing_of_others(rig: Any) -> None:
    """Which clients there are, and how much they have in a queue, is theirs."""
    rig.submit(client="globex")
    own = rig.submit(client="acme")
    other = rig.submit(client="globex")

    with rig.client("acme_viewer") as client:
        found = client.get(f"/api/v1/jobs/{own['id']}/explain")
        refused = client.get(f"/api/v1/jobs/{other['id']}/explain")
        queue = client.get("/api/v1/queues/default/explain")

    assert found.status_code == 200
    assert "globex" not in found.text
    assert found.json()["code"] == "queued.shared"
    assert refused.status_code == 404
    assert queue.status_code == 403


def test_a_schedule_is_explained_to_those_who_may_see_it(make_rig: Callable[..., Any]) -> None:
    """A schedule of another client is not there for a token that is bound."""
    rig = make_rig(
        '[clients.acme]\n[clients.globex]\n[schedules.nightly]\ntask = "add"\ncron = "0 2 * * *"\n'
        'payload = { a = 1 }\nclients = ["acme", "globex"]\n'
    )
    with rig.client("viewer") as client:
        all_ = client.get("/api/v1/schedules/nightly/explain")
        nothing = client.get("/api/v1/schedules/weekly/explain")
    with rig.client("acme_viewer") as client:
        own = client.get("/api/v1/schedules/nightly/explain")
        other = client.get("/api/v1/schedules/nightly@globex/explain")

    assert (all_.status_code, all_.json()["kind"], all_.json()["code"]) == (200, "schedule", "schedule.never")
    assert "For client globex: " in all_.text
    assert nothing.status_code == 404
    assert own.status_code == 200
    assert "globex" not in own.text
    assert other.status_code == 404


def test_a_payload_that_waits_for_a_task_that_is_gone_meanwhile(make_rig: Callable[..., Any]) -> None:
    """As on the command line, by the job files that the daemon has read."""
    rig = make_rig()
    moves = rig.site.ledger.moves
    moves.daemon = "test"
    for task in ("renamed", "add"):
        moves.accept([NewJob(task, "default")]).wait()
    codes = {}
    for held in moves.claim("default", 2).wait():
        moves.park(held, "payload", due_at=None, duration_s=0.0).wait()
        with rig.client("viewer") as client:
            codes[held.task] = client.get(f"/api/v1/jobs/{held.job_id}/explain").json()["code"]
    assert codes == {"renamed": "waiting.unknown_task", "add": "waiting.payload"}
