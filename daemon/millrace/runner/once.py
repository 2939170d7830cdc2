"""
`once`: a side effect that is journalled under a key, the intent before the call and the outcome after it. So a rerun
knows whether the call was made, was not made, or is in doubt, and asks the other side instead of guessing.
"""

from __future__ import annotations

import inspect
import json
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Protocol, TypeVar

from millrace.clock import SYSTEM
from millrace.define.effects import call_of, check_key, idempotency_key, kept
from millrace.define.results import MAX_RESULT
from millrace.errors import EffectConflict, EffectResult, MillraceError, Parked, ResultNotJSON
from millrace.runner.context import context
from millrace.runner.text import clean, error_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from millrace.ledger.rows import JobError

T = TypeVar("T")
InDoubt = Literal["verify", "repeat", "park"]

WAYS: Final = ("verify", "repeat", "park")
KEY_PARAMETER: Final = "idempotency_key"
LOOK_S: Final = 0.05  # between two looks at an effect that another job is at; it doubles
LONGEST_LOOK_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Done(Generic[T]):
    """What `verify` returns when the other side says that it was done: what the call would have returned."""

    result: T | None = None


class Journal(Protocol):
    """Where the effects of this job are kept: the way to the ledger, or memory."""

    def ask(self, kind: str, body: dict[str, Any]) -> Any:
        """Return the answer to `once.begin` or `once.end`, after its commit."""

    def check(self) -> None:
        """Raise StopJob if this attempt shall end."""


def once(
    key: str,
    fn: Callable[..., T],
    *args: Any,
    verify: Callable[..., Done[T] | None] | None = None,
    in_doubt: InDoubt = "verify",
    not_done: type[BaseException] | tuple[type[BaseException], ...] = (),
    **kwargs: Any,
) -> T:
    """
    Do something to the outside world once, whatever becomes of this attempt, and return what it returned.

    That it is about to be done is on disk before the call, and what came of it after. A later attempt, or another job
    of the same client, that comes with the same key gets the result without a call. If an attempt ended in between, or
    the call raised, the effect is in doubt: nobody here knows whether it was done.

    Args:
        key: What is done, unique among the effects of the client across all jobs, such as "invoice-2026-117"; 1 to 200
            printable characters. The same key with another function or other arguments is refused.
        fn: What does it, with its arguments. If it has a parameter `idempotency_key` it is given one to hand to the
            other side: a UUID that belongs to the key, the same in every attempt. Its result must be JSON.
        verify: Asks the other side about an effect in doubt; called as fn would be. It returns Done(result) if it was
            done and None if it was not, and raises if it cannot tell, which leaves it in doubt.
        in_doubt: "verify" calls `verify`, and parks where there is none; "repeat" calls fn again, for another side that
            knows the idempotency key or does not mind; "park" lets the job wait until a person has settled it.
        not_done: Exceptions of fn that say for certain that nothing was done, as GiveUp does: it is done by the next
            attempt. Any other leaves the effect in doubt.
    Raises: What fn or verify raises; ValueError for a bad key or choice; EffectConflict for a key that is taken;
        EffectResult if it is done and its result cannot be kept; LostClaim when another attempt took over.
    """
    check_key(key)
    if in_doubt not in WAYS or (verify is not None and in_doubt != "verify"):
        raise ValueError(f'in_doubt is one of {", ".join(WAYS)}, and `verify` goes with "verify": got {in_doubt!r}')
    client = context().client
    given = _Given(args, kwargs, idempotency_key(client, key))
    journal: Journal | None = context().line or kept()
    if journal is None:
        return given.to(fn)
    effect = _Effect(journal, key, call_of(fn, args, kwargs), not_done)
    answer = effect.begin(park=in_doubt == "park" or (in_doubt == "verify" and verify is None))
    value: T
    if answer["do"] == "known":
        value = json.loads(answer["result"])
        return value
    if answer["do"] == "ask" and verify is not None:
        found: Done[T] | None = effect.attempt(lambda: _checked(given.to(verify)))
        if found is not None:
            value = effect.done(found.result)  # type: ignore[assignment] # of a call that returns nothing, None
            return value
    return effect.done(effect.attempt(lambda: given.to(fn)))


@dataclass(frozen=True, slots=True)
class _Given:
    """What the function is given, and `verify` like it."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    idempotency_key: str

    def to(self, fn: Callable[..., T]) -> T:
        extra = {} if KEY_PARAMETER in self.kwargs or not _takes_key(fn) else {KEY_PARAMETER: self.idempotency_key}
        return fn(*self.args, **self.kwargs, **extra)


class _Effect:
    """One effect in the hands of this attempt."""

    def __init__(
        self, journal: Journal, key: str, call: str, not_done: type[BaseException] | tuple[type[BaseException], ...]
    ) -> None:
        self._journal = journal
        self._key = key
        self._call = call
        self._not_done = not_done

    def begin(self, *, park: bool) -> dict[str, Any]:
        """Write the intent and return what is to be done: call, known or ask. Waits while another attempt is at it."""
        look_s = LOOK_S
        while True:
            self._journal.check()
            answer: dict[str, Any] = self._journal.ask(
                "once.begin", {"key": self._key, "call": self._call, "park": park}
            )
            match answer["do"]:
                case "refused":
                    raise EffectConflict(answer["why"])
                case "park":
                    raise Parked("doubt")
                case "wait":
                    SYSTEM.wait(threading.Event(), look_s)
                    look_s = min(2 * look_s, LONGEST_LOOK_S)
                case _:
                    return answer

    def attempt(self, call: Callable[[], T]) -> T:
        """Return what a call returns; write down what it means that it raises."""
        try:
            return call()
        except BaseException as exc:
            sure = getattr(exc, "not_done", False) is True or isinstance(exc, self._not_done)
            # What it raised matters more than why that could not be written: the effect is in doubt without it too.
            with suppress(MillraceError, ConnectionError):
                self._end("not_done" if sure else "doubt", error=error_of(exc))
            raise

    def done(self, value: T) -> T:
        """Write the result, and return it as JSON gives it back."""
        from millrace.define.payload import result_json

        try:
            text = result_json(value)
            if len(text) > MAX_RESULT:
                raise ResultNotJSON(f"the result has {len(text)} characters, more than {MAX_RESULT}")  # noqa: TRY301
        except Exception as exc:  # serialisers of job code's own classes run in there
            self._end("done", error=error_of(exc))
            raise EffectResult(
                f'effect "{self._key}" is done, and what it returned cannot be kept: {clean(str(exc))}'
            ) from exc
        self._end("done", result=text)
        kept_value: T = json.loads(text)
        return kept_value

    def _end(self, status: str, *, result: str | None = None, error: JobError | None = None) -> None:
        told = None if error is None else [error.type, error.message]
        self._journal.ask("once.end", {"key": self._key, "status": status, "result": result, "error": told})


def _takes_key(fn: Callable[..., Any]) -> bool:
    try:
        return KEY_PARAMETER in inspect.signature(fn).parameters
    except (TypeError, ValueError):  # a built-in that tells nothing of itself
        return False


def _checked(found: Any) -> Any:
    if found is not None and not isinstance(found, Done):
        raise TypeError(f"verify returns Done(result) or None, and not {type(found).__name__}")
    return found
