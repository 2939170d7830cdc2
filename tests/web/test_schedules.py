"""Schedules over HTTP: what runs when, expected against happened, and what people do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from millrace.clock import SYSTEM
from millrace.ledger.fire_rows import Decision, NewFire

if TYPE_CHECKING:
    from collections.abc import Callable

CONFIG = """
[queues.small]
[clients.acme]
[clients.globex]
[schedules.sum]
task = "add"
payload = { a = 1 }
cron = "0 6 * * *"
clients = ["default", "acme"]
[schedules.flow]
pipeline = "parcels"
inputs = { day = "monday" }
every = "1h"
overlap = "queue"
[schedules.twice]
task = "add"
payload = { a = 1 }
cron = "0 6 * * *"
clients = ["acme", "globex"]
[schedules.odd]
task = "ad"
cron = "@daily"
"""


@pytest.fixture(scope="module")
def timed(make_rig: Callable[..., Any]) -> Any:
    """A site with schedules."""
    return make_rig(CONFIG)


def listed(rig: Any, who: str = "viewer") -> dict[str, Any]:
    """Return the schedules that somebody sees, by key."""
    with rig.client(who) as client:
        answer = client.get("/api/v1/schedules")
    assert answer.status_code == 200, answer.text
    return {row["schedule"]: row for row in answer.json()["schedules"]}


def test_the_schedules_are_listed_with_words_and_problems(timed: Any) -> None:
    """As the command line has them."""
    rows = listed(timed)
    assert sorted(rows) == ["flow", "odd", "sum", "sum@acme", "twice@acme", "twice@globex"]
    assert rows["sum"]["words"] == "every day at 06:00 UTC"
    assert len(rows["flow"]["next"]) == 3
    assert "ad" in rows["odd"]["problem"]


def test_a_client_sees_and_touches_its_own_alone(timed: Any) -> None:
    """Others' are answered like those that are not there."""
    assert list(listed(timed, "acme_viewer")) == ["sum@acme", "twice@acme"]
    with timed.client("acme_operator") as client:
        assert client.post("/api/v1/schedules/flow/pause").status_code == 404
        assert client.post("/api/v1/schedules/sum/pause").json()["schedules"][0]["schedule"] == "sum@acme"
    rows = listed(timed)
    assert (rows["sum"]["paused"], rows["sum@acme"]["paused"]) == (False, True)
    with timed.client("acme_operator") as client:
        assert not client.post("/api/v1/schedules/sum/resume").json()["schedules"][0]["paused"]


def test_a_viewer_changes_nothing(timed: Any) -> None:
    """Roles hold here too."""
    with timed.client("viewer") as client:
        for act in ("pause", "resume", "fire"):
            assert client.post(f"/api/v1/schedules/sum/{act}").status_code == 403


def test_a_fire_answers_with_its_work_and_overlap_refuses_the_next(timed: Any) -> None:
    """For each client of the schedule."""
    with timed.client() as client:
        answer = client.post("/api/v1/schedules/sum@acme/fire")
        assert answer.status_code == 202, answer.text
        (fired,) = answer.json()["fired"]
        job = client.get(f"/api/v1/jobs/{fired['id']}").json()
        assert (job["client"], job["source"]) == ("acme", {"kind": "schedule", "name": "sum"})
        assert client.post("/api/v1/schedules/sum@acme/fire").status_code == 409
        assert client.post("/api/v1/schedules/sum@acme/fire", params={"anyway": True}).status_code == 202
        (run,) = client.post("/api/v1/schedules/flow/fire").json()["fired"]
        assert client.get(f"/api/v1/runs/{run['id']}").json()["status"] == "running"
        assert client.post("/api/v1/schedules/flow/fire").json()["fired"][0]["id"] is None
        assert client.post("/api/v1/schedules/odd/fire").status_code == 422


def test_a_fire_is_for_all_clients_or_none(timed: Any) -> None:
    """Who gets 409 and asks again must not double what was started for another client."""
    with timed.client() as client:
        client.post("/api/v1/schedules/twice@globex/fire").raise_for_status()
        before = len(client.get("/api/v1/jobs").json()["jobs"])
        answer = client.post("/api/v1/schedules/twice/fire")
        assert answer.status_code == 409
        assert "twice@globex" in answer.text
        assert len(client.get("/api/v1/jobs").json()["jobs"]) == before
        fired = client.post("/api/v1/schedules/twice/fire", params={"anyway": True}).json()["fired"]
        assert [one["schedule"] for one in fired] == ["twice@acme", "twice@globex"]


def test_today_has_the_gaps(timed: Any) -> None:
    """And a client sees its own."""
    now, moves = SYSTEM.now_ms(), timed.site.ledger.moves
    state = moves.sync_schedules({"sum": "s", "sum@acme": "s", "flow": "f", "odd": "o"}).wait()["sum"]
    missed = NewFire(now - 1000, "missed", "catch_up = none")
    moves.fire(Decision("sum", "sum", "default", state.last, state.last, (missed,), alone=False)).wait()
    with timed.client("viewer") as client:
        day = client.get("/api/v1/today").json()
        assert [(gap["schedule"], gap["kind"]) for gap in day["gaps"]] == [("sum", "missed")]
        assert client.get("/api/v1/today", params={"hours": 0}).status_code == 422
    with timed.client("acme_viewer") as client:
        assert client.get("/api/v1/today").json()["gaps"] == []


def test_the_metrics_know_of_missed_fires_and_lag(timed: Any) -> None:
    """Names that dashboards hold on to."""
    with timed.client("viewer") as client:
        text = client.get("/metrics").text
        checks = client.get("/health").json()["checks"]
    assert "# TYPE millrace_missed_fires_total counter" in text
    assert "millrace_schedule_lag_seconds 0.0" in text
    assert checks["schedules"]["status"] == "pass"
