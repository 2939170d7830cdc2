"""Outside systems that answer as the test says, to an `httpx.Client` that job code is handed."""

from __future__ import annotations

import json as jsonlib
from typing import TYPE_CHECKING, Any, NamedTuple

import httpx

if TYPE_CHECKING:
    from collections.abc import Mapping


class UnexpectedCall(AssertionError):
    """Job code calls what the test did not pretend."""


class Call(NamedTuple):
    """A call that job code made."""

    method: str
    url: str
    headers: httpx.Headers
    content: bytes

    @property
    def json(self) -> Any:
        """Return what was sent, read as JSON."""
        return jsonlib.loads(self.content)


class PretendedServices:
    """
    Answers by method and address. Nothing leaves this process.

    `calls` holds what was called, in order. Call it to pretend an answer; of several for the same address each is given
    once, in that order, and the last one for ever.
    """

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self._answers: dict[tuple[str, str], list[httpx.Response | Exception]] = {}
        self._clients: list[httpx.Client] = []

    def __call__(
        self,
        method: str,
        url: str,
        *,
        status: int = 200,
        json: Any = None,
        text: str | None = None,
        headers: Mapping[str, str] | None = None,
        error: Exception | None = None,
    ) -> None:
        """
        Pretend an answer.

        Args:
            method: GET, POST, …
            url: The whole address; a call whose query is not named here has it ignored.
            status: The HTTP status.
            json: What is sent as JSON; or
            text: as text.
            error: Raised in place of an answer, such as httpx.ConnectTimeout("too late").
        """
        body: dict[str, Any] = {"text": text} if text is not None else {"json": json} if json is not None else {}
        answer = error or httpx.Response(status, headers=headers, **body)
        self._answers.setdefault((method.upper(), str(httpx.URL(url))), []).append(answer)

    def client(self, base_url: str = "", **options: Any) -> httpx.Client:
        """Return a client whose calls are answered here; the options are those of `httpx.Client`."""
        client = httpx.Client(base_url=base_url, transport=httpx.MockTransport(self._answer), **options)
        self._clients.append(client)
        return client

    def close(self) -> None:
        """Close the clients."""
        for client in self._clients:
            client.close()

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.calls.append(Call(request.method, str(request.url), request.headers, request.read()))
        wanted = [(request.method, str(url)) for url in (request.url, request.url.copy_with(query=None))]
        found = next((self._answers[key] for key in wanted if key in self._answers), None)
        if found is None:
            known = ", ".join(" ".join(key) for key in self._answers) or "nothing"
            raise UnexpectedCall(f"{request.method} {request.url} is not pretended; pretended is {known}")
        answer = found.pop(0) if len(found) > 1 else found[0]
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
