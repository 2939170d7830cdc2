"""
The audit log: who did what. Each row carries a hash of itself and of the row before, so that one that was changed,
removed or put in between shows. It is written in the transaction of the act that it tells of.

Submissions and starts of runs are not in it: the row of the job or the run names its source, which never changes.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from millrace.clock import rfc3339
from millrace.ledger.history import dump, shown
from millrace.ledger.rows import facts_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from millrace.ledger.transaction import Transaction

HEAD: Final = "audit_head"  # the newest row, told apart from the rows: one that was cut off at the end shows too
ANCHOR: Final = "audit_anchor"  # the last row that was removed for its age: its number and hash
START: Final = ""  # what stands before the first row

_HEAD: Final = """  -- the newest row's number and hash
SELECT value FROM meta WHERE key = 'audit_head'"""

_WRITE: Final = """  -- one act
INSERT INTO audit (id, at, actor, action, subject, facts, hash) VALUES (?, ?, ?, ?, ?, ?, ?)"""

_SET_HEAD: Final = """  -- the newest row's number and hash
INSERT INTO meta (key, value) VALUES ('audit_head', ?) ON CONFLICT DO UPDATE SET value = excluded.value"""


class AuditRow(NamedTuple):
    """
    One act.

    Args:
        id: Its number, from 1, without gaps.
        at: When, in UTC epoch milliseconds.
        actor: Who, such as "cli:ann" or "api:deploy".
        action: What, such as "job.retry".
        subject: Which: an id, or a name.
        facts: JSON text of what else matters; empty for nothing.
        hash: SHA-256 of the row before and of this one, in hex.
    """

    id: int
    at: int
    actor: str
    action: str
    subject: str
    facts: str
    hash: str

    def as_json(self) -> dict[str, Any]:
        """Return the row as `audit list` gives it."""
        return {
            "id": self.id,
            "at": rfc3339(self.at),
            "actor": self.actor,
            "action": self.action,
            "subject": self.subject,
            "facts": self.shown_facts(),
            "hash": self.hash,
        }

    def shown_facts(self) -> dict[str, Any]:
        """Return what else matters, for people: the hash is over the text as it is stored."""
        return shown(facts_of(self.facts)) if self.facts else {}


class Verified(NamedTuple):
    """What a look at the chain came to: how many rows hold, and the first that does not, with the reason."""

    rows: int
    broken_at: int | None = None
    why: str = ""

    @property
    def flaw(self) -> str | None:
        """Why the chain does not hold, as others tell it; None if it does."""
        return None if self.broken_at is None else f"audit log: {self.why}"


def write(tx: Transaction, actor: str, action: str, subject: str, facts: Mapping[str, Any] | None = None) -> None:
    """Tell of an act. The caller's savepoint holds both the act and this row."""
    number, before = _head(tx)
    row = AuditRow(number + 1, tx.now_ms, actor, action, subject, dump(facts) if facts else "", "")
    chained = row._replace(hash=chain(before, row))
    tx.run(_WRITE, chained)
    tx.run(_SET_HEAD, (f"{chained.id}:{chained.hash}",))


def _head(tx: Transaction) -> tuple[int, str]:
    found = tx.rows(_HEAD)
    if not found:
        return 0, START
    return _numbered(found[0][0])


def _numbered(text: str) -> tuple[int, str]:
    """Return the number and the hash of a row that the ledger tells of."""
    number, _, digest = text.partition(":")
    return int(number), digest


def chain(before: str, row: AuditRow) -> str:
    """Return the hash of a row that follows one with the hash `before`."""
    # As JSON: no two rows have the same text, whatever stands in their fields.
    return sha256(dump([before, *row[:-1]]).encode()).hexdigest()


def verify(rows: Iterable[AuditRow], head: str | None, anchor: str | None = None) -> Verified:
    """
    Check the chain from its first row to its last.

    Args:
        rows: All of them, oldest first.
        head: What the ledger says of the newest; None if it says nothing.
        anchor: What it says of the last row that was removed for its age; None if none was.
    """
    gone, before = _numbered(anchor) if anchor else (0, START)
    count = gone
    for row in rows:
        if row.id != count + 1:
            return Verified(count - gone, count + 1, f"row {count + 1} is missing")
        if row.hash != chain(before, row):
            return Verified(count - gone, row.id, f"row {row.id}, or the one before it, was changed")
        count, before = row.id, row.hash
    if head != (f"{count}:{before}" if count else None):
        why = f"the newest rows are missing: the ledger has told of {head or 'none'}"
        return Verified(count - gone, count + 1, why)
    return Verified(count - gone)
