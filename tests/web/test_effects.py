"""Effects over HTTP: what is in doubt, and what a person says about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from millrace.ledger.effect_rows import EffectEnd, Intent
from millrace.ledger.rows import NewJob

if TYPE_CHECKING:
    from collections.abc import Callable

SETTLE = "/api/v1/effects/settle"


def in_doubt(rig: Any, client: str = "default") -> str:
    """Leave an effect in doubt, with a job that waits for a person; return the job."""
    moves = rig.site.ledger.moves
    moves.daemon = "test"
    moves.accept([NewJob("add", "default", '{"a":1}', client=client)]).wait()
    (held,) = moves.claim("default", 1).wait()
    moves.effect_begin(held, Intent("mail-7", "send 0")).wait()
    moves.effect_end(held, EffectEnd("mail-7", "doubt")).wait()
    moves.effect_begin(held, Intent("mail-7", "send 0", park=True)).wait()
    moves.park(held, "doubt", due_at=None, duration_s=0.1).wait()
    return str(held.job_id)


def test_an_effect_in_doubt_is_listed_and_settled(make_rig: Callable[..., Any]) -> None:
    """Its job goes on with the result that was said."""
    rig = make_rig()
    job = in_doubt(rig)
    with rig.client("viewer") as client:
        found = client.get("/api/v1/effects", params={"doubt": "true"}).json()["effects"]
        assert [(row["key"], row["status"], row["job_id"]) for row in found] == [("mail-7", "doubt", job)]
        assert client.get(f"/api/v1/jobs/{job}").json()["effects"] == found
        assert client.post(SETTLE, json={"key": "mail-7", "outcome": "done"}).status_code == 403
    with rig.client("operator") as client:
        answer = client.post(SETTLE, json={"key": "mail-7", "outcome": "done", "result": {"id": 7}})
        assert (answer.status_code, answer.json()["status"], answer.json()["result"]) == (200, "done", {"id": 7})
        assert answer.json()["settled_by"].startswith("api:")
        assert client.get(f"/api/v1/jobs/{job}").json()["status"] == "queued"
        assert client.get("/api/v1/effects", params={"doubt": "true"}).json() == {"effects": []}
        assert client.post(SETTLE, json={"key": "mail-7", "outcome": "not_done"}).status_code == 409
        assert client.post(SETTLE, json={"key": "mail-8", "outcome": "done"}).status_code == 404


def test_a_settlement_that_makes_no_sense_is_refused(make_rig: Callable[..., Any]) -> None:
    """What is said is believed, so it must be said plainly."""
    rig = make_rig()
    in_doubt(rig)
    with rig.client("operator") as client:
        for body in (
            '{"key": "mail-7"}',
            '{"key": "mail-7", "outcome": "perhaps"}',
            '{"key": "mail-7", "outcome": "not_done", "result": 1}',
            '{"key": "mail-7", "outcome": "done", "result": NaN}',
            '{"key": "mail-7", "outcome": "done", "result": "\\ud800"}',
            "{",
        ):
            answer = client.post(SETTLE, content=body, headers={"content-type": "application/json"})
            assert answer.status_code in (400, 422), body
            assert answer.headers["content-type"] == "application/problem+json"
        assert len(client.get("/api/v1/effects", params={"doubt": "true"}).json()["effects"]) == 1


def test_a_token_of_a_client_sees_and_settles_its_own(make_rig: Callable[..., Any]) -> None:
    """One client's doubts are none of another's business."""
    rig = make_rig()
    in_doubt(rig, "acme")
    with rig.client("acme_operator") as client:
        assert [row["client"] for row in client.get("/api/v1/effects").json()["effects"]] == ["acme"]
        assert client.get("/api/v1/effects", params={"client": "globex"}).status_code == 403
        assert client.post(SETTLE, json={"key": "mail-7", "outcome": "done", "client": "globex"}).status_code == 403
        assert client.post(SETTLE, json={"key": "mail-7", "outcome": "not_done"}).json()["status"] == "not_done"


def test_health_counts_what_is_in_doubt(make_rig: Callable[..., Any]) -> None:
    """It warns once a person is needed."""
    rig = make_rig()
    in_doubt(rig)
    with rig.client("viewer") as client:
        check = client.get("/health").json()["checks"]["effects"]
        assert (check["status"], check["in_doubt"], check["for_a_person"]) == ("pass", 1, 0)
        rig.site.ledger.moves.effects_to_tell().wait()
        check = client.get("/health").json()["checks"]["effects"]
        assert (check["status"], check["for_a_person"]) == ("warn", 1)
        assert "millrace effects list --doubt" in check["why"]
