"""Measures the ledger now and then, and leaves what it finds where health and commands can read it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from millrace.events import DiskFullSoon, FilesMissing
from millrace.ledger import blob_rows
from millrace.ledger.notes import STORAGE
from millrace.ledger.prune_reads import PruneReads
from millrace.ledger.usage import client_bytes, table_bytes
from millrace.observe.forecast import DAY_MS, EVERY_MS, days_left, growth_per_day, remember
from millrace.observe.storage import storage_of

if TYPE_CHECKING:
    from pathlib import Path

    from millrace.clock import Clock
    from millrace.events import Emit
    from millrace.ledger.moves import Moves
    from millrace.ledger.reads import Reads
    from millrace.queue.room import Room

SOON_DAYS: Final = 7.0
NAMED: Final = 3
GROWN: Final = 1.2  # times the size that was measured: where the room goes may be another matter now
LEAST: Final = 1_000_000  # bytes; a fresh ledger grows by a fifth all the time
FILES: Final = "files"  # what lies beside the database, among the bytes of its tables


class Survey:
    """
    The survey of one ledger. What it has found stands in the ledger: a restart goes on with the same history.

    Args:
        room: Knows what is kept for accepted work.
    """

    def __init__(self, ledger: Path, room: Room, *, moves: Moves, reads: Reads, clock: Clock, emit: Emit) -> None:
        self._ledger = ledger
        self._room = room
        self._moves = moves
        self._reads = reads
        self._clock = clock
        self._emit = emit
        self._look = PruneReads(reads)

    def turn(self) -> None:
        """Measure, if the last time is long enough ago, or the ledger has grown by a fifth since."""
        text = self._reads.note(STORAGE)
        last: dict[str, Any] = json.loads(text) if text else {}
        now = self._clock.now_ms()
        pages = self._look.pages()
        grown = pages.used_bytes > GROWN * max(LEAST, last.get("tables_of", 0))
        if last and 0 <= now - last["at"] < EVERY_MS and not grown:
            return
        storage = storage_of(self._ledger)
        files = blob_rows.total_bytes(self._reads)
        history = remember([(at, size) for at, size in last.get("history", [])], now, pages.used_bytes + files)
        level = self._room.level()
        kept = level.kept if level is not None else 0
        left = days_left(history, storage.disk_free_bytes - kept + pages.free * pages.size)
        told = self._told(last, now, left)
        measured_at = last.get("tables_at", 0)
        fresh = 0 <= now - measured_at < DAY_MS and not grown
        tables = last["tables"] if fresh else table_bytes(self._reads)  # reads the whole file
        found = {
            "at": now,
            "tables": {**tables, FILES: files},
            "tables_at": measured_at if fresh else now,
            "tables_of": last.get("tables_of", 0) if fresh else pages.used_bytes,
            "clients": client_bytes(self._reads, tables),
            "free_bytes": pages.free * pages.size,
            "growth_per_day": growth_per_day(history),
            "days_until_full": left,
            "told_at": told,
            "missing_files": self._missing(last.get("missing_files", 0)),
            "history": history,
        }
        self._moves.note(STORAGE, json.dumps(found)).wait()

    def _missing(self, known: int) -> int:
        """Return how many files of large values are gone; tell when they have become more."""
        lost = blob_rows.missing(self._reads)
        if len(lost) > known:
            self._emit(FilesMissing(len(lost), "; ".join(f"{path} of {one.owner}" for one, path in lost[:NAMED])))
        return len(lost)

    def _told(self, last: dict[str, Any], now: int, left: float | None) -> int | None:
        """Tell that the disk will soon be full, once a day; return when that was told."""
        told: int | None = last.get("told_at")
        if left is None or left > SOON_DAYS:
            return None
        if told is None or not 0 <= now - told < DAY_MS:
            self._emit(DiskFullSoon(round(left, 1)))
            return now
        return told
