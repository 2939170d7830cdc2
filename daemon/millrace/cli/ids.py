"""Jobs and runs by what was typed. Who has the id of the other kind in hand is told which of the two it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from millrace.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from millrace.ledger.reads import Reads
    from millrace.ledger.rows import JobRow
    from millrace.ledger.run_rows import RunRow

T = TypeVar("T")


def job_of(reads: Reads, word: str) -> JobRow:
    """Return the job of an id, or of a unique start of one. Raises NotFound, which names a run that has the id."""
    return _found(reads.job, reads.run, word, "run")


def run_of(reads: Reads, word: str) -> RunRow:
    """Return the run of an id, or of a unique start of one. Raises NotFound, which names a job that has the id."""
    return _found(reads.run, reads.job, word, "job")


def job_or_run(reads: Reads, word: str) -> JobRow | RunRow:
    """Return the job, else the run, of an id or of a unique start of one. Raises NotFound."""
    try:
        return reads.job(word)
    except NotFound:
        if _other(reads.run, word) is None:
            raise
        return reads.run(word)


def _found(look: Callable[[str], T], elsewhere: Callable[[str], JobRow | RunRow], word: str, kind: str) -> T:
    """Return what a look finds; NotFound names what of the other kind has the id."""
    try:
        return look(word)
    except NotFound as error:
        other = _other(elsewhere, word)
        if other is None:
            raise
        wanted = "run" if kind == "job" else "job"
        raise NotFound(f'no {wanted} "{word}": this is a {kind} (millrace {kind}s show {other})') from error


def _other(look: Callable[[str], JobRow | RunRow], word: str) -> str | None:
    try:
        return look(word).id
    except NotFound:
        return None
