"""Text of job code made fit for rows and logs: bounded, valid Unicode, tracebacks cut to the job's own frames."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Final

from millrace.config.sizes import format_size
from millrace.ledger.rows import JobError
from millrace.runner.protocol import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_MESSAGE: Final = 2_000
MAX_TRACEBACK: Final = 8_000
MAX_TYPE: Final = 200
NO_MEMORY: Final = "there was no memory for what the job asked for"
_HOUSE: Final = str(Path(__file__).resolve().parents[1]) + "/"
_CUT: Final = "\n    … cut …\n"


def clean(text: str, limit: int = MAX_MESSAGE) -> str:
    """Return the text as valid UTF-8 without lone surrogates and NULs, at most `limit` bytes when encoded."""
    data = text[: limit + 1].encode("utf-8", "replace").replace(b"\0", b"?")
    if len(data) <= limit and len(text) <= limit:
        return data.decode("utf-8")
    return data[: limit - 3].decode("utf-8", "ignore") + "…"


def error_of(exc: BaseException) -> JobError:
    """Describe an exception of job code. Never raises, whatever the exception's own methods do."""
    return JobError(clean(type(exc).__name__, MAX_TYPE), message_of(exc), traceback_of(exc))


def engine_error(exc: BaseException) -> JobError:
    """Describe an exception of the engine, which is no fault of the job: with the engine's own frames."""
    return JobError(
        EngineError.__name__, clean(f"{type(exc).__name__}: {message_of(exc)}"), traceback_of(exc, whole=True)
    )


def message_of(exc: BaseException) -> str:
    """Return the exception's own words; a `__str__` that fails is job code that fails, and is named."""
    try:
        words = str(exc)
    except BaseException as error:  # noqa: BLE001 - job code: anything may come out of it
        words = f"(its text cannot be read: {type(error).__name__})"
    if isinstance(exc, MemoryError) and not words:  # as Python raises it
        words = NO_MEMORY
    return clean(words) or "(no message)"


def bounded(error: JobError, queue: str, memory: int | None) -> JobError:
    """
    Return the error, and where it is about memory with the bound that was met: the setting may be what is wrong.

    Args:
        memory: The bytes that a process of the queue may allocate, None for no bound.
    """
    if error.type != "MemoryError" or memory is None:
        return error
    bound = f"{format_size(memory)} is all that [queues.{queue}] memory allows a process"
    own = "" if error.message == NO_MEMORY else f" ({clean(error.message, MAX_MESSAGE - len(bound) - 3)})"
    return JobError(error.type, bound + own, error.traceback)


def traceback_of(exc: BaseException, *, whole: bool = False) -> str | None:
    """
    Return the traceback, at most MAX_TRACEBACK bytes: its head, and its end in full.

    Args:
        whole: With the engine's frames, which tell nothing to whoever wrote a job.
    """
    try:
        told = traceback.TracebackException.from_exception(exc, limit=-64, compact=True)
        for link in () if whole else _chain(told):
            link.stack = traceback.StackSummary.from_list([f for f in link.stack if not f.filename.startswith(_HOUSE)])
        text = "".join(told.format())
    except BaseException:  # noqa: BLE001 - a MemoryError's own traceback may not fit, a __str__ may raise
        return None
    if len(text.encode("utf-8", "replace")) <= MAX_TRACEBACK:
        return clean(text, MAX_TRACEBACK)
    tail = text.encode("utf-8", "replace")[-(MAX_TRACEBACK - 2_000 - len(_CUT.encode())) :]
    return clean(text, 2_000) + _CUT + tail.decode("utf-8", "ignore").replace("\0", "?")


def _chain(told: traceback.TracebackException) -> Iterator[traceback.TracebackException]:
    queue = [told]
    while queue:
        link = queue.pop()
        yield link
        queue += [near for near in (link.__cause__, link.__context__, *(link.exceptions or ())) if near is not None]
