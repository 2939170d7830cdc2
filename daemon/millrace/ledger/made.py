"""
Whether a ledger was ever made in a place. A mark beside the file says so, because the file cannot: SQLite makes an
empty one where there is none, and a daemon that started on that would have forgotten all work without a word.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from millrace.errors import LedgerGone

if TYPE_CHECKING:
    from pathlib import Path


def refuse_if_gone(ledger: Path) -> None:
    """Raise LedgerGone if a ledger was made here and its file is missing or empty now."""
    try:
        lost = ledger.stat().st_size == 0
    except FileNotFoundError:
        lost = True
    if lost and (mark := _mark(ledger)).exists():
        raise LedgerGone(
            f"the ledger {ledger} is gone: it was made here before, and its file is missing or empty now. Put it, or a "
            f"backup (millrace restore), in its place; or remove {mark.name} to begin with an empty one"
        )


def note_made(ledger: Path) -> None:
    """Leave the mark, once the ledger is on the disk."""
    mark = _mark(ledger)
    if not mark.exists():
        with suppress(OSError):  # a full disk: the next one to open it does
            mark.write_text(f"{ledger.name} was made here. Without this file a missing ledger is made anew, empty.\n")


def _mark(ledger: Path) -> Path:
    return ledger.with_name(f"{ledger.name}.made")
