"""Notes that a daemon leaves for the commands: one text a name, the newest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from millrace.ledger.transaction import Transaction

PREFIX: Final = "note."

_PUT: Final = """  -- keep the newest note of a name
INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value"""


def put(tx: Transaction, name: str, text: str) -> None:
    """Keep a note in place of the last one of its name."""
    tx.run(_PUT, (PREFIX + name, text))
