"""How a task is run: its queue, its attempts, its time. Written beside the function, read by whoever runs it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Literal, get_args

from millrace.clock import MAX_DURATION_S, format_duration, parse_duration, parse_range

OnCrash = Literal["retry", "fail"]
Exceptions = type[BaseException] | tuple[type[BaseException], ...]

MAX_RETRIES: Final = 100
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")


@dataclass(frozen=True, slots=True)
class Backoff:
    """
    The waits between attempts: doubling from the base, never above the cap.

    Args:
        base_s: Seconds before the second attempt at most, ≥ 0.
        cap_s: Seconds that no wait exceeds, ≥ base_s.
    """

    base_s: float
    cap_s: float

    @classmethod
    def parse(cls, text: str) -> Backoff:
        """
        Read "10s..15m"; a single duration is both base and cap.

        Raises: ValueError with an example, if the text is no such range.
        """
        try:
            return cls(*parse_range(text))
        except ValueError as error:
            raise ValueError(f"backoff: {error}") from None

    def __str__(self) -> str:
        return f"{format_duration(self.base_s)}..{format_duration(self.cap_s)}"


@dataclass(frozen=True, slots=True)
class Policy:
    """
    What a task asks of the engine; None means what the site's [defaults] say.

    Args:
        queue: The lane it waits in.
        retries: Attempts after the first failure, 0 to 100.
        backoff: The waits between attempts.
        timeout_s: Seconds an attempt may take, > 0.
        retry_on: Exceptions worth another attempt; empty means all.
        never_on: Exceptions that are not, whatever `retry_on` says.
        on_crash: What the death of its process means: another attempt, or the dead letters at once.
        needs: Services that must be up before it starts.
    """

    queue: str = "default"
    retries: int | None = None
    backoff: Backoff | None = None
    timeout_s: float | None = None
    retry_on: tuple[type[BaseException], ...] = ()
    never_on: tuple[type[BaseException], ...] = ()
    on_crash: OnCrash = "retry"
    needs: tuple[str, ...] = ()


def read_policy(
    *,
    queue: str,
    retries: int | None,
    backoff: str | Backoff | None,
    timeout: str | float | timedelta | None,
    retry_on: Exceptions,
    never_on: Exceptions,
    on_crash: str,
    needs: str | Iterable[str],
) -> Policy:
    """
    Check what stands in a `@task(...)` and return it as a policy.

    Raises: TypeError or ValueError that names the argument and says what would be right.
    """
    return Policy(
        queue=read_name(queue, "queue"),
        retries=_read_retries(retries),
        backoff=_read_backoff(backoff),
        timeout_s=_read_timeout(timeout),
        retry_on=_read_exceptions(retry_on, "retry_on"),
        never_on=_read_exceptions(never_on, "never_on"),
        on_crash=_read_on_crash(on_crash),
        needs=_read_needs(needs),
    )


def read_name(name: Any, what: str) -> str:
    """Return the name of a task, queue or service, or say in a TypeError or ValueError why it is none."""
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a string, not {name!r}")
    if not _NAME.fullmatch(name):
        raise ValueError(f'{what} "{name}" is no name: letters, digits, "_", "-" and ".", at most 100, a letter first')
    return name


def _read_retries(retries: Any) -> int | None:
    if retries is None:
        return None
    if not isinstance(retries, int) or isinstance(retries, bool):
        raise TypeError(f"retries must be a whole number, not {retries!r}")
    if not 0 <= retries <= MAX_RETRIES:
        raise ValueError(f"retries must lie between 0 and {MAX_RETRIES}, not {retries}")
    return retries


def _read_backoff(backoff: Any) -> Backoff | None:
    if backoff is None or isinstance(backoff, Backoff):
        return backoff
    if not isinstance(backoff, str):
        raise TypeError(f'backoff must be a text such as "10s..15m", not {backoff!r}')
    return Backoff.parse(backoff)


def _read_timeout(timeout: Any) -> float | None:
    if timeout is None:
        return None
    if isinstance(timeout, timedelta):
        seconds = timeout.total_seconds()
    elif isinstance(timeout, str):
        try:
            seconds = parse_duration(timeout)
        except ValueError as error:
            raise ValueError(f"timeout: {error}") from None
    elif isinstance(timeout, (int, float)) and not isinstance(timeout, bool):
        seconds = float(timeout)
    else:
        raise TypeError(f'timeout must be a duration such as "10m", or seconds, not {timeout!r}')
    if not 0 < seconds <= MAX_DURATION_S:
        raise ValueError(f"timeout must be longer than nothing and at most 100 years, not {timeout!r}")
    return seconds


def _read_exceptions(given: Any, what: str) -> tuple[type[BaseException], ...]:
    kinds = given if isinstance(given, (tuple, list, set, frozenset)) else (given,)
    for kind in kinds:
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise TypeError(f"{what} must be an exception class or several, not {kind!r}")
    return tuple(kinds)


def _read_on_crash(on_crash: Any) -> OnCrash:
    for known in get_args(OnCrash):
        if on_crash == known:
            return known  # type: ignore[no-any-return]
    raise ValueError(f"on_crash must be one of {', '.join(get_args(OnCrash))}, not {on_crash!r}.")


def _read_needs(needs: Any) -> tuple[str, ...]:
    names = (needs,) if isinstance(needs, str) else needs
    if not isinstance(names, Iterable):
        raise TypeError(f"needs must be the name of a service or several, not {needs!r}")
    return tuple(read_name(name, "needs") for name in names)
