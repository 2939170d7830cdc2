"""What goes wrong outside the routes: no route, another method, too large, a bug of ours."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from millrace.errors import KeyConflict, LedgerBusy, LedgerFull, MillraceError, Overloaded
from millrace.events import RequestFailed
from millrace.web.problems import TITLES, answer_of, document_of

if TYPE_CHECKING:
    from collections.abc import Iterator

URN = "urn:millrace:problem:"


def test_an_unknown_address_and_a_wrong_method_are_problems_too(rig: Any) -> None:
    """A client parses one form of error, whoever made it."""
    with rig.client() as client:
        nowhere, method = client.get("/api/v1/nope"), client.put("/api/v1/jobs")
    assert (nowhere.status_code, nowhere.json()["type"]) == (404, URN + "no-route")
    assert (method.status_code, method.json()["type"]) == (405, URN + "method-not-allowed")
    assert {nowhere.headers["content-type"], method.headers["content-type"]} == {"application/problem+json"}
    assert "POST" in method.headers["allow"] or "GET" in method.headers["allow"]


def test_all_json_is_compact_and_ends_its_line(rig: Any) -> None:
    """Answers are read with curl, logged line by line and compared: one form, whoever made it."""
    with rig.client() as client:
        job = client.post("/api/v1/jobs", json={"task": "add", "payload": {"a": 1}})
        answers = [job, client.post("/api/v1/jobs", json={}), client.get("/nope")]
        paths = ("/livez", "/readyz", "/health", "/api/openapi.json", "/api/v1/jobs", "/api/v1/tasks", "/api/v1/queues")
        answers += [client.get(path) for path in (*paths, f"/api/v1/jobs/{job.json()['id']}")]
        batch = client.post("/api/v1/jobs/batch", content=b'{"task":"add","payload":{"a":1}}\n{}\n')
    for answer in answers:
        compact = json.dumps(answer.json(), ensure_ascii=False, separators=(",", ":"))
        assert answer.text == compact + "\n", answer.url
    for line in batch.text.splitlines(keepends=True):
        assert line == json.dumps(json.loads(line), separators=(",", ":")) + "\n"


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("limit=0", 'limit: must be greater than or equal to 1, got "0"'),
        ("limit=many", 'limit: must be a valid integer, got "many"'),
        ("state=dead", "state: is no parameter here: see /api/openapi.json"),
        ("after=01a2", 'after: must be the id of a job in full, got "01a2"'),
        (
            "status=done",
            "status: must be 'waiting', 'queued', 'running', 'succeeded', 'dead' or 'cancelled'",
        ),
    ],
)
def test_a_parameter_that_does_not_fit_is_told_as_a_sentence(rig: Any, query: str, told: str) -> None:
    """Not in the words of the library that found it."""
    with rig.client() as client:
        answer = client.get(f"/api/v1/jobs?{query}")
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(told)


def test_a_bug_is_logged_and_not_shown(rig: Any) -> None:
    """The traceback belongs to the log; a stranger learns nothing from it."""
    with rig.client(None) as client:
        answer = client.get("/boom")
        assert client.get("/livez").status_code == 200
    assert (answer.status_code, answer.json()["type"]) == (500, URN + "bug")
    assert "secret" not in answer.text
    logged = [event for event in rig.events if isinstance(event, RequestFailed)]
    assert [(event.method, event.path, event.error) for event in logged] == [
        ("GET", "/boom", "RuntimeError: the secret is 42")
    ]
    assert "in boom" in logged[0].traceback


def too_much() -> Iterator[bytes]:
    """A body five times as large as the site takes, in chunks."""
    for _ in range(100):
        yield b"[" * 1000


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_above_the_limit_is_refused_while_it_arrives(rig: Any, *, announced: bool) -> None:
    """Whether its length is announced or it comes in chunks; the client hears why, not a broken connection."""
    with rig.client() as client:
        answer = client.post("/api/v1/jobs", content=b"[" * 100_000 if announced else too_much())
        assert (answer.status_code, answer.json()["type"]) == (413, URN + "too-large")
        assert "20,000 bytes" in answer.json()["detail"]
        assert client.get("/livez").status_code == 200


def test_a_body_at_the_limit_is_taken(rig: Any) -> None:
    """The bound is the most that is allowed, not the first that is not."""
    frame = '{"task":"add","payload":{"a":1,"note":""}}'
    note = "x" * (20_000 - len(frame))
    with rig.client() as client:
        body = frame.replace('""', f'"{note}"')
        assert client.post("/api/v1/jobs", content=body).status_code == 202
        assert client.post("/api/v1/jobs", content=body.replace(note, note + "x")).status_code == 413


def test_a_length_that_lies_holds_up_nobody_else(rig: Any) -> None:
    """A body that never comes keeps its own connection waiting, and no thread."""
    head = f"POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {rig.tokens['operator']}\r\n"
    with socket.create_connection(("127.0.0.1", rig.server.port), 10) as plain:
        plain.sendall(f"{head}Content-Length: 500\r\n\r\n".encode() + b'{"task"')
        for _ in range(10):
            rig.submit()
    with rig.client() as client:
        assert client.get("/livez").status_code == 200
    assert not [event for event in rig.events if isinstance(event, RequestFailed) and event.path != "/boom"]


def test_answers_are_neither_cached_nor_guessed_at(rig: Any) -> None:
    """A proxy must not keep what a token opened."""
    with rig.client() as client:
        headers = client.get("/api/v1/jobs").headers
    assert headers["cache-control"] == "no-store"
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


def test_a_full_disk_and_a_busy_ledger_have_their_own_status() -> None:
    """507 wants an operator, 503 wants patience; clients treat them differently."""
    full, busy = answer_of(LedgerFull("full")), answer_of(LedgerBusy("busy"))
    over = answer_of(Overloaded("queue full", retry_after_s=4.2))
    assert (full.status_code, busy.status_code, over.status_code) == (507, 503, 503)
    assert (busy.headers["retry-after"], over.headers["retry-after"]) == ("1", "5")


def every(kind: type[MillraceError]) -> Iterator[type[MillraceError]]:
    """Walk the tree of errors."""
    yield kind
    for below in kind.__subclasses__():
        yield from every(below)


def test_every_error_that_may_leave_has_a_title() -> None:
    """A type without a title is one that nobody has described."""
    leaving = {
        kind.type for kind in every(MillraceError) if kind.__module__ == "millrace.errors" and kind.http_status != 500
    } | {"ledger", "bug"}
    assert leaving <= set(TITLES)


def test_a_conflict_names_the_job() -> None:
    """The caller can look at what its key belongs to."""
    found = document_of(KeyConflict("used", job_id="0199"))
    assert (found["status"], found["type"], found["job_id"]) == (409, URN + "key-conflict", "0199")
    assert "run_id" not in found
    found = document_of(KeyConflict("used", run_id="0199"))
    assert (found["run_id"], "job_id" in found) == ("0199", False)
