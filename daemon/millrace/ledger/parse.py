"""From the columns of the database to the frozen rows that leave the ledger."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

from millrace.errors import NotFound, ValueDamaged
from millrace.ledger.blobs import reference
from millrace.ledger.rows import DAMAGED, AttemptRow, EventRow, JobError, JobRow, Source, facts_of
from millrace.ledger.run_rows import RunRow

Whole = Callable[[str], str]

SMALL: Final = 50_000  # bytes of a value that is in a list: a page of a thousand jobs has a hundred megabytes at most
_HEX: Final = re.compile(r"[0-9a-f]{1,32}")
_DASHES: Final = (8, 12, 16, 20)
_DAMAGED: Final = JobError("Damaged", DAMAGED)


def shown(whole: Whole, text: str) -> str:
    """Return a value for people to see; one that is lost is shown as such, as the rest of its row tells something."""
    try:
        return whole(text)
    except ValueDamaged as error:
        return json.dumps({"$damaged": str(error)})


def in_brief(column: str) -> str:
    """Return the SQL of a value as a list has it: of one that is not small, how large it is, without reading it."""
    size = f"octet_length({column})"
    return f"iif({size} > {SMALL}, '{{\"$large\":' || {size} || '}}', {column})"


def outline(whole: Whole, text: str) -> str:
    """Return a value that `in_brief` gave: of one that is kept in a file, how large it is, without reading it."""
    found = reference(text)
    return json.dumps({"$large": found.size}, separators=(",", ":")) if found else shown(whole, text)


def as_job(row: tuple[Any, ...], whole: Whole) -> JobRow:
    """
    Return the job of a database row in the order of `reads._JOB`.

    Args:
        whole: Looks up what a reference to a large value stands for.
    """
    (*head, payload, result, error, key, run_id, stage, record, source_kind, source_name, correlation, created_at,
     queued_at, due_at, started_at, finished_at, duration_ms, cancel_by) = row  # fmt: skip
    return JobRow(  # type: ignore[call-arg] # the columns before the result, in the order of the fields
        *head, whole(as_text(payload)), None if result is None else whole(as_text(result)), as_error(error), key,
        run_id, stage, record, Source(source_kind, source_name), correlation, created_at, queued_at, due_at, started_at,
        finished_at, _seconds(duration_ms), cancel_by is not None,
    )  # fmt: skip


def as_attempt(row: tuple[Any, ...]) -> AttemptRow:
    """Return the attempt of a database row."""
    attempt, outcome, daemon, started_at, ended_at, duration_ms, error, facts = row
    return AttemptRow(
        attempt, outcome, daemon, started_at, ended_at, _seconds(duration_ms), as_error(error), _facts(facts)
    )


def as_event(row: tuple[Any, ...]) -> EventRow:
    """Return the event of a database row."""
    at, event, reason, actor, facts = row
    return EventRow(at, event, reason, actor, _facts(facts))


def as_run(row: tuple[Any, ...], counts: dict[str, dict[str, int]], records: dict[str, int], whole: Whole) -> RunRow:
    """Return the run of a database row in the order of `run_reads._RUN`, with what its counters say."""
    (run_id, pipeline, client, status, inputs, edition, source_kind, source_name, correlation, key, created_at,
     finished_at, cancel_by) = row  # fmt: skip
    return RunRow(
        run_id, pipeline, client, status, whole(as_text(inputs)), counts, records, edition,
        Source(source_kind, source_name), correlation, key, created_at, finished_at, cancel_by is not None,
    )  # fmt: skip


def prefix_range(text: str, of: str) -> tuple[str, str]:
    """
    Return the bounds between which the ids lie that start with a prefix, dashes or none.

    Args:
        of: What it would be the id of, for the message.

    Raises: NotFound if the text cannot start an id.
    """
    digits = text.strip().lower().replace("-", "")
    if not _HEX.fullmatch(digits):
        msg = f'"{text}" is not the id of {of}, nor the start of one'
        raise NotFound(msg)
    low = "".join(("-" if place in _DASHES else "") + digit for place, digit in enumerate(digits))
    return low, low + "~"


def as_text(data: bytes) -> str:
    """Return a text as it is on disk: one that is damaged must not hide its row, nor the others of a list."""
    return data.decode(errors="replace")


def _seconds(ms: int | None) -> float | None:
    return None if ms is None else ms / 1000


def as_error(data: bytes | None) -> JobError | None:
    """Return an error as it is on disk; of one that is damaged, that it is."""
    try:
        return JobError(**json.loads(as_text(data))) if data else None
    except (ValueError, TypeError):
        return _DAMAGED


def _facts(data: bytes | None) -> dict[str, Any]:
    return facts_of(as_text(data)) if data else {}
