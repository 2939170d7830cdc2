"""
Whether a ledger was ever made in a place. A mark beside the file says so, because the file cannot: SQLite makes an
empty one where there is none, and a daemon that started on that would have forgotten all work without a word.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from millrace.errors import LedgerGone
from millrace.ledger.owner import belong

if TYPE_CHECKING:
    from pathlib import Path


def refuse_if_gone(ledger: Path) -> bool:
    """
    Return whether a ledger was made here; call it before the file is opened.

    Raises: LedgerGone if it was, and its file is missing or empty now.
    """
    was_made = _mark(ledger).exists()  # first: of several that make it at once, one leaves the mark behind its commit
    try:
        lost = ledger.stat().st_size == 0
    except FileNotFoundError:
        lost = True
    if lost and was_made:
        raise _gone(ledger, "its file is missing or empty now")
    return was_made


def refuse_if_hollow(ledger: Path, *, was_made: bool) -> None:
    """
    Raise LedgerGone for a file that SQLite finds without a table, although a ledger was made here.

    So it is with a young ledger whose log was removed: all that it holds is in there until it is first moved.
    """
    if was_made:
        raise _gone(ledger, f"its file holds nothing, and what it held was in {ledger.name}-wal, which is missing")


def _gone(ledger: Path, why: str) -> LedgerGone:
    return LedgerGone(
        f"the ledger {ledger} is gone: it was made here before, and {why}. Put it, or a backup (millrace restore), in "
        f"its place; or remove {_mark(ledger).name} to begin with an empty one"
    )


def note_made(ledger: Path) -> None:
    """Leave the mark, once the ledger is on the disk."""
    mark = _mark(ledger)
    if not mark.exists():
        with suppress(OSError):  # a full disk: the next one to open it does
            mark.write_text(f"{ledger.name} was made here. Without this file a missing ledger is made anew, empty.\n")
            belong(mark, ledger)


def _mark(ledger: Path) -> Path:
    return ledger.with_name(f"{ledger.name}.made")
