"""
Many jobs from a file of JSON lines, in bounded memory: the submitter takes them in chunks of one commit each. A bad
line is named and skipped; what the file has behind it is still read.
"""

from __future__ import annotations

import gc
import sys
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import click

from millrace.cli.output import plural
from millrace.cli.session import tell, tell_error
from millrace.define.payload import strict_json
from millrace.errors import LedgerError, MillraceError, Overloaded, PayloadError, Problem, TooLarge, did_you_mean
from millrace.ledger.rows import Source
from millrace.queue.submit import Submission

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import IO

    from millrace.clock import Clock
    from millrace.ledger.accept import Accepted
    from millrace.queue.submit import Submitter

BAD_LINES: Final = 2
_ROOM_FOR_REST: Final = 10_000  # what a whole submission may have around its payload, in bytes
_TELL_EVERY_S: Final = 0.5
_RARELY: Final = 50_000  # objects made between two looks of the collector
_FIELDS: Final[dict[str, type]] = {"task": str, "client": str, "queue": str, "priority": int, "due_at": str, "key": str}


@dataclass(slots=True)
class Counts:
    """What became of the lines; `not_taken` names those that a full queue or disk kept out, `code` is the exit code."""

    added: int = 0
    existed: int = 0
    refused: int = 0
    not_taken: str = ""
    code: int = 0

    def as_json(self) -> dict[str, int | str | None]:
        """Return the counts as JSON."""
        counts = {"added": self.added, "existed": self.existed, "refused": self.refused}
        return {**counts, "not_taken": self.not_taken or None}

    def words(self) -> str:
        """Return the counts as a sentence."""
        parts = [f"{plural(self.added, 'job')} added"]
        parts += [f"{self.existed:,} known by their keys"] if self.existed else []
        parts += [f"{plural(self.refused, 'line')} refused"] if self.refused else []
        return ", ".join(parts)


class Lines:
    """
    A file of JSON lines, read as submissions. Empty lines are skipped.

    Args:
        file: Open for reading bytes.
        name: What messages call it.
        task: The task whose payload each line is; None if each line is a whole submission.
        key_from: The field of a payload that is its idempotency key.
        max_body: The most bytes that a payload may have.
        common: Fields of all submissions: client, queue, priority, due_at.
    """

    def __init__(
        self,
        file: IO[bytes],
        *,
        name: str,
        task: str | None,
        key_from: str | None,
        max_body: int,
        common: Mapping[str, Any],
    ) -> None:
        self.name = name
        self.numbers: deque[int] = deque()  # of the lines that were handed on and have no verdict yet
        self.read = 0  # the number of the last line that was read
        self.ended = False
        self._stopped = False
        self._file = file
        self._task = task
        self._key_from = key_from
        self._longest = max_body + _ROOM_FOR_REST
        self._common = dict(common)

    def __iter__(self) -> Iterator[Submission | MillraceError]:
        """Yield a submission for each line, or the error of one that is none."""
        while not self._stopped:
            line = self._file.readline(self._longest + 1)
            if not line:
                self.ended = True
                return
            self.read += 1
            whole = len(line) <= self._longest
            if not whole:
                self._skip_rest(line)
            if text := line.strip():
                self.numbers.append(self.read)
                yield (
                    self._submission(text, self.read)
                    if whole
                    else TooLarge(f"a line has more than {self._longest:,} bytes")
                )

    def stop(self) -> None:
        """Read no further."""
        self._stopped = True

    def _skip_rest(self, line: bytes) -> None:
        while line and not line.endswith(b"\n"):
            line = self._file.readline(self._longest)

    def _submission(self, text: bytes, number: int) -> Submission | MillraceError:
        source = Source("cli", f"{self.name}:{number}")
        if self._task is not None and self._key_from is None:  # the fast way: the check of the task reads the text
            return Submission(task=self._task, text=text, source=source, **self._common)
        try:
            return self._parsed(text, source)
        except MillraceError as error:
            return error

    def _parsed(self, text: bytes, source: Source) -> Submission:
        whole = self._task is None
        value = strict_json(text, where="line" if whole else "payload", around=int(whole))
        fields = {"task": self._task, "payload": value} if self._task is not None else whole_submission(value)
        if self._key_from is not None:
            fields["key"] = _key_of(fields.get("payload"), self._key_from)
        return Submission(**{**self._common, **fields, "source": source})


def whole_submission(value: object) -> dict[str, Any]:
    """
    Return the fields of a line that is a whole submission.

    Raises: PayloadError that names each field which does not fit.
    """
    from millrace.clock import parse_time

    if not isinstance(value, dict):
        raise PayloadError([Problem("line", "must be a JSON object", 'such as {"task": "report", "payload": {}}')])
    problems = list(_problems(value))
    if problems:
        raise PayloadError(problems)
    given = {name: field for name, field in value.items() if field is not None}
    if "due_at" in given:
        try:
            given["due_at"] = parse_time(given["due_at"])
        except ValueError as error:
            raise PayloadError([Problem("due_at", str(error))]) from None
    return given


def _problems(value: Mapping[str, Any]) -> Iterator[Problem]:
    if "task" not in value:
        yield Problem("task", "is missing", "or name the task on the command line")
    for name, field in value.items():
        if name == "payload":
            continue
        kind = _FIELDS.get(name)
        if kind is None:
            yield Problem(name, "unknown field", did_you_mean(name, [*_FIELDS, "payload"]).strip())
        elif field is not None and type(field) is not kind:
            yield Problem(name, f"must be {'a whole number' if kind is int else 'a string'}")


def _key_of(payload: object, field: str) -> str:
    value = payload.get(field) if isinstance(payload, dict) else None
    if isinstance(value, str) or type(value) is int:
        return str(value)
    reason = "is to be the key, and must be a string or a whole number"
    raise PayloadError([Problem(f"payload.{field}", reason)])


def submit_lines(submitter: Submitter, lines: Lines, clock: Clock) -> Counts:
    """
    Submit all lines, naming the bad ones on stderr. A full queue or disk ends it: what follows would fail the same way.

    Returns: The counts; their `code` is 2 if a line was refused, or that of the error at which it ended early.
    """
    counts = Counts()
    progress = _Progress(clock)
    tally = _Verdicts(lines, counts, progress)
    try:
        with _few_collections():
            for verdicts in submitter.submit_many(lines):
                for verdict in verdicts:
                    tally.add(verdict)
                progress.show(counts)
    except MillraceError as error:
        tally.stopped_by = tally.stopped_by or error
    progress.clear()
    tally.tell_end()
    return counts


@contextmanager
def _few_collections() -> Iterator[None]:
    """Let the collector of cycles look rarely: the rows are freed by their counts, and its looks cost a tenth."""
    usual = gc.get_threshold()
    gc.set_threshold(_RARELY, *usual[1:])
    try:
        yield
    finally:
        gc.set_threshold(*usual)


class _Verdicts:
    """Counts the verdicts, names the bad lines, and ends the reading when more lines would only fail the same way."""

    def __init__(self, lines: Lines, counts: Counts, progress: _Progress) -> None:
        self.stopped_by: MillraceError | None = None
        self._not_taken: list[int] = []
        self._lines = lines
        self._counts = counts
        self._progress = progress

    def add(self, verdict: Accepted | MillraceError) -> None:
        """Count the verdict of the next line."""
        number = self._lines.numbers.popleft()
        if isinstance(verdict, Overloaded | LedgerError):
            self._lines.stop()
            self.stopped_by = self.stopped_by or verdict
            self._not_taken.append(number)
        elif isinstance(verdict, MillraceError):
            self._counts.refused += 1
            self._counts.code = BAD_LINES
            self._progress.clear()
            tell_error(verdict, f"{self._lines.name}:{number}: ")
        elif verdict.existed:
            self._counts.existed += 1
        else:
            self._counts.added += 1

    def tell_end(self) -> None:
        """Say which lines were not taken when it ended early."""
        if self.stopped_by is None:
            return
        self._counts.code = self.stopped_by.exit_code
        rest = [] if self._lines.ended else [f"{self._lines.read + 1} and all after it"]
        self._counts.not_taken = ", ".join([*spans([*self._not_taken, *self._lines.numbers]), *rest])
        tell_error(self.stopped_by, f"{self._lines.name}: ")
        tell(f"millrace: {self._lines.name}: these lines were not taken: {self._counts.not_taken}")


def spans(numbers: Iterable[int]) -> list[str]:
    """Return rising numbers as spans: 3, 4, 5, 9 → "3-5", "9"."""
    ends: list[list[int]] = []
    for number in numbers:
        if ends and number == ends[-1][1] + 1:
            ends[-1][1] = number
        else:
            ends.append([number, number])
    return [str(first) if first == last else f"{first}-{last}" for first, last in ends]


class _Progress:
    """A line on the terminal that says how far it is; nothing if stderr is no terminal."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._shown = False
        self._next = clock.monotonic() + _TELL_EVERY_S if sys.stderr.isatty() else float("inf")

    def show(self, counts: Counts) -> None:
        now = self._clock.monotonic()
        if now >= self._next:
            self._next = now + _TELL_EVERY_S
            self._shown = True
            click.echo(f"\r{counts.words()} …\x1b[K", err=True, nl=False)

    def clear(self) -> None:
        if self._shown:
            click.echo("\r\x1b[K", err=True, nl=False)
            self._shown = False
