"""
What a child and its supervisor say to each other: JSON lines over a Unix socket pair, one object a line, its kind
under "m"; `run` comes through the tray. Small on purpose: a job through a warm child costs one line each way.

    daemon → child   run      job, task, payload, fence and policy of one attempt
                     answer   the reply to the one question that is open, given after its commit
                     stop     why: the attempt was asked to end
                     read     the output of the job that is done has been read
    child → daemon   step.get step.put once.begin once.end permit           questions: each waits for its answer
                     emit.begin emit results.head results rules
                     called progress log                                    remarks: nobody waits
                     done     the verdict, when it was reached, whether output lies unread, and whether the child is
                              clean enough for another job
"""

from __future__ import annotations

from typing import Any, Final

from pydantic_core import from_json, to_json

from millrace.errors import MillraceError

Message = dict[str, Any]

QUESTIONS: Final = frozenset(
    {"step.get", "step.put", "once.begin", "once.end", "permit"}
    | {"emit.begin", "emit", "results.head", "results", "rules"}
)
REMARKS: Final = frozenset({"called", "progress", "log"})
ORDERS: Final = frozenset({"run", "answer", "stop", "read"})
FROM_CHILD: Final = QUESTIONS | REMARKS | {"done"}

MAX_LINE: Final = 48 * 2**20  # of a child: a result of MAX_RESULT whose every byte is escaped still fits
BROKEN: Final = 70  # exit code of a child that lost its connection (EX_SOFTWARE)
CHUNK: Final = 16 * 1024  # the buffer of each read is made anew: a large one costs more than the message


class ProtocolError(MillraceError):
    """The other end said what the protocol does not know; the connection is of no more use."""

    type = "protocol"


class Unsupported(MillraceError):
    """The job asked for something whose keeper this daemon does not run."""

    http_status = 501
    type = "unsupported"


class EngineError(MillraceError):
    """The engine itself failed at what the job asked for."""

    http_status = 500
    type = "engine"


def encode(message: Message) -> bytes:
    """
    Return the message as one line. JSON escapes line ends, so no text of a job can break the framing.

    Raises: ValueError for what is no JSON, a lone surrogate among it.
    """
    # Pydantic's codec: the standard library's costs a tenth of what a small job takes in all.
    return to_json(message, inf_nan_mode="constants") + b"\n"


def decode(line: bytes, known: frozenset[str] = FROM_CHILD) -> Message:
    """Return the message of one line; ProtocolError unless it is an object of a known kind."""
    try:
        message = from_json(line, allow_inf_nan=False, cache_strings="keys")
    except ValueError as error:
        raise ProtocolError(f"not a message: {line[:80]!r}") from error
    kind = message.get("m") if isinstance(message, dict) else None
    if not isinstance(kind, str) or kind not in known:
        raise ProtocolError(f"not a message of a known kind: {line[:80]!r}")
    checked: Message = message
    return checked


def text_of(body: Message, name: str) -> str:
    """Return a text that a message has; ProtocolError if it has none."""
    value = body.get(name)
    if not isinstance(value, str):
        raise ProtocolError(f"a message without its text {name!r}")
    return value


class Lines:
    """
    Cuts a byte stream into lines. Long lines are kept as chunks, so that a large result costs linear time.

    Args:
        limit: The bytes that a line may have; None for what the engine itself says.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that are complete now, without their ends. ProtocolError beyond the limit."""
        *lines, rest = data.split(b"\n")
        if lines and self._parts:
            lines[0] = b"".join((*self._parts, lines[0]))
            self._parts, self._size = [], 0
        if rest:
            self._parts.append(rest)
            self._size += len(rest)
        if self._limit is not None and self._size > self._limit:
            raise ProtocolError(f"a line of more than {self._limit} bytes")
        return lines
