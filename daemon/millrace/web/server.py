"""Uvicorn in a thread of the daemon: it listens when `start` returns, and it is gone when `stop` does."""

from __future__ import annotations

import asyncio
import errno
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

import uvicorn

from millrace.errors import MillraceError, SettingsError
from millrace.web.connections import Bounded

if TYPE_CHECKING:
    from starlette.types import ASGIApp

THREADS: Final = 4  # for looks at the ledger and checks of payloads; each keeps a connection
START_S: Final = 20.0
_BACKLOG: Final = 1024
# asyncio accepts so many in a row before it looks at any, and complains as often if it has no descriptor for one.
_AT_ONCE: Final = 32
MOST: Final = 500
_MAX_HEAD: Final = 32_768
_KEEP_ALIVE_S: Final = 75
_REFUSED: Final = {
    errno.EADDRINUSE: "another program listens there: stop it, or choose another port",
    errno.EACCES: "this user may not use that port: choose one above 1023",
    errno.EADDRNOTAVAIL: "this machine has no such address",
}


class WebServer:
    """
    Serves an application over HTTP.

    Args:
        host, port: Where to listen; port 0 takes a free one.
        most: Connections at once, silent ones too.
    """

    def __init__(self, app: ASGIApp, host: str, port: int, *, most: int = MOST) -> None:
        self._where = (host, port)
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http=Bounded,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            access_log=False,
            proxy_headers=False,  # nobody's word about the address of the caller is used for anything
            server_header=False,
            headers=[("x-content-type-options", "nosniff"), ("cache-control", "no-store")],
            limit_concurrency=most,
            backlog=_AT_ONCE,
            timeout_keep_alive=_KEEP_ALIVE_S,
            h11_max_incomplete_event_size=_MAX_HEAD,
        )
        self._server = _Server(config)
        self._socket: socket.socket | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._serve, name="millrace-web", daemon=True)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._socket.getsockname()[1] if self._socket and self._socket.fileno() != -1 else self._where[1]

    @property
    def alive(self) -> bool:
        """Whether it serves."""
        return self._thread.is_alive()

    def start(self) -> None:
        """
        Listen, and return once requests are answered.

        Raises: SettingsError if the address cannot be listened on.
        """
        self._socket = listen(*self._where)
        self._thread.start()
        if not self._server.ready.wait(START_S) or self._failure is not None:
            msg = f"the HTTP interface did not start: {self._failure or 'it took too long'}"
            raise MillraceError(msg)

    def stop(self, timeout_s: float = 5.0) -> bool:
        """
        Take no new requests, finish those under way, and end; return whether all were finished in time.

        Args:
            timeout_s: Seconds for the requests under way, ≥ 0.
        """
        if not self._thread.is_alive():
            return True
        self._server.config.timeout_graceful_shutdown = max(1, round(timeout_s))
        self._server.should_exit = True
        self._thread.join(timeout_s + 2.0)
        return not self._thread.is_alive()

    def _serve(self) -> None:
        try:
            asyncio.run(self._answer())
        except BaseException as error:  # noqa: BLE001 - `start` tells it; afterwards `alive` does
            self._failure = error
        finally:
            self._server.ready.set()

    async def _answer(self) -> None:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(THREADS, "millrace-web-look"))
        await self._server.serve(sockets=[self._socket] if self._socket else None)


class _Server(uvicorn.Server):
    """Tells when it is ready. Outside the main thread Uvicorn leaves signals alone."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See Uvicorn."""
        await super().startup(sockets)
        for each in sockets or ():
            each.listen(_BACKLOG)  # asyncio has made it as short as what it accepts at once
        self.ready.set()


def listen(host: str, port: int) -> socket.socket:
    """
    Return a listening socket.

    Raises: SettingsError that names `[web] listen` and the reason.
    """
    where = f"{f'[{host}]' if ':' in host else host}:{port}"
    made: socket.socket | None = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, protocol)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # the port of a daemon that just ended is free
        made.bind(address)
        made.listen(_BACKLOG)
    except OSError as error:
        if made is not None:
            made.close()
        reason = _REFUSED.get(error.errno or 0, error.strerror or str(error))
        msg = f'[web] listen = "{where}": {reason}'
        raise SettingsError(msg) from error
    return made
