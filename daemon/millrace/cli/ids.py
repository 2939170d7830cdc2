"""Jobs and runs by what was typed. Who has the id of the other kind in hand is told which of the two it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from millrace.ledger.reads import Reads
    from millrace.ledger.rows import JobRow
    from millrace.ledger.run_rows import RunRow


def job_of(reads: Reads, word: str) -> JobRow:
    """Return the job of an id, or of a unique start of one. Raises NotFound, which names a run that has the id."""
    try:
        return reads.job(word)
    except NotFound as error:
        other = _other(reads.run, word)
        if other is None:
            raise
        raise NotFound(f'no job "{word}": this is a run (millrace runs show {other})') from error


def run_of(reads: Reads, word: str) -> RunRow:
    """Return the run of an id, or of a unique start of one. Raises NotFound, which names a job that has the id."""
    try:
        return reads.run(word)
    except NotFound as error:
        other = _other(reads.job, word)
        if other is None:
            raise
        raise NotFound(f'no run "{word}": this is a job (millrace jobs show {other})') from error


def job_or_run(reads: Reads, word: str) -> JobRow | RunRow:
    """Return the job, else the run, of an id or of a unique start of one. Raises NotFound."""
    try:
        return reads.job(word)
    except NotFound:
        if _other(reads.run, word) is None:
            raise
        return reads.run(word)


def _other(look: Callable[[str], JobRow | RunRow], word: str) -> str | None:
    try:
        return look(word).id
    except NotFound:
        return None
