"""Runs of pipelines over HTTP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from millrace.ledger.rows import JobError
from millrace.ledger.run_rows import Item

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

START = "/api/v1/pipelines/parcels/runs"
ROOMY = "[queues.small]\n[clients.acme]\n[clients.globex]\n"


def problem(answer: httpx.Response, status: int, type_: str) -> Any:
    """Return the problem document of an answer, which must be one of that type."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"] == f"urn:millrace:problem:{type_}"
    return answer.json()


def start(rig: Any, **given: Any) -> dict[str, Any]:
    """Start a run of the parcels."""
    with rig.client() as client:
        answer = client.post(START, json={"inputs": {"day": "monday"}, **given})
    assert answer.status_code == 202, answer.text
    run: dict[str, Any] = answer.json()
    return run


def claim(rig: Any, run: dict[str, Any], stage: str, queue: str = "default") -> list[Any]:
    """Claim what a queue has, as a daemon would; return the jobs of a stage of a run."""
    rig.site.ledger.moves.daemon = "test"
    claims = rig.site.ledger.moves.claim(queue, 100).wait()
    return [one for one in claims if one.run_id == run["id"] and one.stage == stage]


def with_a_dead_record(rig: Any, run: dict[str, Any]) -> str:
    """Let a run come to two records, one priced and one dead, and its total; return the id of the dead job."""
    moves = rig.site.ledger.moves
    (source,) = claim(rig, run, "parcel", "small")
    moves.emit(source, [Item("1"), Item("2")], position=2, chain="c", begun=0).wait()
    moves.succeed(source, '{"records":2,"bad":0}', duration_s=0.1).wait()
    first, second = sorted(claim(rig, run, "price"), key=lambda held: int(held.record))
    moves.succeed(first, "2", duration_s=0.1).wait()
    moves.give_up(second, JobError("ValueError", "too dear"), duration_s=0.1, cause="gave up").wait()
    (total,) = claim(rig, run, "total")
    moves.succeed(total, "2", duration_s=0.1).wait()
    return str(second.job_id)


def test_a_run_is_answered_with_its_address(rig: Any) -> None:
    """202 means that it is on disk; whoever started it follows the address."""
    with rig.client() as client:
        answer = client.post(START, json={"inputs": {"day": "monday"}, "client": "acme", "priority": 3})
        assert answer.status_code == 202
        run = answer.json()
        assert answer.headers["location"] == f"/api/v1/runs/{run['id']}"
        shown = client.get(answer.headers["location"]).json()
    told = {name: run[name] for name in ("pipeline", "client", "status", "inputs", "counts", "finished_at")}
    assert told == {
        "pipeline": "parcels",
        "client": "acme",
        "status": "running",
        "inputs": {"day": "monday", "rate": 2},
        "counts": {"parcel": {"queued": 1}, "price": {}, "total": {}},
        "finished_at": None,
    }
    assert {name: shown[name] for name in run} == run
    assert [stage["name"] for stage in shown["stages"]] == ["parcel", "price", "total"]


def test_a_key_makes_it_safe_to_send_again(make_rig: Callable[..., Any]) -> None:
    """The header means the same as the field; other inputs under the same key are a conflict that names the run."""
    rig = make_rig()
    run = start(rig, key="monday")
    with rig.client() as client:
        again = client.post(START, json={"inputs": {"day": "monday"}}, headers={"Idempotency-Key": "monday"})
        assert (again.status_code, again.json()["id"]) == (200, run["id"])
        other = client.post(START, json={"inputs": {"day": "sunday"}, "key": "monday"})
        assert problem(other, 409, "key-conflict")["run_id"] == run["id"]
        both = client.post(START, json={"inputs": {"day": "monday"}, "key": "a"}, headers={"Idempotency-Key": "b"})
        assert [error["field"] for error in problem(both, 422, "payload")["errors"]] == ["key"]


BAD: dict[str, tuple[str, list[str]]] = {
    "empty": ("", ["body"]),
    "a list": ("[]", ["body"]),
    "no inputs": ("{}", ["inputs.day"]),
    "wrong type": ('{"inputs": {"day": 1}}', ["inputs.day"]),
    "unknown input": ('{"inputs": {"day": "monday", "rat": 1}}', ["inputs.rat"]),
    "inputs are a list": ('{"inputs": [1]}', ["inputs"]),
    "unknown field": ('{"inputs": {"day": "monday"}, "payload": {}}', ["payload"]),
    "a queue": ('{"inputs": {"day": "monday"}, "queue": "small"}', ["queue"]),
    "unknown client": ('{"inputs": {"day": "monday"}, "client": "acm"}', ["client"]),
    "priority as text": ('{"inputs": {"day": "monday"}, "priority": "1"}', ["priority"]),
    "NaN": ('{"inputs": {"day": "monday", "rate": NaN}}', ["inputs.rate"]),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_inputs_are_refused_with_the_field(rig: Any, case: str) -> None:
    """Who starts it learns what to mend, and nothing is started."""
    body, fields = BAD[case]
    with rig.client() as client:
        before = client.get("/api/v1/runs").json()["runs"]
        answer = client.post(START, content=body)
        found = problem(answer, 422, "unknown-task" if case == "unknown client" else "payload")
        assert [error["field"] for error in found["errors"]] == fields
        assert client.get("/api/v1/runs").json()["runs"] == before


def test_an_unknown_pipeline_is_no_address(rig: Any) -> None:
    """With a suggestion; a task is told from a pipeline."""
    with rig.client() as client:
        answer = client.post("/api/v1/pipelines/parcel/runs", json={"inputs": {}})
        assert 'Did you mean "parcels"?' in problem(answer, 404, "not-found")["detail"]
        assert 'Did you mean "parcels"?' in problem(client.get("/api/v1/pipelines/parcel"), 404, "not-found")["detail"]
        assert "is a task" in problem(client.get("/api/v1/pipelines/add"), 404, "not-found")["detail"]


def test_a_stage_is_not_submitted_by_itself(rig: Any) -> None:
    """Its arguments come from its run; the answer says how to get one."""
    with rig.client() as client:
        found = problem(client.post("/api/v1/jobs", json={"task": "parcels.price"}), 422, "unknown-task")
    assert found["errors"][0]["field"] == "task"
    assert "millrace run parcels" in found["detail"]


def test_a_full_queue_says_when_to_come_back(make_rig: Callable[..., Any]) -> None:
    """The bound of the first stage's queue holds for runs; what accepted ones give rise to is never refused."""
    rig = make_rig()
    start(rig)
    start(rig)
    with rig.client() as client:
        answer = client.post(START, json={"inputs": {"day": "monday"}})
    problem(answer, 503, "overloaded")
    assert int(answer.headers["retry-after"]) >= 1


def test_pipelines_are_listed_and_shown(rig: Any) -> None:
    """What can be run, for programs and for drawings."""
    with rig.client("viewer") as client:
        listed = client.get("/api/v1/pipelines").json()
        assert [one["name"] for one in listed["pipelines"]] == ["parcels"]
        assert listed["problems"] == []
        shown = client.get("/api/v1/pipelines/parcels").json()
        assert "parcels" not in [task["name"] for task in client.get("/api/v1/tasks").json()["tasks"]]
    assert shown == listed["pipelines"][0]
    assert [(one["name"], one["required"]) for one in shown["inputs"]] == [("day", True), ("rate", False)]
    assert [(one["name"], one["kind"]) for one in shown["stages"]] == [
        ("parcel", "fanout"),
        ("price", "stage"),
        ("total", "collect"),
    ]
    assert shown["mermaid"].startswith("flowchart TD")


def test_runs_are_listed_in_pages_and_filtered(make_rig: Callable[..., Any]) -> None:
    """Keyset pages: a run that comes in between two pages moves none of the others."""
    rig = make_rig(ROOMY)
    ids = [start(rig)["id"] for _ in range(3)]
    own = start(rig, client="acme")["id"]
    with rig.client("viewer") as client:
        first = client.get("/api/v1/runs", params={"limit": 2}).json()
        assert [run["id"] for run in first["runs"]] == [own, ids[2]]
        start(rig)
        second = client.get("/api/v1/runs", params={"limit": 2, "after": first["next"]}).json()
        assert ([run["id"] for run in second["runs"]], second["next"]) == (ids[1::-1], None)

        def found(**params: str) -> list[str]:
            return [run["id"] for run in client.get("/api/v1/runs", params=params).json()["runs"]]

        assert found(client="acme") == [own]
        assert len(found(pipeline="parcels", status="running", since="1h")) == 5
        assert found(status="failed") == found(since="2099-01-01") == []
        unborn = client.get("/api/v1/jobs", params={"task": "parcels.total"})  # a stage that has had no job yet
        assert (unborn.status_code, unborn.json()["jobs"]) == (200, [])


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("pipline=parcels", "pipline"),
        ("pipeline=parcel", "pipeline"),
        ("status=dead", "status"),
        ("client=nope", "client"),
        ("limit=0", "limit"),
        ("since=yesterday", "since"),
        ("after=1", "after"),
    ],
)
def test_a_wrong_filter_is_refused(rig: Any, query: str, field: str) -> None:
    """A filter that is misspelt would show everything, or nothing, and look right."""
    with rig.client("viewer") as client:
        answer = client.get(f"/api/v1/runs?{query}")
    assert answer.status_code == 422
    assert [error["field"] for error in answer.json()["errors"]] == [field]


def test_a_partial_run_shows_what_died_and_is_resumed(make_rig: Callable[..., Any]) -> None:
    """Counts per stage, the dead with their error, and one request to put them back; then there is nothing to do."""
    rig = make_rig()
    run = start(rig)
    dead = with_a_dead_record(rig, run)
    with rig.client() as client:
        shown = client.get(f"/api/v1/runs/{run['id'][:18]}").json()
        assert (shown["status"], shown["records"]) == ("partial", {"parcel": 2})
        assert shown["counts"]["price"] == {"succeeded": 1, "dead": 1}
        assert [(one["id"], one["stage"], one["record"], one["error"]["message"]) for one in shown["dead"]] == [
            (dead, "price", "2", "too dear")
        ]
        resumed = client.post(f"/api/v1/runs/{run['id']}/resume")
        assert (resumed.status_code, resumed.json()["status"]) == (202, "running")
        assert resumed.json()["counts"]["price"] == {"succeeded": 1, "queued": 1}
        found = problem(client.post(f"/api/v1/runs/{run['id']}/resume"), 409, "wrong-status")
        assert "is running" in found["detail"]
    asked = [row for row in rig.site.ledger.reads.audit() if row.action == "run.resume"]
    assert [(row.actor, row.subject) for row in asked] == [("api:operator", run["id"])], "once, and not for the refusal"


def test_a_job_of_a_stage_shows_the_arguments_that_it_gets(make_rig: Callable[..., Any]) -> None:
    """Its own payload is empty: a value is stored once, with the job that made it."""
    rig = make_rig()
    run = start(rig)
    dead = with_a_dead_record(rig, run)
    with rig.client("viewer") as client:
        shown = client.get(f"/api/v1/jobs/{dead}").json()
    assert (shown["payload"], shown["record"], shown["progress"]) == ({"parcel": 2, "rate": 2}, "2", None)


def test_a_run_is_cancelled_and_cannot_be_twice(make_rig: Callable[..., Any]) -> None:
    """What waits is cancelled at once; a run that is over is refused with its status."""
    rig = make_rig()
    run = start(rig)
    with rig.client() as client:
        answer = client.post(f"/api/v1/runs/{run['id']}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
        assert answer.json()["counts"]["parcel"] == {"cancelled": 1}
        problem(client.post(f"/api/v1/runs/{run['id']}/cancel"), 409, "wrong-status")
        assert client.post(f"/api/v1/runs/{run['id']}/resume").json()["status"] == "running"


def test_a_run_whose_jobs_run_is_asked_to_end(make_rig: Callable[..., Any]) -> None:
    """202: the daemon has yet to stop them."""
    rig = make_rig()
    run = start(rig)
    assert claim(rig, run, "parcel", "small")
    with rig.client() as client:
        answer = client.post(f"/api/v1/runs/{run['id']}/cancel")
    assert (answer.status_code, answer.json()["status"], answer.json()["cancel_requested"]) == (202, "running", True)


def test_a_token_of_one_client_sees_and_starts_only_its_own(make_rig: Callable[..., Any]) -> None:
    """Not even that a run exists: an unknown id and another client's give the same answer."""
    rig = make_rig(ROOMY)
    other = start(rig, client="globex")["id"]
    unknown = "0199c0de-0000-7000-8000-000000000000"
    with rig.client("acme_operator") as client:
        own = client.post(START, json={"inputs": {"day": "monday"}}).json()
        assert own["client"] == "acme"
        assert client.post(START, json={"inputs": {"day": "monday"}, "client": "globex"}).status_code == 403
        assert [run["id"] for run in client.get("/api/v1/runs").json()["runs"]] == [own["id"]]
        assert client.get("/api/v1/runs", params={"client": "globex"}).status_code == 403
        for verb, path in (("GET", ""), ("POST", "/cancel"), ("POST", "/resume")):
            answers = [client.request(verb, f"/api/v1/runs/{run_id}{path}") for run_id in (other, unknown)]
            assert [answer.status_code for answer in answers] == [404, 404]
            assert answers[0].text.replace(other, "ID") == answers[1].text.replace(unknown, "ID")


def test_an_end_is_counted_and_told(make_rig: Callable[..., Any], until: Callable[..., Any]) -> None:
    """Events of runs reach the log and the metrics."""
    rig = make_rig()
    run = start(rig)
    with_a_dead_record(rig, run)
    until(lambda: any(event.EVENT == "run.ended" for event in rig.events))  # it is told after the commit
    told = {event.EVENT: event for event in rig.events if event.EVENT.startswith("run.")}
    assert (told["run.started"].run_id, told["run.started"].source) == (run["id"], "api")
    assert (told["run.ended"].run_id, told["run.ended"].status) == (run["id"], "partial")
    with rig.client("viewer") as client:
        assert 'millrace_runs_total{pipeline="parcels",status="partial"} 1.0' in client.get("/metrics").text
