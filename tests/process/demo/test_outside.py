"""The pretended mail service is the judge's witness: what it says it sent must be what it was told."""

from __future__ import annotations

import http.client
import json
import socket
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from millrace.clock import SYSTEM
from millrace.process.demo.outside import Cut, Outside

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import Until


def ask(outside: Outside, method: str, path: str, key: str = "", to: str = "") -> tuple[int, dict[str, str]]:
    """Call it as a job does."""
    connection = http.client.HTTPConnection(urlsplit(outside.url).netloc, timeout=20)
    try:
        connection.request(method, path, json.dumps({"to": to}), {"Idempotency-Key": key})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def call(outside: Outside, key: str, to: str) -> socket.socket:
    """Begin a call and do not wait for its answer."""
    body = json.dumps({"to": to}).encode()
    connection = socket.create_connection(("127.0.0.1", urlsplit(outside.url).port or 0), timeout=20)
    head = f"POST /mails HTTP/1.1\r\nHost: demo\r\nIdempotency-Key: {key}\r\nContent-Length: {len(body)}\r\n\r\n"
    connection.sendall(head.encode() + body)
    return connection


@pytest.fixture
def outside() -> Iterator[Outside]:
    """A world whose mail service is slow after two mails."""
    with Outside(2, SYSTEM) as outside:
        yield outside


def test_it_sends_what_it_is_told_even_twice_and_says_so_when_asked(outside: Outside) -> None:
    """A service that doubled nothing by itself would make any caller look good."""
    assert ask(outside, "GET", "/mails/one") == (404, {})
    assert ask(outside, "POST", "/mails", "one", "ann") == (200, {"number": "one/1"})
    assert ask(outside, "POST", "/mails", "one", "ann") == (200, {"number": "one/2"})
    assert ask(outside, "GET", "/mails/one") == (200, {"number": "one/2"})
    assert ask(outside, "GET", "/guests/7") == (200, {"mail": "guest-7@mill.example"})

    assert outside.mails() == {"ann": 2}
    assert outside.lookups() == {"7": 1}
    assert outside.asked == ["one", "one"]


def test_callers_who_die_while_it_is_slow_leave_one_mail_sent_and_the_next_one_not(
    outside: Outside, until: Until
) -> None:
    """Both kinds of a call that is in doubt, and not as chance would have it."""
    for key in ("one", "two"):
        ask(outside, "POST", "/mails", key, key)
    for key in ("three", "four"):
        with call(outside, key, key):
            until(lambda: outside.waiting == 1)
        until(lambda: outside.waiting == 0)

    assert outside.cuts == [Cut("three", "three", sent=True), Cut("four", "four", sent=False)]
    assert outside.mails() == {"one": 1, "two": 1, "three": 1}
    assert outside.first_after is None

    outside.hurry()
    assert ask(outside, "POST", "/mails", "four", "four")[0] == 200
    assert outside.mails()["four"] == 1
    assert outside.first_after is not None


def test_who_waits_until_it_is_fast_again_is_answered(outside: Outside, until: Until) -> None:
    """A slow service is no broken one."""
    for key in ("one", "two"):
        ask(outside, "POST", "/mails", key, key)
    with call(outside, "three", "three") as first, call(outside, "four", "four") as second:
        until(lambda: outside.waiting == 2)
        outside.hurry()
        assert first.recv(15).startswith(b"HTTP/1.1 200")
        assert second.recv(15).startswith(b"HTTP/1.1 200")
    assert outside.mails() == {"one": 1, "two": 1, "three": 1, "four": 1}
    assert outside.cuts == []
