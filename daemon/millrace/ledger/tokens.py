"""API tokens: only the SHA-256 of a token's text is kept, so that a copy of the ledger opens no door."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from millrace.errors import NotFound
from millrace.ledger import audit

if TYPE_CHECKING:
    from millrace.ledger.rows import TokenRow
    from millrace.ledger.transaction import Transaction

DAEMON: Final = "daemon"  # who makes the first token

_ADD: Final = """  -- a new token
INSERT INTO token (id, name, role, client, hash, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?, ?)"""

_ADD_FIRST: Final = """  -- the first token of a fresh site, once in the ledger's life
INSERT INTO meta (key, value) VALUES ('first_token', ?) ON CONFLICT DO NOTHING"""


def add_token(tx: Transaction, row: TokenRow, sha256: str) -> None:
    """Put a token on record."""
    tx.run(_ADD, (row.id, row.name, row.role, row.client, sha256, tx.now_ms, row.expires_at))


def add_first_token(tx: Transaction, row: TokenRow, sha256: str) -> bool:
    """Put the first token on record; return False if this ledger has had one before."""
    if not tx.run(_ADD_FIRST, (row.id,)):
        return False
    add_token(tx, row, sha256)
    audit.write(tx, DAEMON, "token.create", row.id, facts(row))
    return True


def facts(row: TokenRow) -> dict[str, Any]:
    """Return what the audit log has of a new token."""
    return {"name": row.name, "role": row.role, "client": row.client, "expires_at": row.expires_at}


def revoke_token(tx: Transaction, token_id: str) -> None:
    """
    Close a token for good.

    Raises: NotFound if there is none of that id, or it was revoked before.
    """
    if not tx.run("UPDATE token SET revoked_at = ? WHERE id = ? AND revoked_at IS NULL", (tx.now_ms, token_id)):
        msg = f"no token {token_id} that is still valid"
        raise NotFound(msg)
