"""Notes that a daemon leaves for the commands: one text a name, the newest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from millrace.ledger.transaction import Transaction

PREFIX: Final = "note."
# Names of notes, for those who write and those who read them: JSON text, what they hold stands in `process.backup`.
BACKUP: Final = "backup"  # the last good backup
STORAGE: Final = "storage"  # where the room goes, see `process.survey`
BACKUP_FAILED: Final = "backup_failed"  # the last that failed
LISTEN: Final = "listen"  # where the daemon can be reached: {"daemon": its id, "host", "port"}
STUCK: Final = "stuck"  # jobs in threads beyond their time, see `process.stuck`
PROOF: Final = "proof"  # what the last count of all rows found that the counters do not tell
RESTORE_TEST: Final = "restore_test"  # the last rehearsal

_PUT: Final = """  -- keep the newest note of a name
INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"""


def put(tx: Transaction, name: str, text: str) -> None:
    """Keep a note in place of the last one of its name."""
    tx.run(_PUT, (PREFIX + name, text))
