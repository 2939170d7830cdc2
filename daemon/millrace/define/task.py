"""
`@task`: a plain typed function with its policy. Calling it just runs the function; its payload is checked against the
signature before anything is queued. Pydantic is loaded when the first payload is checked, not here.
"""

from __future__ import annotations

import functools
import inspect
from functools import cached_property
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, overload

from millrace.define.payload import canonical, read
from millrace.define.policy import Backoff, OnCrash, Policy, read_name, read_policy
from millrace.define.signature import read_parameters
from millrace.errors import PayloadError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import timedelta

    from millrace.define.policy import Exceptions
    from millrace.define.shape import Shape

__all__ = ["Backoff", "Policy", "Task", "task"]

P = ParamSpec("P")
R = TypeVar("R")


class Task(Generic[P, R]):
    """
    What can be run: a function, the name that jobs know it by, and its policy.

    Args:
        fn: A plain function; each parameter has a type and can be given by name.
        name: Unique within the site.
        policy: How it is run.
        schedule: When it runs without being asked, see `@task`; read by whoever fires it.
    Raises: TypeError or ValueError, if the function or the name cannot be a task.
    """

    def __init__(
        self,
        fn: Callable[P, R],
        name: str | None = None,
        policy: Policy | None = None,
        schedule: str | Mapping[str, Any] | None = None,
    ) -> None:
        if not inspect.isfunction(fn):
            raise TypeError(f"@task stands before a function, not before {fn!r}")
        functools.update_wrapper(self, fn)
        code = inspect.unwrap(fn).__code__
        self.fn = fn
        self.name = read_name(fn.__name__ if name is None else name, "the name of a task")
        self.policy = policy or Policy()
        self.schedule = schedule
        self.file: str = code.co_filename
        self.line: int = code.co_firstlineno
        self.summary = next(iter((inspect.getdoc(fn) or "").splitlines()), "")

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function, here and now."""
        result: R = self.fn(*args, **kwargs)
        return result

    def __repr__(self) -> str:
        return f"<task {self.name}>"

    @cached_property
    def shape(self) -> Shape:
        """
        The form of its payload.

        Raises: TypeError that names the parameter, if the signature cannot be a payload.
        """
        from millrace.define.shape import Shape

        return Shape(self.name, read_parameters(self.fn))

    def check(self, text: str | bytes, *, max_bytes: int | None = None) -> str:
        """
        Check a payload strictly: JSON as the standard has it, "5" is no number, unknown fields are refused.

        Args:
            text: The payload as JSON text; bytes are UTF-8.
            max_bytes: The most bytes that the site takes; None means any number.
        Returns: The payload as canonical JSON, with the fields that were given.
        Raises: PayloadError that names each field which does not fit; TooLarge.
        """
        value, text = read(text, max_bytes=max_bytes)
        return self._fitting(value, text)

    def check_value(self, payload: object) -> str:
        """Check a payload that is parsed already; the verdicts are those of `check`."""
        return self._fitting(payload, canonical(payload))

    def from_words(self, words: Mapping[str, str]) -> str:
        """
        Check the `name=value` words of a command line, each read by the type of its parameter.

        Returns: The payload as canonical JSON.
        Raises: PayloadError that names each field which does not fit.
        """
        return self.check_value(self.shape.from_words(words))

    def arguments(self, payload: str) -> dict[str, Any]:
        """
        Return the typed arguments that a stored payload stands for.

        Raises: PayloadError, if it no longer fits, as after a change of the function.
        """
        return self.shape.arguments(payload)

    def call(self, payload: str) -> R:
        """
        Run the function with a stored payload.

        Raises: PayloadError, if it no longer fits; whatever the function raises.
        """
        run: Callable[..., R] = self.fn
        return run(**self.arguments(payload))

    def describe(self) -> dict[str, Any]:
        """Return what `tasks show` and the API tell of it, as JSON."""
        return {
            "name": self.name,
            "summary": self.summary,
            "queue": self.policy.queue,
            "retries": self.policy.retries,
            "timeout_s": self.policy.timeout_s,
            "backoff": str(self.policy.backoff) if self.policy.backoff else None,
            "on_crash": self.policy.on_crash,
            "needs": list(self.policy.needs),
            "parameters": self.shape.parameters(),
            "schema": self.shape.schema,
            "file": self.file,
            "line": self.line,
        }

    def _fitting(self, value: object, text: str) -> str:
        if not isinstance(value, dict):
            kind = {"list": "a list", "tuple": "a list", "str": "a string", "NoneType": "null", "bool": "true or false"}
            got = kind.get(type(value).__name__, "a number")
            raise PayloadError([Problem("payload", f"must be a JSON object, not {got}", 'such as {"name": "value"}')])
        self.shape.arguments(text)
        return text


@overload
def task(fn: Callable[P, R], /) -> Task[P, R]: ...


@overload
def task(
    *,
    name: str | None = None,
    queue: str = "default",
    retries: int | None = None,
    backoff: str | Backoff | None = None,
    timeout: str | float | timedelta | None = None,
    retry_on: Exceptions = (),
    never_on: Exceptions = (),
    on_crash: OnCrash = "retry",
    needs: str | Iterable[str] = (),
    schedule: str | Mapping[str, Any] | None = None,
) -> Callable[[Callable[P, R]], Task[P, R]]: ...


def task(  # noqa: PLR0913 - each is an option of its own, given by name
    fn: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    queue: str = "default",
    retries: int | None = None,
    backoff: str | Backoff | None = None,
    timeout: str | float | timedelta | None = None,
    retry_on: Exceptions = (),
    never_on: Exceptions = (),
    on_crash: OnCrash = "retry",
    needs: str | Iterable[str] = (),
    schedule: str | Mapping[str, Any] | None = None,
) -> Any:
    """
    Make a function a task: something that can be submitted, queued, retried and looked at.

    Args:
        fn: The function, when the decorator stands without arguments.
        name: What jobs call it; the function's own name when left out.
        queue: The lane it waits in, one of config.toml.
        retries: Attempts after the first failure, 0 to 100; the site's default when left out.
        backoff: The waits between attempts, such as "10s..15m": doubling, with full jitter.
        timeout: How long an attempt may take, such as "10m", or seconds.
        retry_on: Exceptions worth another attempt; all, when left out.
        never_on: Exceptions that no attempt can cure.
        on_crash: What the death of its process means: "retry", or "fail" for what must not run twice.
        needs: Names of the outside services that it calls; kept with the task, nothing reads them yet.
        schedule: When it runs without being asked: a line of cron such as "0 6 * * *", or what `[schedules.NAME]` of
            config.toml may say, such as {"every": "15m", "catch_up": "none"}. There a schedule of the task's name wins.
    Returns: The task, which is called like the function.
    Raises: TypeError or ValueError that names the argument.
    """
    policy = read_policy(
        queue=queue,
        retries=retries,
        backoff=backoff,
        timeout=timeout,
        retry_on=retry_on,
        never_on=never_on,
        on_crash=on_crash,
        needs=needs,
    )
    return Task(fn, name, policy, schedule) if fn is not None else lambda inner: Task(inner, name, policy, schedule)
