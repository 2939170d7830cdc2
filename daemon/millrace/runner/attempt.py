"""Calls the task's function and puts into words what came of it. The same in a child and in a thread."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from millrace.clock import MAX_DURATION_S, parse_duration
from millrace.define.payload import result_json
from millrace.define.results import MAX_RESULT
from millrace.define.rules import ruled
from millrace.define.stage import Stage
from millrace.errors import BadResult, GiveUp, Parked, PayloadError, ResultNotJSON, RetryLater
from millrace.ledger.rows import JobError
from millrace.runner.stages import bound
from millrace.runner.stop import StopJob
from millrace.runner.text import MAX_TYPE, clean, error_of, message_of
from millrace.runner.verdict import Verdict

if TYPE_CHECKING:
    from millrace.define.policy import Policy
    from millrace.define.rules import Decision
    from millrace.define.task import Task
    from millrace.errors import Problem

MAX_OUTCOME: Final = 200  # characters of what a table gave, in a job's history


def attempt(task: Task[..., Any], payload: str) -> Verdict:
    """Run the function once. Never raises, whatever the function raises: `sys.exit` would end a worker thread."""
    try:
        call = bound(task, payload)
    except PayloadError as exc:
        if isinstance(task, Stage):  # a value that another stage came to: no start of a daemon makes it fit
            return Verdict("gave_up", error=error_of(exc), reason="arguments")
        return Verdict("payload", error=error_of(exc))
    try:
        value = call()
    except StopJob as stop:
        return Verdict(stop.why)
    except BaseException as exc:  # noqa: BLE001 - job code: SystemExit and KeyboardInterrupt are verdicts too
        return _told(verdict_of(exc, task.policy))
    return _told(_result(task, value))


def _told(verdict: Verdict) -> Verdict:
    """Add what decision tables decided: the history of a job tells which row sent it where."""
    here = ruled()
    if here is None or not here.decided:
        return verdict
    facts: dict[str, Any] = {"decisions": [{**one.as_json(), "outcome": _outcome(one)} for one in here.decisions]}
    if here.decided > len(here.decisions):
        facts["decided"] = here.decided
    return replace(verdict, facts=facts)


def _outcome(decision: Decision) -> Any:
    """Return what came of a decision as a history keeps it: JSON, and short."""
    try:
        text = result_json(decision.outcome)
    except ResultNotJSON:  # the job has put something of its own into it since
        return None
    return json.loads(text) if len(text) <= MAX_OUTCOME else clean(text, MAX_OUTCOME)


def _result(task: Task[..., Any], value: object) -> Verdict:
    try:
        text = result_json(value)
        problems = _misfit(task, value, text)
    except StopJob as stop:
        return Verdict(stop.why)
    except BaseException as exc:  # noqa: BLE001 - serialisers of job code's own classes run in here
        error = JobError("ResultNotJSON", message_of(exc), error_of(exc).traceback)
        return Verdict("gave_up", error=error, reason="result")
    if len(text) > MAX_RESULT:
        message = (
            f"the result has {len(text)} characters, more than {MAX_RESULT}: keep it in a file and return its path"
        )
        return Verdict("gave_up", error=JobError("ResultTooLarge", message), reason="result")
    if problems:  # whoever reads it would find the same, and could not go on for the records that are good
        message = clean("; ".join(map(str, problems)))
        return Verdict("gave_up", error=JobError(BadResult.__name__, message), reason="result")
    return Verdict("ok", result=text)


def _misfit(task: Task[..., Any], value: object, text: str) -> list[Problem]:
    """Return what is wrong with a stage's value; those of a fan-out are its items, which were checked one by one."""
    if not isinstance(task, Stage) or task.kind == "fanout" or len(text) > MAX_RESULT:
        return []
    return task.misfit(value, text)


def verdict_of(exc: BaseException, policy: Policy) -> Verdict:
    """Return what an exception of job code means under the task's policy."""
    error = error_of(exc)
    match exc:
        case RetryLater():
            return Verdict("retry_later", error=error, after_s=_seconds(exc.after))
        case GiveUp():
            return Verdict("gave_up", error=error, reason="gave up")
        case BadResult() | ResultNotJSON():  # read from a stage before; of a step, which was done and would be again
            return Verdict("gave_up", error=error, reason="arguments" if isinstance(exc, BadResult) else "result")
        case Parked():
            return Verdict(
                "parked", error=error, reason=clean(str(exc.reason), MAX_TYPE), after_s=_seconds(exc.after_s)
            )
        case SystemExit():
            said = JobError(error.type, clean(f"the job called sys.exit({exc.code!r})"), error.traceback)
            return Verdict("failed", error=said, retryable=_retryable(exc, policy))
        case _:
            return Verdict("failed", error=error, retryable=_retryable(exc, policy))


def _retryable(exc: BaseException, policy: Policy) -> bool:
    return not isinstance(exc, policy.never_on) and (not policy.retry_on or isinstance(exc, policy.retry_on))


def _seconds(after: float | str | None) -> float | None:
    """Return a job's own delay within bounds; nonsense gives None, which means the usual backoff."""
    try:
        seconds = parse_duration(after) if isinstance(after, str) else after
        return None if seconds is None or math.isnan(seconds) else min(max(0.0, float(seconds)), MAX_DURATION_S)
    except (ValueError, TypeError):
        return None
