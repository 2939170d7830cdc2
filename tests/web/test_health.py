"""Alive, fit, well: and the truth of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from millrace.queue.pool import PoolState

if TYPE_CHECKING:
    from collections.abc import Callable


def test_a_daemon_that_stops_is_alive_but_not_fit(make_rig: Callable[..., Any]) -> None:
    """A load balancer sends no work, a supervisor does not kill it."""
    rig = make_rig()
    with rig.client(None) as client:
        assert (client.get("/livez").status_code, client.get("/readyz").status_code) == (200, 200)
        rig.state["accepting"] = False
        ready = client.get("/readyz")
        assert (client.get("/livez").status_code, ready.status_code, ready.json()) == (200, 503, {"status": "fail"})
    with rig.client("viewer") as client:
        assert client.get("/readyz").json()["why"] == "the daemon starts or stops"


def test_a_load_balancer_may_ask_with_head(make_rig: Callable[..., Any]) -> None:
    """Many do by default, and would take a 405 for a daemon that is down."""
    rig = make_rig()
    with rig.client(None) as client:
        for path in ("/livez", "/readyz", "/health"):
            answer = client.head(path)
            assert (answer.status_code, answer.content) == (200, b""), path
        rig.state["accepting"] = False
        assert (client.head("/livez").status_code, client.head("/readyz").status_code) == (200, 503)


def test_a_part_without_progress_is_told(make_rig: Callable[..., Any]) -> None:
    """First a warning, then a failure: a hung upkeep makes no due job ready."""
    rig = make_rig()
    with rig.client("viewer") as client:
        rig.state["ages"] = {"upkeep": 12.0}
        assert (client.get("/health").status_code, client.get("/health").json()["status"]) == (200, "warn")
        rig.state["ages"] = {"upkeep": 31.0, "wake": 1.0}
        answer = client.get("/health")
        assert (answer.status_code, client.get("/readyz").status_code) == (503, 503)
        assert answer.json()["checks"]["progress"]["why"] == "upkeep has made no progress for 31s"


def test_what_fails_behind_turning_threads_is_told(make_rig: Callable[..., Any]) -> None:
    """Each is tried again and again, and all else goes on: nobody would notice."""
    rig = make_rig()
    found = {
        "progress": ("failing", {"resumed runs": "KeyError: x"}, "resumed runs fails: KeyError: x"),
        "ledger": ("refusals", (3, "PermissionError: no"), "3 attempts that have ended: PermissionError: no"),
    }
    with rig.client("viewer") as client:
        for check, (name, state, why) in found.items():
            assert client.get("/health").json()["status"] == "pass"
            rig.state[name] = state
            told = client.get("/health").json()["checks"][check]
            assert (told["status"], why in told["why"]) == ("warn", True)
            del rig.state[name]
        rig.state["conservation"].trouble = "KeyError: y"
        told = client.get("/health").json()["checks"]["conservation"]
    assert (told["status"], told["trouble"]) == ("warn", "KeyError: y")


def test_many_stuck_threads_make_it_unfit(make_rig: Callable[..., Any]) -> None:
    """A few are a nuisance; more of them mean that the pool is lost to jobs that never end."""
    rig = make_rig()
    with rig.client("viewer") as client:
        rig.state["pools"] = [PoolState("io", "thread", 2, 4, 2, 2, 3, 4)]
        assert (client.get("/health").json()["status"], client.get("/readyz").status_code) == ("warn", 200)
        rig.state["pools"] = [PoolState("io", "thread", 2, 4, 2, 2, 4, 4)]
        assert (client.get("/health").json()["status"], client.get("/readyz").status_code) == ("fail", 503)


def test_a_ledger_whose_writer_has_ended_is_a_failure(make_rig: Callable[..., Any]) -> None:
    """Nothing can be accepted any more, and whoever asks must hear it."""
    rig = make_rig()
    rig.site.ledger.writer.close()
    with rig.client("viewer") as client:
        assert client.get("/health").json()["checks"]["ledger"]["status"] == "fail"
        assert client.get("/readyz").status_code == 503
        assert client.post("/api/v1/jobs", json={}).status_code == 403
    with rig.client() as client:
        answer = client.post("/api/v1/jobs", json={"task": "add", "payload": {"a": 1}})
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:millrace:problem:ledger")


def test_health_shows_the_balance(make_rig: Callable[..., Any]) -> None:
    """Accepted equals what became of it: from the first day, for everybody who may look."""
    rig = make_rig()
    rig.submit()
    rig.submit(due_at="2099-01-01")
    with rig.client("viewer") as client:
        balance = client.get("/health").json()["checks"]["conservation"]
    assert (balance["status"], balance["accepted"], balance["queued"], balance["waiting"]) == ("pass", 2, 1, 1)
    assert balance["difference"] == 0


def test_metrics_are_prometheus_text(rig: Any) -> None:
    """As any scraper reads it."""
    with rig.client("viewer") as client:
        answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'millrace_build_info{python="' in answer.text
