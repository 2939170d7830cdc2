"""The server in its thread."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from millrace.errors import SettingsError
from millrace.web.server import WebServer

if TYPE_CHECKING:
    from collections.abc import Iterator


class Slow:
    """An application whose answers wait for the test."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self._let_go = False
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def go(self) -> None:
        """Let it answer, now and from now on."""
        self._let_go = True
        for loop, gate in self._waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(gate.set)

    async def __call__(self, _scope: Any, _receive: Any, send: Any) -> None:
        gate = asyncio.Event()
        self._waiting.append((asyncio.get_running_loop(), gate))
        self.asked.set()
        if not self._let_go:
            await gate.wait()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def slow() -> Iterator[Slow]:
    """An application that is let go at the end, whatever the test did."""
    app = Slow()
    yield app
    app.go()


def asking(server: WebServer, answers: list[str]) -> threading.Thread:
    """Ask in a thread, and note what comes back."""

    def ask() -> None:
        try:
            answers.append(httpx.get(f"http://127.0.0.1:{server.port}/", timeout=30, trust_env=False).text)
        except httpx.HTTPError as error:
            answers.append(type(error).__name__)

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


def test_a_request_under_way_is_finished_when_it_stops(slow: Slow) -> None:
    """A deployment must not break the answers that are being made."""
    server = WebServer(slow, "127.0.0.1", 0)
    answers: list[str] = []
    server.start()
    client = asking(server, answers)
    assert slow.asked.wait(20)
    threading.Timer(0.3, slow.go).start()
    assert server.stop(10) is True
    client.join(20)
    assert answers == ["ok"]
    assert not server.alive


def test_a_request_that_never_ends_does_not_hold_the_stop(slow: Slow) -> None:
    """The daemon has a time to be gone by."""
    server = WebServer(slow, "127.0.0.1", 0)
    answers: list[str] = []
    server.start()
    client = asking(server, answers)
    assert slow.asked.wait(20)
    assert server.stop(0.5) is True
    client.join(20)
    assert answers != ["ok"]


def test_it_listens_when_start_returns_and_is_gone_after_stop(slow: Slow) -> None:
    """Readiness is told to systemd right after."""
    slow.go()
    server = WebServer(slow, "127.0.0.1", 0)
    server.start()
    port = server.port
    assert httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).text == "ok"
    server.stop(2)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 2)


def test_a_port_in_use_is_named_with_its_setting(slow: Slow) -> None:
    """The message says which line of config.toml to change."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SettingsError, match=rf'\[web\] listen = "127\.0\.0\.1:{port}": another program'):
            WebServer(slow, "127.0.0.1", port).start()


@pytest.mark.parametrize("host", ["203.0.113.7", "no-such-host.invalid"])
def test_an_address_of_another_machine_is_named(slow: Slow, host: str) -> None:
    """Not a traceback of the resolver."""
    with pytest.raises(SettingsError, match=r"\[web\] listen"):
        WebServer(slow, host, 0).start()


def test_stopping_what_never_started_is_no_error(slow: Slow) -> None:
    """A daemon that fails half way up stops everything it has."""
    assert WebServer(slow, "127.0.0.1", 0).stop(1) is True


def test_silent_connections_make_room_for_who_asks(slow: Slow) -> None:
    """Nobody must be able to keep all others out by saying nothing; whose request is being answered stays."""
    server = WebServer(slow, "127.0.0.1", 0, most=10)
    server.start()
    answers: list[str] = []
    early = asking(server, answers)
    assert slow.asked.wait(20)
    with ExitStack() as stack:
        silent = [stack.enter_context(socket.create_connection(("127.0.0.1", server.port), 20)) for _ in range(40)]
        assert silent[0].recv(1) == b"", "the one that was silent longest was kept"
        late = asking(server, answers)
        slow.go()
        for thread in (early, late):
            thread.join(20)
        silent[-1].setblocking(False)  # noqa: FBT003 - the name of the standard library
        with pytest.raises(BlockingIOError):
            silent[-1].recv(1)
    assert answers == ["ok", "ok"]
    assert server.stop() is True
