"""
Effects as job code sees them: their keys, what makes two calls the same, and a journal in memory for where there is no
ledger, as in a trial.
"""

from __future__ import annotations

import functools
import json
from contextvars import ContextVar
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_KEY: Final = 200
_MAX_CALL: Final = 200  # characters of a function's name in the journal
_TEXT: Final = str | int | float | bool | None


def check_key(key: object) -> None:
    """
    Refuse what cannot be the key of an effect.

    Raises: ValueError unless it is 1 to MAX_KEY printable characters.
    """
    if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY or not key.isprintable():
        raise ValueError(f"the key of an effect has 1 to {MAX_KEY} printable characters")


def idempotency_key(client: str, key: str) -> str:
    """
    Return the key that the other side is given for an effect: a UUID, since most take one.

    It depends on client and key alone, so that it is the same in every attempt, also after the ledger was restored.
    """
    digest = blake2b(json.dumps([client, key]).encode(), digest_size=16, person=b"millrace.effect").digest()
    return str(UUID(bytes=digest, version=5))


def call_of(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
    """
    Return what tells a call from another one: the function's name, and a digest of what it is given.

    What has no JSON form, such as an open connection, counts by its type: it is another object in each attempt.
    """
    called: Any = fn
    while isinstance(called, functools.partial):
        called, args, kwargs = called.func, (*called.args, *args), {**called.keywords, **kwargs}
    name = getattr(called, "__qualname__", None) or type(called).__qualname__
    text = json.dumps([_plain(list(args)), _plain(kwargs)], sort_keys=True)
    return f"{name[:_MAX_CALL]} {blake2b(text.encode(), digest_size=16).hexdigest()}"


def _plain(value: object) -> Any:
    match value:
        case dict():
            return {str(key): _plain(one) for key, one in value.items()}
        case list() | tuple():
            return [_plain(one) for one in value]
        case set() | frozenset():  # their order is another one in each process
            return sorted((_plain(one) for one in value), key=json.dumps)
        case str() | int() | float() | None:
            return value
        case _:
            return _of_class(value)


def _of_class(value: object) -> Any:
    from pydantic_core import to_jsonable_python

    try:
        plain = to_jsonable_python(value, bytes_mode="base64", fallback=lambda other: type(other).__qualname__)
    except (ValueError, TypeError):
        return type(value).__qualname__
    return plain if isinstance(plain, _TEXT) else _plain(plain)


class MemoryJournal:
    """
    A journal in memory. It answers as the ledger's does; `effects` holds what it knows, by key.

    An effect that is begun in one attempt and has no outcome is in doubt in the next.
    """

    def __init__(self) -> None:
        self.attempt = 1
        self.effects: dict[str, dict[str, Any]] = {}

    def check(self) -> None:
        """Let the caller go on: nothing asks it to end."""

    def ask(self, kind: str, body: dict[str, Any]) -> Any:
        """Answer `once.begin` or `once.end`."""
        return self._begin(body) if kind == "once.begin" else self._end(body)

    def _begin(self, body: dict[str, Any]) -> dict[str, Any]:
        found = self.effects.get(body["key"])
        if found is None or found["status"] == "not_done":
            self.effects[body["key"]] = {"status": "begun", "call": body["call"], "attempt": self.attempt}
            return {"do": "call"}
        refusal = self._refusal(found, body)
        if refusal:
            return {"do": "refused", "why": f'effect "{body["key"]}" {refusal}'}
        if found["status"] == "done":
            return {"do": "known", "result": found["result"]}
        found["status"] = "doubt" if body["park"] else "begun"
        found["attempt"] = self.attempt
        return {"do": "park" if body["park"] else "ask"}

    def _refusal(self, found: dict[str, Any], body: dict[str, Any]) -> str:
        if found["call"] != body["call"]:
            return "belongs to another call: a key stands for one thing done"
        if found["status"] == "done" and found["result"] is None:
            return "is done, and what it returned could not be kept"
        if found["status"] == "begun" and found["attempt"] == self.attempt:
            return "is begun by this very attempt, which waits for it"
        return ""

    def _end(self, body: dict[str, Any]) -> None:
        self.effects[body["key"]].update(status=body["status"], result=body.get("result"), error=body.get("error"))


_kept: ContextVar[MemoryJournal | None] = ContextVar("millrace_effects", default=None)


def kept() -> MemoryJournal | None:
    """Return the journal in memory that holds here; None where effects are simply done."""
    return _kept.get()


class Kept:
    """Lets a journal in memory hold while a `with` lasts."""

    def __init__(self, journal: MemoryJournal) -> None:
        self._journal = journal

    def __enter__(self) -> MemoryJournal:
        self._token = _kept.set(self._journal)
        return self._journal

    def __exit__(self, *_error: object) -> None:
        _kept.reset(self._token)
