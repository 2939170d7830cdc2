"""
The outside world of a demo, on loopback: a register that is asked for addresses, and a mail service that sends whatever
it is told, twice if it is told twice. Both remember what was asked of them, which is what a demo is judged by.
"""

from __future__ import annotations

import json
import select
import socket
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from millrace.process.demo.invitations import HOST

if TYPE_CHECKING:
    from collections.abc import Callable

    from millrace.clock import Clock

    HungUp = Callable[[float], bool]

PACE_S: Final = 0.1
_LOOK_S: Final = 0.02
_LONGEST: Final = 64 * 1024


class Cut(NamedTuple):
    """A call that was cut off when its caller died: the key of the mail, and whether it had been sent by then."""

    key: str
    to: str
    sent: bool


class Outside:
    """
    The register and the mail service.

    Args:
        slow_from: After so many mails the service is slow, until `hurry`: it keeps every caller waiting, one when its
            mail is sent and the next before it is, so that whoever dies meanwhile leaves calls of both kinds.
    """

    def __init__(self, slow_from: int, clock: Clock) -> None:
        self._slow_from = slow_from
        self._clock = clock
        self._lock = threading.Lock()
        self._hurry = threading.Event()
        self._waiting = 0
        self._turn = 0
        self._mails: dict[str, list[str]] = {}
        self._lookups: Counter[str] = Counter()
        self._asked: list[str] = []
        self._cuts: list[Cut] = []
        self._first_after: float | None = None
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_LOOK_S,), name="demo-outside")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._hurry.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def waiting(self) -> int:
        """How many callers the slow service keeps waiting."""
        return self._waiting

    def hurry(self) -> None:
        """Let the service be as fast as before; what it is asked from now on is of another life of its caller."""
        self._hurry.set()

    @property
    def first_after(self) -> float | None:
        """When the first call came after `hurry`, on the monotonic clock."""
        return self._first_after

    @property
    def cuts(self) -> list[Cut]:
        """The calls that were cut off."""
        return list(self._cuts)

    @property
    def asked(self) -> list[str]:
        """The keys of the mails that somebody asked about."""
        return list(self._asked)

    def mails(self) -> Counter[str]:
        """Return how many mails each address has got."""
        with self._lock:
            return Counter(to for sent in self._mails.values() for to in sent)

    def lookups(self) -> Counter[str]:
        """Return how often each guest was looked up, by number."""
        with self._lock:
            return Counter(self._lookups)

    # ---- what callers ask for

    def called(self) -> None:
        """Note that somebody calls."""
        if self._hurry.is_set() and self._first_after is None:
            self._first_after = self._clock.monotonic()

    def look_up(self, number: str) -> str:
        """Return the address of a guest."""
        with self._lock:
            self._lookups[number] += 1
        return address_of(number)

    def find(self, key: str) -> str | None:
        """Return the number of a mail that was sent under a key, None if there is none."""
        with self._lock:
            self._asked.append(key)
            return f"{key}/{len(self._mails[key])}" if key in self._mails else None

    def take(self, key: str, to: str, hung_up: HungUp) -> str | None:
        """Send a mail; return its number, or None if its caller has hung up before that."""
        slow, first = self._manner()
        if not slow:
            return None if hung_up(PACE_S) else self._send(key, to)
        number = self._send(key, to) if first else None
        try:
            left = self._keep_waiting(hung_up)
        finally:
            self._waiting_changed(-1)
        if left:
            with self._lock:
                self._cuts.append(Cut(key, to, sent=first))
            return None
        return number or self._send(key, to)

    def _manner(self) -> tuple[bool, bool]:
        """Return whether the service is slow now, and whether it then sends first and waits afterwards."""
        with self._lock:
            slow = len(self._mails) >= self._slow_from and not self._hurry.is_set()
            if slow:
                self._turn += 1
                self._waiting += 1
            return slow, self._turn % 2 == 1

    def _keep_waiting(self, hung_up: HungUp) -> bool:
        """Keep a caller waiting until the service is fast again; return whether it has hung up before."""
        while not self._hurry.is_set():
            if hung_up(_LOOK_S):
                return True
        return False

    def _waiting_changed(self, by: int) -> None:
        with self._lock:
            self._waiting += by

    def _send(self, key: str, to: str) -> str:
        with self._lock:
            sent = self._mails.setdefault(key, [])
            sent.append(to)
            return f"{key}/{len(sent)}"


def address_of(number: str | int) -> str:
    """Return the address that the register has of a guest."""
    return f"guest-{number}@mill.example"


def addresses(guests: int) -> list[str]:
    """Return all who are to get a mail: so many guests, and the host."""
    return [*map(address_of, range(1, guests + 1)), HOST]


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self, outside: Outside) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.outside = outside

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: callers die here on purpose, in the middle of a call."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        outside, (kind, _, name) = self.server.outside, self.path.strip("/").partition("/")
        outside.called()
        if kind == "guests":
            self._answer(200, {"mail": outside.look_up(name)})
        elif kind == "mails" and (number := outside.find(name)) is not None:
            self._answer(200, {"number": number})
        else:
            self._answer(404, {})

    def do_POST(self) -> None:
        self.server.outside.called()
        body = json.loads(self.rfile.read(min(int(self.headers["Content-Length"]), _LONGEST)))
        number = self.server.outside.take(self.headers["Idempotency-Key"], body["to"], self._hung_up)
        if number is None:
            self.close_connection = True
        else:
            self._answer(200, {"number": number})

    def _hung_up(self, within_s: float) -> bool:
        """Wait so long, unless the caller hangs up; return whether it has."""
        try:
            readable, _, _ = select.select([self.connection], [], [], within_s)
            return bool(readable) and self.connection.recv(1, socket.MSG_PEEK) == b""
        except ConnectionError:
            return True

    def _answer(self, status: int, document: object) -> None:
        text = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the library's
        """Say nothing: what was asked is in the books."""
