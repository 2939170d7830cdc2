"""Submitting, looking, steering: the routes of jobs, queues and tasks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

URN = "urn:millrace:problem:"


def problem(answer: httpx.Response, status: int, type_: str) -> dict[str, Any]:
    """The problem document of an answer, which must have this status and type."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert (found["type"], found["status"]) == (URN + type_, status)
    assert found["title"]
    assert found["detail"]
    return found


def test_a_submission_is_answered_with_the_job_and_its_address(rig: Any) -> None:
    """202 means on disk: the address works at once."""
    with rig.client() as client:
        answer = client.post(
            "/api/v1/jobs",
            json={
                "task": "add",
                "payload": {"a": 1},
                "client": "acme",
                "priority": 7,
                "due_at": "2099-01-01T00:00:00Z",
            },
            headers={"X-Correlation-Id": "order-17"},
        )
        job = answer.json()

        assert answer.status_code == 202
        assert answer.headers["location"] == f"/api/v1/jobs/{job['id']}"
        assert (job["status"], job["reason"], job["due_at"]) == ("waiting", "due", "2099-01-01T00:00:00.000Z")
        assert (job["client"], job["priority"], job["correlation_id"]) == ("acme", 7, "order-17")
        assert job["source"] == {"kind": "api", "name": "operator"}
        shown = client.get(answer.headers["location"]).json()
        assert {name: shown[name] for name in job} == job
        assert (shown["attempts"], shown["events"]) == ([], [])


def test_a_known_key_returns_the_job_that_exists(rig: Any) -> None:
    """A caller that heard no answer may send again without making a second job."""
    body = {"task": "add", "payload": {"a": 3}}
    with rig.client() as client:
        first = client.post("/api/v1/jobs", json={**body, "key": "invoice-3"})
        again = client.post("/api/v1/jobs", json=body, headers={"Idempotency-Key": "invoice-3"})
        both = client.post("/api/v1/jobs", json={**body, "key": "invoice-3"}, headers={"Idempotency-Key": "invoice-3"})

    assert (first.status_code, again.status_code, both.status_code) == (202, 200, 200)
    assert first.json()["id"] == again.json()["id"] == both.json()["id"]
    assert again.headers["location"] == first.headers["location"]


def test_a_key_with_another_payload_is_refused_and_names_the_job(rig: Any) -> None:
    """Returning the old job would tell the caller that its new payload was accepted."""
    job = rig.submit(key="k-9")
    with rig.client() as client:
        answer = client.post("/api/v1/jobs", json={"task": "add", "payload": {"a": 2}, "key": "k-9"})
    assert problem(answer, 409, "key-conflict")["job_id"] == job["id"]


BAD_BODIES: dict[str, tuple[str | bytes, list[str]]] = {
    "empty": ("", ["body"]),
    "no JSON": ("{'task': 1}", ["body"]),
    "a list": ("[]", ["body"]),
    "no UTF-8": (b'{"task": "\xff"}', ["body"]),
    "no task": ("{}", ["task"]),
    "unknown task": ('{"task": "ad"}', ["task"]),
    "unknown queue": ('{"task": "add", "payload": {"a": 1}, "queue": "smal"}', ["queue"]),
    "unknown client": ('{"task": "add", "payload": {"a": 1}, "client": "acm"}', ["client"]),
    "unknown field": ('{"task": "add", "payload": {"a": 1}, "prioriti": 1}', ["prioriti"]),
    "priority as text": ('{"task": "add", "payload": {"a": 1}, "priority": "1"}', ["priority"]),
    "priority as truth": ('{"task": "add", "payload": {"a": 1}, "priority": true}', ["priority"]),
    "priority too high": ('{"task": "add", "payload": {"a": 1}, "priority": 99999999}', ["priority"]),
    "no time": ('{"task": "add", "payload": {"a": 1}, "due_at": "tomorrow"}', ["due_at"]),
    "time as number": ('{"task": "add", "payload": {"a": 1}, "due_at": 17}', ["due_at"]),
    "empty key": ('{"task": "add", "payload": {"a": 1}, "key": ""}', ["key"]),
    "long key": (json.dumps({"task": "add", "payload": {"a": 1}, "key": "k" * 256}), ["key"]),
    "payload is a list": ('{"task": "add", "payload": [1]}', ["payload"]),
    "payload is null": ('{"task": "add", "payload": null}', ["payload.a"]),
    "missing field": ('{"task": "add", "payload": {}}', ["payload.a"]),
    "missing payload": ('{"task": "add"}', ["payload.a"]),
    "wrong type": ('{"task": "add", "payload": {"a": "1"}}', ["payload.a"]),
    "out of bounds": ('{"task": "add", "payload": {"a": 1, "b": -1}}', ["payload.b"]),
    "extra fields": ('{"task": "add", "payload": {"a": 1, "c": 1, "d": 1}}', ["payload.c", "payload.d"]),
    "NaN": ('{"task": "add", "payload": {"a": NaN}}', ["payload.a"]),
    "infinity": ('{"task": "add", "payload": {"a": 1, "b": -Infinity}}', ["payload.b"]),
    "lone surrogate": ('{"task": "add", "payload": {"a": 1, "note": "\\ud800"}}', ["payload.note"]),
    "duplicate key": ('{"task": "add", "payload": {"a": 1, "a": 2}}', ["payload.a"]),
    "duplicate task": ('{"task": "add", "task": "slow", "payload": {"a": 1}}', ["task"]),
    "too deep": ('{"task": "add", "payload": ' + "[" * 5000 + "]" * 5000 + "}", ["body"]),
    "too many digits": ('{"task": "add", "payload": {"a": ' + "9" * 5000 + "}}", ["body"]),
}


@pytest.mark.parametrize("case", BAD_BODIES)
def test_a_bad_submission_is_refused_with_the_field(rig: Any, case: str) -> None:
    """Who sends it learns what to mend, all of it at once, and nothing is kept."""
    body, fields = BAD_BODIES[case]
    before = sum(tally.accepted for tally in rig.site.ledger.reads.tallies())
    with rig.client() as client:
        answer = client.post("/api/v1/jobs", content=body)

    found = problem(
        answer, 422, "unknown-task" if case.startswith("unknown ") and case != "unknown field" else "payload"
    )
    assert [error["field"] for error in found["errors"]] == fields
    assert all(error["reason"] for error in found["errors"])
    assert sum(tally.accepted for tally in rig.site.ledger.reads.tallies()) == before


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ('{"task": "ad"}', 'Did you mean "add"?'),
        ('{"task": "add", "payload": {"a": 1}, "prioriti": 1}', 'Did you mean "priority"?'),
        ('{"task": "add", "payload": {"a": 1, "not": ""}}', 'Did you mean "note"?'),
        ('{"task": "add", "payload": {"a": 1}, "queue": "smal"}', 'Did you mean "small"?'),
    ],
)
def test_a_typing_error_gets_a_suggestion(rig: Any, body: str, hint: str) -> None:
    """The nearest name is nearly always the one that was meant."""
    with rig.client() as client:
        assert client.post("/api/v1/jobs", content=body).json()["errors"][0]["suggestion"] == hint


def test_two_different_keys_are_refused(rig: Any) -> None:
    """Whichever was taken, the caller could mean the other."""
    body = {"task": "add", "payload": {"a": 1}, "key": "one"}
    with rig.client() as client:
        answer = client.post("/api/v1/jobs", json=body, headers={"Idempotency-Key": "two"})
    assert [error["field"] for error in problem(answer, 422, "payload")["errors"]] == ["key"]


def test_a_full_queue_says_when_to_come_back(make_rig: Callable[..., Any]) -> None:
    """The bound of the queue holds over HTTP too, and 503 without a time makes clients hammer."""
    rig = make_rig()
    with rig.client() as client:
        for _ in range(2):
            assert client.post("/api/v1/jobs", json={"task": "slow", "payload": {"seconds": 1}}).status_code == 202
        answer = client.post("/api/v1/jobs", json={"task": "slow", "payload": {"seconds": 1}})
    problem(answer, 503, "overloaded")
    assert int(answer.headers["retry-after"]) >= 1


def test_pages_hold_each_job_once(make_rig: Callable[..., Any]) -> None:
    """Keyset pages: a job that comes in between two pages moves none of the others."""
    rig = make_rig()
    ids = [rig.submit(payload={"a": number})["id"] for number in range(7)]
    seen: list[str] = []
    after: dict[str, str] = {}
    with rig.client("viewer") as client:
        while True:
            page = client.get("/api/v1/jobs", params={"limit": 3, **after}).json()
            seen += [job["id"] for job in page["jobs"]]
            if page["next"] is None:
                break
            after = {"after": page["next"]}
            rig.submit(payload={"a": 99})
    assert seen == ids[::-1]


def test_filters_choose(make_rig: Callable[..., Any]) -> None:
    """The filters are those of the command line."""
    rig = make_rig()
    acme = rig.submit(client="acme")["id"]
    small = rig.submit(queue="small")["id"]
    later = rig.submit(due_at="2099-01-01")["id"]
    dead = rig.submit()["id"]
    rig.kill(dead)

    def found(http: httpx.Client, path: str = "/api/v1/jobs", /, **params: str) -> list[str]:
        return [job["id"] for job in http.get(path, params=params).raise_for_status().json()["jobs"]]

    with rig.client("viewer") as client:
        assert found(client, client="acme") == [acme]
        assert found(client, queue="small") == [small]
        assert found(client, status="waiting") == [later]
        assert found(client, status="dead") == found(client, "/api/v1/dead") == [dead]
        assert found(client, since="1h") == [dead, later, small, acme]
        assert found(client, since="2099-01-01T00:00:00+00:00") == []
        assert found(client, task="slow") == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("staus=dead", "staus"),
        ("status=deaf", "status"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=many", "limit"),
        ("since=yesterday", "since"),
        ("after=123", "after"),
        ("task=ad", "task"),
        ("queue=nope", "queue"),
        ("client=nope", "client"),
    ],
)
def test_a_wrong_filter_is_refused(rig: Any, query: str, field: str) -> None:
    """A filter that is misspelt would show everything, or nothing, and look right."""
    with rig.client("viewer") as client:
        answer = client.get(f"/api/v1/jobs?{query}")
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_a_job_shows_its_history(make_rig: Callable[..., Any]) -> None:
    """Dead letters are decided on with everything that happened in view."""
    rig = make_rig()
    job_id = rig.submit()["id"]
    rig.kill(job_id)
    with rig.client() as client:
        shown = client.get(f"/api/v1/jobs/{job_id[:13]}").json()
        assert (shown["id"], shown["status"], shown["error"]["message"]) == (job_id, "dead", "no good")
        assert [attempt["outcome"] for attempt in shown["attempts"]] == ["gave_up"]

        back = client.post(f"/api/v1/jobs/{job_id}/retry")
        assert (back.status_code, back.json()["status"], back.json()["failures"]) == (200, "queued", 0)
        events = client.get(f"/api/v1/jobs/{job_id}").json()["events"]
    assert ("requeue", "api:operator") in [(event["event"], event["actor"]) for event in events]


def test_a_job_is_cancelled(make_rig: Callable[..., Any]) -> None:
    """One that waits at once, one that runs as soon as it is stopped; one that is over not at all."""
    rig = make_rig()
    queued, running = rig.submit()["id"], rig.submit(queue="small")["id"]
    rig.site.ledger.moves.daemon = "test"
    rig.site.ledger.moves.claim("small", 1).wait()
    with rig.client() as client:
        assert client.post(f"/api/v1/jobs/{queued}/cancel").json()["status"] == "cancelled"
        asked = client.post(f"/api/v1/jobs/{running}/cancel")
        assert (asked.status_code, asked.json()["status"]) == (202, "running")
        problem(client.post(f"/api/v1/jobs/{queued}/cancel"), 409, "wrong-status")
        problem(client.post(f"/api/v1/jobs/{running}/retry"), 409, "wrong-status")


def test_a_dead_job_is_discarded(make_rig: Callable[..., Any]) -> None:
    """The decision is kept with its reason."""
    rig = make_rig()
    job_id = rig.submit()["id"]
    rig.kill(job_id)
    with rig.client() as client:
        answer = client.post(f"/api/v1/jobs/{job_id}/discard", params={"reason": "customer left"})
        assert answer.json()["status"] == "cancelled"
        assert "customer left" in json.dumps(client.get(f"/api/v1/jobs/{job_id}").json()["events"])


@pytest.mark.parametrize("verb", ["", "/retry", "/cancel", "/discard"])
def test_an_unknown_job_is_not_found(rig: Any, verb: str) -> None:
    """Also when the id is no id at all."""
    with rig.client() as client:
        for job_id in ("0199c0de-0000-7000-8000-000000000000", "nonsense"):
            path = f"/api/v1/jobs/{job_id}{verb}"
            problem(client.post(path) if verb else client.get(path), 404, "not-found")


def test_a_queue_is_paused_and_resumed(make_rig: Callable[..., Any]) -> None:
    """Doing either twice is no error: scripts repeat themselves."""
    rig = make_rig()
    rig.submit()
    with rig.client() as client:
        for _ in range(2):
            answer = client.post("/api/v1/queues/default/pause")
            assert (answer.status_code, answer.json()["paused"], answer.json()["queued"]) == (200, True, 1)
        listed = {queue["queue"]: queue for queue in client.get("/api/v1/queues").json()["queues"]}
        assert (listed["default"]["paused"], listed["small"]["paused"]) == (True, False)
        assert listed["small"]["max_backlog"] == 2
        assert client.post("/api/v1/queues/default/resume").json()["paused"] is False
        assert 'Did you mean "small"' in problem(client.post("/api/v1/queues/smal/pause"), 404, "not-found")["detail"]


def test_tasks_are_described(rig: Any) -> None:
    """What a form or a client library needs: parameters with types, bounds and defaults."""
    with rig.client("viewer") as client:
        tasks = {task["name"]: task for task in client.get("/api/v1/tasks").json()["tasks"]}
    assert tasks["add"]["summary"] == "Add two numbers."
    assert [parameter["name"] for parameter in tasks["add"]["parameters"]] == ["a", "b", "note"]
    assert tasks["add"]["schema"]["properties"]["b"]["minimum"] == 0


def test_the_description_covers_every_route(rig: Any) -> None:
    """OpenAPI 3.1, open to all, complete: each route with a summary, its answers, and whether it wants a token."""
    with rig.client(None) as client:
        document = client.get("/api/openapi.json").raise_for_status().json()

    assert document["openapi"].startswith("3.1")
    assert {"/api/v1/jobs", "/api/v1/jobs/batch", "/api/v1/jobs/{job_id}", "/metrics", "/readyz"} <= set(
        document["paths"]
    )
    operations = [operation for path in document["paths"].values() for operation in path.values()]
    assert all(operation["summary"] and operation["responses"] for operation in operations)
    guarded = {path for path, verbs in document["paths"].items() for one in verbs.values() if one.get("security")}
    assert guarded == set(document["paths"]) - {"/livez", "/readyz", "/health", "/boom"}
    names = set(document["components"]["schemas"])
    used = {part.split('"')[0] for part in json.dumps(document).split("#/components/schemas/")[1:]}
    assert used <= names
