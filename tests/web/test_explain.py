"""Explanations over HTTP."""

from __future__ import annotations

from typing import Any

from tests.web.test_runs import start


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
