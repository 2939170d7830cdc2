"""A job that is pretended: it sees an attempt, its settings and rules, and keeps its steps and effects in memory."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from millrace.clock import parse_duration
from millrace.define.effects import MemoryJournal
from millrace.define.rules import Tables, ruled, site_tables
from millrace.runner.context import Context, Entered, context
from millrace.runner.rulebook import RuleBook
from millrace.runner.stop import CANCELLED, TIMEOUT, StopJob

if TYPE_CHECKING:
    from collections.abc import Mapping

    from millrace.define.rules import Decision
    from millrace.testing.clock import FakeClock

ID: Final = "01a0b1c2-0000-7000-8000-000000000001"


class LogLine(NamedTuple):
    """A line that the job wrote with `log`: its level, and its text with the fields behind it."""

    level: str
    text: str


class PretendedJob:
    """
    A job of which each `with` is one attempt: the second has what the first kept in steps and effects, as a retry has.

    Args:
        clock: What its time is measured with.
        client: Whom it is done for.
        settings: Its `[settings.*]`; None takes those that hold around it.
        timeout: How long an attempt may take, such as "30s"; None for no bound.
    """

    def __init__(
        self,
        clock: FakeClock,
        *,
        client: str = "default",
        settings: Mapping[str, Any] | None = None,
        timeout: str | None = None,
    ) -> None:
        self.attempt = 0
        self.steps: dict[str, str] = {}
        self.effects = MemoryJournal()
        self.log: list[LogLine] = []
        self.progress: list[dict[str, Any]] = []
        self.decisions: list[Decision] = []
        self._clock = clock
        self._client = client
        self._settings = settings
        self._timeout_s = None if timeout is None else parse_duration(timeout)
        self._deadline: float | None = None
        self._cancelled = False
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self.attempt += 1
        self.effects.attempt = self.attempt
        self._deadline = None if self._timeout_s is None else self._clock.monotonic() + self._timeout_s
        around = ruled()
        self._rules = RuleBook((around.tables if around else site_tables()).plain)
        self._stack.enter_context(Entered(self._context()))
        here = ruled()
        if here is not None:
            here.decisions = self.decisions
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def cancel(self) -> None:
        """Cancel it: the next `log`, `step` or `context().check()` ends the attempt."""
        self._cancelled = True

    def ask(self, kind: str, body: dict[str, Any]) -> Any:
        """See `runner.context.Line`."""
        if kind == "rules":
            return self._rules.answer(body["known"])
        if kind in ("once.begin", "once.end"):
            return self.effects.ask(kind, body)
        if kind == "step.put":
            self.steps[body["name"]] = body["result"]
        return self.steps.get(body["name"]) if kind == "step.get" else None

    def tell(self, kind: str, body: dict[str, Any]) -> None:
        """See `runner.context.Line`."""
        if kind == "log":
            self.log.append(LogLine(body["level"], body["text"]))
        elif kind == "progress":
            self.progress.append(body)

    def check(self) -> None:
        """See `runner.context.Line`."""
        if self._deadline is not None and self._clock.monotonic() >= self._deadline:
            raise StopJob(TIMEOUT)
        if self._cancelled:
            raise StopJob(CANCELLED)

    def _context(self) -> Context:
        return Context(
            job_id=ID,
            attempt=self.attempt,
            client=self._client,
            deadline=self._deadline,
            settings=context().settings if self._settings is None else self._settings,
            line=self,
            clock=self._clock,
        )


def tables_of(plain: Mapping[str, list[dict[str, Any]]]) -> Tables:
    """
    Return decision tables that are written in a test, checked as config.toml is.

    Raises: pydantic's ValidationError, if a row is no good.
    """
    from millrace.config.settings import Settings

    return Tables(Settings(rules=plain).rule_tables())
