"""
One tree of exceptions. A class carries what its handler needs: the exit code of the command line, the status
and the problem type of the HTTP interface. Messages are written for the person who reads them at 7 in the morning:
what is wrong, where, and what to do.

    MillraceError            exit 1   HTTP 500
    ├── SettingsError        exit 78           config.toml is wrong; names the key and suggests one
    ├── PipelineFlawed       exit 78           a pipeline's stages do not fit together; one flaw for each mistake
    ├── NotFound             exit 4   HTTP 404 no such job, run, task, queue …
    │   └── UnknownTask      exit 4   HTTP 422 a submission names a task, queue or client that is not there
    ├── WrongStatus          exit 5   HTTP 409 the move is not in the table for the job's status
    ├── KeyConflict          exit 5   HTTP 409 the idempotency key belongs to a different submission
    ├── PayloadError         exit 2   HTTP 422 the payload does not fit the task; names each field
    │   └── ParameterError   exit 2   HTTP 422 what a list is asked for does not fit; names each parameter
    ├── TooLarge             exit 2   HTTP 413 more bytes than the site takes
    ├── NotAuthenticated     exit 77  HTTP 401 no token, or one that is not valid (any more)
    ├── NotPermitted         exit 77  HTTP 403 the token's role does not allow it
    ├── Overloaded           exit 75  HTTP 503 the queue is at its bound; try again after a while
    ├── AlreadyRunning       exit 75           another daemon holds the ledger
    ├── NotRunning           exit 3            the daemon does not answer
    ├── StillOpen            exit 75           a job that was waited for is not over in time
    ├── Unreachable          exit 69           an outside party does not answer
    ├── LedgerError          exit 1   HTTP 500 the database did not do what was asked
    │   ├── LedgerBusy       exit 75  HTTP 503 another process holds the write lock for too long
    │   ├── LedgerFull       exit 75  HTTP 507 no space left for the write
    │   ├── ValueDamaged     exit 1   HTTP 500 a value is not what was written, or the file of a large one is missing
    │   ├── LedgerForeign    exit 78           not a ledger, or one of another version
    │   │   └── LedgerNewer  exit 78           a ledger that a newer Millrace has written
    │   ├── LedgerGone       exit 78           there was one here, and an empty one must not take its place
    │   └── LedgerDamaged    exit 78           a page of it is broken
    ├── BackupBroken         exit 1            a backup could not be made, or is not whole
    ├── ResultNotJSON                          the work is done, but what it returned cannot be kept
    ├── BadResult                              what a stage returned does not fit its type, or that of who reads it
    ├── RulesError                             a decision table is not there, or asks for what it was not told
    ├── LostClaim                              another attempt owns the job; the late result is dropped
    └── JobSignal                              raised by job code to steer its own outcome
        ├── RetryLater                         try again after a delay of the job's choosing
        ├── GiveUp                             not worth another attempt: to the dead letters
        │   ├── EffectConflict                 the key of an effect belongs to another call
        │   ├── EffectResult                   an effect is done, but what it returned cannot be kept
        │   ├── BadItem                        an item of a fan-out that does not fit its type
        │   ├── RouteLabel                     a route returned something else than a label
        │   └── SourceChanged                  a fan-out goes on, but its source is not what it was
        └── Parked                             wait without cost: an open breaker, a limit, a doubt
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Iterable


class MillraceError(Exception):
    """Base of all errors that Millrace raises on purpose."""

    exit_code: ClassVar[int] = 1
    http_status: ClassVar[int] = 500
    type: ClassVar[str] = "error"


class SettingsError(MillraceError):
    """The configuration is wrong; the message names file, key and reason."""

    exit_code = 78
    type = "settings"


@dataclass(frozen=True, slots=True)
class Flaw:
    """One thing that is wrong with a pipeline: where it is written, why, and what would be right."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


class PipelineFlawed(MillraceError):
    """The stages of a pipeline do not make a graph that can run; `flaws` holds one entry per mistake."""

    exit_code = 78
    type = "pipeline-flawed"

    def __init__(self, flaws: Iterable[Flaw]) -> None:
        self.flaws = tuple(flaws)
        super().__init__("; ".join(map(str, self.flaws)))


class NotFound(MillraceError):
    """Nothing of that name or id."""

    exit_code = 4
    http_status = 404
    type = "not-found"


class UnknownTask(NotFound):
    """A submission names a task, pipeline, queue or client that this site does not have; `field` says which of them."""

    http_status = 422
    type = "unknown-task"

    def __init__(self, message: str, *, field: str = "task") -> None:
        super().__init__(message)
        self.field = field


class WrongStatus(MillraceError):
    """The job's status does not allow the move."""

    exit_code = 5
    http_status = 409
    type = "wrong-status"


class KeyConflict(MillraceError):
    """The idempotency key was used before, for something else; `job_id` or `run_id` is the one that has it."""

    exit_code = 5
    http_status = 409
    type = "key-conflict"

    def __init__(self, message: str, *, job_id: str | None = None, run_id: str | None = None) -> None:
        super().__init__(message)
        self.job_id = job_id
        self.run_id = run_id


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a payload: where (`payload.month`), why, and what would be right."""

    field: str
    reason: str
    suggestion: str | None = None

    def __str__(self) -> str:
        hint = f" ({self.suggestion})" if self.suggestion else ""
        return f"{self.field}: {self.reason}{hint}"


class PayloadError(MillraceError):
    """The payload does not fit the task; `problems` holds one entry per field."""

    exit_code = 2
    http_status = 422
    type = "payload"

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(map(str, self.problems)))


class ParameterError(PayloadError):
    """What a list is asked for does not fit; `problems` holds one entry per parameter."""

    type = "parameter"


class TooLarge(MillraceError):
    """More bytes than the site takes."""

    exit_code = 2
    http_status = 413
    type = "too-large"


class NotAuthenticated(MillraceError):
    """The caller shows no token, or one that is unknown, expired or revoked."""

    exit_code = 77
    http_status = 401
    type = "not-authenticated"


class NotPermitted(MillraceError):
    """The caller's role does not allow it."""

    exit_code = 77
    http_status = 403
    type = "not-permitted"


class Overloaded(MillraceError):
    """The queue is at its bound; `retry_after_s` says when to come back."""

    exit_code = 75
    http_status = 503
    type = "overloaded"

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class AlreadyRunning(MillraceError):
    """Another daemon holds the ledger."""

    exit_code = 75
    type = "already-running"


class NotRunning(MillraceError):
    """The daemon does not answer."""

    exit_code = 3
    type = "not-running"


class StillOpen(MillraceError):
    """A job that was waited for is not over in time; it goes on."""

    exit_code = 75
    type = "still-open"


class Unreachable(MillraceError):
    """An outside party does not answer."""

    exit_code = 69
    http_status = 502
    type = "unreachable"


class LedgerError(MillraceError):
    """The database did not do what was asked."""

    type = "ledger"


class LedgerBusy(LedgerError):
    """Another process held the write lock for longer than the caller would wait."""

    exit_code = 75
    http_status = 503
    type = "ledger-busy"


class LedgerFull(LedgerError):
    """No space left for the write; nothing of it was kept."""

    exit_code = 75
    http_status = 507
    type = "disk-full"


class ValueDamaged(LedgerError):
    """A value is not what was written, or the file of a large one is missing; the message names it."""

    type = "value-damaged"


class LedgerForeign(LedgerError):
    """The file is not a ledger, or one that this version must not touch."""

    exit_code = 78
    type = "ledger-foreign"


class LedgerNewer(LedgerForeign):
    """A newer Millrace has written to the ledger; this one would not know what it does."""


class LedgerGone(LedgerError):
    """A ledger was made in this place before, and is not there any more."""

    exit_code = 78
    type = "ledger-gone"


class LedgerDamaged(LedgerError):
    """The file holds what SQLite did not write: what is left of it is not to be trusted."""

    exit_code = 78
    type = "ledger-damaged"


class BackupBroken(MillraceError):
    """A backup could not be made, or one that was made is not whole; the ledger is as it was."""

    type = "backup"


class ResultNotJSON(MillraceError):
    """The job has done its work, but what it returned has no JSON form; repeating it cannot help."""

    type = "result-not-json"


class BadResult(MillraceError, ValueError):
    """What a stage returned does not fit the type that it announces, or as which another stage reads it."""

    type = "bad-result"


class RulesError(MillraceError):
    """Job code asks for a decision table that is not there, or does not tell it a fact that its rows ask for."""

    type = "rules"


class LostClaim(MillraceError):
    """Another attempt owns the job; the late result is dropped."""

    type = "lost-claim"


class JobSignal(MillraceError):
    """Raised by job code to steer its own outcome. `not_done` says that an effect it comes from was not done."""

    not_done: ClassVar[bool] = False


class RetryLater(JobSignal):
    """
    Try again after a delay of the job's choosing. Counts as a failure, so that no job retries for ever.

    Args:
        after: Seconds (a number ≥ 0) or a duration such as "5m".
        reason: What the next reader should know.
    """

    def __init__(self, after: float | str, reason: str = "") -> None:
        super().__init__(reason or f"asked to be retried after {after}")
        self.after = after


class GiveUp(JobSignal):
    """Not worth another attempt: the job goes to the dead letters with this reason. Within `once`: it was not done."""

    not_done = True

    def __init__(self, reason: str = "gave up") -> None:
        super().__init__(reason)


class EffectConflict(GiveUp):
    """The key of an effect belongs to another call; nothing was done."""


class EffectResult(GiveUp):
    """An effect is done, and what it returned cannot be kept; doing it again cannot help."""

    not_done = False


class BadItem(GiveUp):
    """An item of a fan-out does not fit its type: one dead record, the others go on."""


class RouteLabel(GiveUp):
    """A route returned something else than the label of a branch."""


class SourceChanged(GiveUp):
    """A fan-out that goes on after a crash, or a pause, finds other items than those that it handed on before."""


class Parked(JobSignal):
    """
    Wait without spending a failure.

    Args:
        reason: A waiting reason of the contract, such as "breaker:crm", "rate:crm" or "doubt".
        after_s: Seconds until the job is looked at again; None means until somebody promotes it.
    """

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(f"parked: {reason}")
        self.reason = reason
        self.after_s = after_s


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return ' Did you mean "x"?' for the closest known name, else the first few known names, else ''."""
    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f' Did you mean "{close[0]}"?'
    if not names:
        return ""
    listed = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")  # noqa: PLR2004 - a line's worth
    return f" Known: {listed}."
