"""
What job code sees of the engine: who it runs for, its settings, its log, its checkpoints. The same names work outside
a job, so that a task called plainly in a test or a script does what the function says and nothing else.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, ParamSpec, Protocol, TypeVar

from millrace.clock import SYSTEM, Clock
from millrace.define.results import MAX_RESULT
from millrace.define.rules import Ruled
from millrace.define.steps import Steps, tried
from millrace.errors import ResultNotJSON
from millrace.ledger.rows import DEFAULT_CLIENT
from millrace.runner.rulebook import AskedTables
from millrace.runner.text import MAX_MESSAGE, clean

P = ParamSpec("P")
T = TypeVar("T")

LEVELS: Final = ("debug", "info", "warning", "error", "critical")
MAX_NAME: Final = 200


class Line(Protocol):
    """The way from job code to its supervisor: a socket in a child, plain calls in a thread."""

    def ask(self, kind: str, body: dict[str, Any]) -> Any:
        """Return the answer to a question, after the commit that it stands for."""

    def tell(self, kind: str, body: dict[str, Any]) -> None:
        """Pass on a remark; nobody answers."""

    def check(self) -> None:
        """Raise StopJob if this attempt shall end."""


@dataclass(frozen=True, slots=True)
class Context:
    """
    The attempt that runs here. Outside a job `job_id` is empty and nothing is bounded.

    Args:
        attempt: Which claim of the job this is, from 1; it only rises.
        deadline: When the attempt's time is up, on the monotonic clock; None means never.
        settings: The client's values of [settings.*].
        clock: What the deadline is on; a test has its own.
        steps: Those that are done, or under way, in this attempt.
    """

    job_id: str = ""
    task: str = ""
    queue: str = ""
    attempt: int = 0
    client: str = DEFAULT_CLIENT
    correlation_id: str = ""
    run_id: str | None = None
    stage: str | None = None
    record: str | None = None
    deadline: float | None = None
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)
    line: Line | None = field(default=None, repr=False)
    clock: Clock = field(default=SYSTEM, repr=False)
    steps: Steps = field(default_factory=Steps, repr=False, compare=False)

    def remaining_s(self) -> float | None:
        """Return the seconds until the deadline, ≥ 0; None when there is none."""
        return None if self.deadline is None else max(0.0, self.deadline - self.clock.monotonic())

    def check(self) -> None:
        """End this attempt here if its time is up, it was cancelled, or the daemon goes down. For long loops."""
        if self.line is not None:
            self.line.check()


_OUTSIDE: Final = Context()
_here: ContextVar[Context] = ContextVar("millrace_context")
_process: list[Context] = []  # a child runs one job: its helper threads, which inherit no context, find it here


def context() -> Context:
    """Return the context of the job that runs here; outside a job, an empty one."""
    return _here.get(None) or (_process[-1] if _process else _OUTSIDE)


class Entered:
    """
    Makes `ctx` the context of this thread, or of every thread of the process, while a `with` lasts. Decision tables
    are asked for over its line then, and what they decide is noted.
    """

    __slots__ = ("_ctx", "_ruled", "_token", "_whole_process")

    def __init__(self, ctx: Context, *, whole_process: bool = False) -> None:
        self._ctx = ctx
        self._whole_process = whole_process
        self._ruled = Ruled(AskedTables(ctx.line), whole_process=whole_process) if ctx.line is not None else None

    def __enter__(self) -> None:
        self._token = _here.set(self._ctx)
        if self._whole_process:
            _process.append(self._ctx)
        if self._ruled is not None:
            self._ruled.__enter__()

    def __exit__(self, *_error: object) -> None:
        if self._ruled is not None:
            self._ruled.__exit__()
        _here.reset(self._token)
        if self._whole_process:
            _process.remove(self._ctx)


def log(message: str, level: str = "info", **fields: Any) -> None:
    """
    Write a line to the job's log; outside a job, to the standard library's.

    Args:
        message: What happened, at most 2 kB.
        level: One of debug, info, warning, error, critical.
        fields: Facts; they follow the message as name=value.
    Raises: ValueError for an unknown level.
    """
    if level not in LEVELS:
        raise ValueError(f'"{level}" is no log level: write one of {", ".join(LEVELS)}')
    facts = "".join(f" {name}={value}" for name, value in fields.items())
    text, line = clean(f"{message}{facts}", MAX_MESSAGE), context().line
    if line is None:
        logging.getLogger("millrace.job").log(getattr(logging, level.upper()), "%s", text)
        return
    line.check()
    line.tell("log", {"level": level, "text": text})


def step(name: str, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """
    Do a piece of a job once: its result is on disk before the job goes on, and a retry returns it without a call.

    Args:
        name: Unique within the job, at most 200 characters: in a loop with what tells one turn from another.
        fn: What to do, with its arguments. Its result must be JSON, and is returned as JSON gives it back (a tuple
            as a list), so that the first run and the retry see the same.
    Raises: ValueError for a name that is empty, too long or not UTF-8, or was used in this attempt already;
        ResultNotJSON, also for more than 8 MiB; LostClaim when another attempt took over.
    """
    if not 0 < len(name) <= MAX_NAME:
        raise ValueError(f"a step's name has 1 to {MAX_NAME} characters")
    try:
        name.encode()
    except UnicodeEncodeError as error:  # `os.fsdecode` leaves such what a file's name has beside text
        raise ValueError(f"a step's name is text, and {name!r} has bytes that are not: take ascii(name)") from error
    here = context()
    steps = tried() if here.line is None else here.steps
    if steps is None:
        return fn(*args, **kwargs)
    with steps.doing(name):
        return fn(*args, **kwargs) if here.line is None else _kept(here.line, name, partial(fn, *args, **kwargs))


def _kept(line: Line, name: str, call: Callable[[], T]) -> T:
    """Return what a step came to in an earlier attempt; else do it, and keep that."""
    from millrace.define.payload import result_json

    line.check()
    kept = line.ask("step.get", {"name": name})
    if kept is None:
        kept = result_json(call())
        if len(kept) > MAX_RESULT:
            raise ResultNotJSON(
                f'step "{name}" returned {len(kept)} characters, more than {MAX_RESULT}: keep it in a file and return'
                " its path"
            )
        line.ask("step.put", {"name": name, "result": kept})
    value: T = json.loads(kept)
    return value


class _Settings(Mapping[str, Any]):
    """The client's values of [settings.*], as a mapping that follows the job that reads it."""

    def __getitem__(self, key: str) -> Any:
        return context().settings[key]

    def __iter__(self) -> Iterator[str]:
        return iter(context().settings)

    def __len__(self) -> int:
        return len(context().settings)


settings: Final[Mapping[str, Any]] = _Settings()
