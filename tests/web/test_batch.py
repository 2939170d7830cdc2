"""Many submissions in one request."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import TYPE_CHECKING, Any

from fastapi import Request

from millrace.web.batch import CHUNK_BYTES, _groups

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import httpx

PATH = "/api/v1/jobs/batch"


LARGE_LINE = 950_000


def line(number: int, **more: Any) -> bytes:
    """One submission."""
    return json.dumps({"task": "add", "payload": {"a": number}, **more}).encode() + b"\n"


def verdicts(answer: httpx.Response) -> list[dict[str, Any]]:
    """What became of each line."""
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("application/x-ndjson")
    return [json.loads(text) for text in answer.text.splitlines()]


def test_each_line_gets_its_own_verdict(make_rig: Callable[..., Any]) -> None:
    """One bad record must not stop the rest, and its number says which one it was."""
    rig = make_rig()
    body = (
        line(1)
        + b"\n"
        + b'{"task": "ad"}\n'
        + line(2, key="k")
        + line(2, key="k")
        + line(3, key="k")
        + b"no json\n"
        + b'{"task": "add", "payload": {"a": 1, "a": 2}}\n'
        + line(4, note="x" * 30_000)
        + line(5).rstrip()
    )
    with rig.client() as client:
        found = verdicts(client.post(PATH, content=body))
        jobs = client.get("/api/v1/jobs").json()["jobs"]

    assert [(one["line"], one["status"]) for one in found] == [
        (1, 202), (3, 422), (4, 202), (5, 200), (6, 409), (7, 422), (8, 422), (9, 413), (10, 202),
    ]  # fmt: skip
    assert found[2]["id"] == found[3]["id"]
    assert found[4]["problem"]["job_id"] == found[2]["id"]
    assert {job["id"] for job in jobs} == {found[0]["id"], found[2]["id"], found[-1]["id"]}
    assert found[5]["problem"]["errors"][0]["field"] == "body"


def test_a_body_far_above_the_limit_of_a_request_streams_through(make_rig: Callable[..., Any]) -> None:
    """The limit is one of lines: a month's records are one request, read and written in pieces."""
    rig = make_rig()

    def body() -> Iterator[bytes]:
        text = b"".join(line(number) for number in range(3000))
        for start in range(0, len(text), 7919):  # lines fall apart between the chunks
            yield text[start : start + 7919]

    with rig.client() as client:
        found = verdicts(client.post(PATH, content=body()))
    assert [one["line"] for one in found] == list(range(1, 3001))
    assert {one["status"] for one in found} == {202}
    assert rig.site.ledger.reads.status_counts()["queued"] == 3000


def test_a_client_that_reads_nothing_until_all_is_sent_is_served(make_rig: Callable[..., Any]) -> None:
    """Answering early would fill the pipe back to such a client, and both sides would wait for ever."""
    rig = make_rig()
    body = b"".join(line(number) for number in range(4000))
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {rig.tokens['operator']}\r\n"
    with socket.socket() as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # no room for an early answer
        plain.settimeout(60)
        plain.connect(("127.0.0.1", rig.server.port))
        plain.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        received = b"".join(iter(lambda: plain.recv(65_536), b""))
    assert received.count(b'"status":202') == 4000


def test_a_verdict_stays_one_line(rig: Any) -> None:
    """What a bad line holds is quoted in its verdict, and must not break it in two."""
    with rig.client() as client:
        body = json.dumps({"task": "a\u2028d\u0085d"}, ensure_ascii=False).encode()
        assert [one["status"] for one in verdicts(client.post(PATH, content=body))] == [422]


def test_a_shared_key_is_refused(rig: Any) -> None:
    """The header would make all lines but the first a repetition."""
    with rig.client() as client:
        answer = client.post(PATH, content=line(1) + line(2), headers={"Idempotency-Key": "k"})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "Idempotency-Key"


def test_an_empty_batch_is_no_error(rig: Any) -> None:
    """A quiet day has no records."""
    with rig.client() as client:
        assert verdicts(client.post(PATH, content=b"\n \n")) == []


def test_lines_that_are_large_together_are_submitted_before_more_are_read() -> None:
    """Five hundred of nearly a megabyte each would wait in memory, several times over; the order stays."""
    taken = 0

    async def receive() -> dict[str, Any]:
        nonlocal taken
        taken += 1
        text = b'"' + b"x" * LARGE_LINE + b'"\n'
        return {"type": "http.request", "body": text, "more_body": taken < 40}

    async def groups() -> list[tuple[int, list[int]]]:
        found = []
        async for group in _groups(Request({"type": "http"}, receive), 1_000_000):
            assert sum(len(text) for _, text in group if isinstance(text, bytes)) < CHUNK_BYTES + 1_000_000
            found.append((taken, [number for number, _ in group]))
        return found

    found = asyncio.run(groups())
    assert [number for _, group in found for number in group] == list(range(1, 41))
    assert all(read <= group[-1] for read, group in found)
