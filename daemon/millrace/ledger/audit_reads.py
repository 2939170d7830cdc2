"""All looks at the audit log."""

from __future__ import annotations

from typing import Final

from millrace.ledger import audit
from millrace.ledger.audit import ANCHOR, HEAD, AuditRow, Verified
from millrace.ledger.reader import Reader

_NO_END: Final = 1 << 62


class AuditReads(Reader):
    """Looks at the audit log of one ledger; part of `Reads`."""

    def audit(self, *, after: int = 0, limit: int = 1000) -> list[AuditRow]:
        """Return rows of the audit log beyond a number, oldest first."""
        sql = "SELECT id, at, actor, action, subject, facts, hash FROM audit WHERE id > ? ORDER BY id LIMIT ?"
        return [AuditRow(*row) for row in self.rows(sql, (after, limit))]

    def audit_newest(self, limit: int, *, before: int | None = None) -> list[AuditRow]:
        """Return the newest rows of the audit log, or the newest before a number, newest first."""
        sql = "SELECT id, at, actor, action, subject, facts, hash FROM audit WHERE id < ? ORDER BY id DESC LIMIT ?"
        return [AuditRow(*row) for row in self.rows(sql, (_NO_END if before is None else before, limit))]

    def audit_head(self) -> str | None:
        """Return what the ledger says of the newest row of the audit log, None if it never had one."""
        found = self.rows("SELECT value FROM meta WHERE key = ?", (HEAD,))
        return str(found[0][0]) if found else None

    def audit_anchor(self) -> str | None:
        """Return what the ledger says of the last row of the audit log that was pruned, None if none was."""
        found = self.rows("SELECT value FROM meta WHERE key = ?", (ANCHOR,))
        return str(found[0][0]) if found else None

    def audit_chain(self) -> Verified:
        """
        Check the chain of the audit log, as it stands at one moment. Reads all of it.

        Raises: LedgerError.
        """
        with self._one_moment("the audit log") as connection:  # else a row written meanwhile looks like one cut off
            found = connection.execute("SELECT id, at, actor, action, subject, facts, hash FROM audit ORDER BY id")
            return audit.verify((AuditRow(*row) for row in found), self.audit_head(), self.audit_anchor())
