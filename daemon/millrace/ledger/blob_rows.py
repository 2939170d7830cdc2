"""
Which row owns which file: one row for each large value, written and removed in the transaction of what refers to it.
So a file without a row is known to be a stray, and a row without a file a loss, without a look at all values.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, NamedTuple

from millrace.errors import ValueDamaged
from millrace.ledger.blobs import Blobs, Reference, folder_of, reference
from millrace.ledger.history import dump

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from millrace.ledger.reads import Reads
    from millrace.ledger.transaction import Transaction

PIECE: Final = 500

_KEEP: Final = """  -- a large value has come into a row
INSERT INTO blob (name, owner, client, bytes, hash) VALUES (?, ?, ?, ?, ?)"""
_DROP: Final = """  -- its row is gone; served by blob_owner
DELETE FROM blob WHERE owner IN (SELECT value FROM json_each(?)) RETURNING name"""
_DROP_SOME: Final = """  -- some of those of an owner that has many; served by blob_owner
DELETE FROM blob WHERE name IN (SELECT name FROM blob WHERE owner = ? LIMIT ?) RETURNING name"""
_KNOWN: Final = "SELECT name FROM blob WHERE name IN (SELECT value FROM json_each(?))"
_THERE: Final = "SELECT 1 FROM sqlite_schema WHERE name = 'blob'"  # ledgers before version 3 have none
_ALL: Final = "SELECT name, owner, bytes, hash FROM blob WHERE name > ? ORDER BY name LIMIT ?"
_BYTES: Final = "SELECT coalesce(sum(bytes), 0) FROM blob"
_BY_CLIENT: Final = "SELECT client, sum(bytes) FROM blob GROUP BY client"


class Blob(NamedTuple):
    """A large value: the name of its file, the job, run or effect that it belongs to, its bytes and its checksum."""

    name: str
    owner: str
    size: int
    digest: str

    @property
    def reference(self) -> Reference:
        """What the row has in its place."""
        return Reference(self.name, self.digest, self.size)


def keep(tx: Transaction, text: str | None, owner: str, client: str) -> None:
    """
    Note whose a value is, if it is a large one.

    Raises: ValueDamaged if its file is not there: then nothing may refer to it.
    """
    found = reference(text)
    if found is None:
        return
    if not os.access(folder_of(tx.connection.filename) / found.name, os.F_OK):
        raise ValueDamaged("the file of a large value was removed before the value was accepted: send it again")
    tx.run(_KEEP, (found.name, owner, client, found.size, found.digest))


def of_effect(client: str, key: str) -> str:
    """Return the name under which an effect owns its value."""
    return f"effect {client} {key}"


def drop(tx: Transaction, owners: Sequence[str]) -> None:
    """Let go of the values of rows that are gone; their files go after the commit."""
    tx.changes.gone += [row[0] for row in tx.rows(_DROP, (dump(list(owners)),))]


def drop_some(tx: Transaction, owner: str, limit: int) -> int:
    """Let go of some values of an owner; return how many."""
    names = [row[0] for row in tx.rows(_DROP_SOME, (owner, limit))]
    tx.changes.gone += names
    return len(names)


def remove_strays(tx: Transaction, names: Sequence[str]) -> int:
    """
    Remove files that no row has; return how many.

    Here and now, under the write lock: nobody can come to refer to one of them meanwhile.
    """
    known = {row[0] for row in tx.rows(_KNOWN, (dump(list(names)),))}
    return Blobs(tx.connection.filename).remove(name for name in names if name not in known)


# ---- looks


def strays(reads: Reads, before_ms: int) -> list[str]:
    """Return files that were written before a time, and that no row has: a kill came before their commit."""
    names = reads.blobs.older(before_ms)
    return [name for some in _pieces(names) for name in _unknown(reads, some)]


def _pieces(names: list[str]) -> Iterator[list[str]]:
    return (names[start : start + PIECE] for start in range(0, len(names), PIECE))


def _unknown(reads: Reads, names: list[str]) -> list[str]:
    known = {row[0] for row in reads.rows(_KNOWN, (dump(names),))} if _there(reads) else set()
    return [name for name in names if name not in known]


def of_ledger(reads: Reads) -> Iterator[Blob]:
    """Yield all large values."""
    last = ""
    while _there(reads) and (rows := reads.rows(_ALL, (last, PIECE))):
        last = rows[-1][0]
        yield from (Blob(*row) for row in rows)


def missing(reads: Reads) -> list[tuple[Blob, Path]]:
    """Return values of which the file is gone, or has another length; their content is looked at when it is read."""
    values = list(of_ledger(reads))  # before the files: a value that comes meanwhile is not missed
    sizes = reads.blobs.sizes()
    lost = [one for one in values if sizes.get(one.name) != one.size]
    # Those that were removed in order meanwhile have no row any more.
    gone = {name for some in _pieces([one.name for one in lost]) for name in _unknown(reads, some)}
    return [(one, reads.blobs.folder / one.name) for one in lost if one.name not in gone]


def damaged(reads: Reads, blobs: Blobs | None = None) -> list[str]:
    """
    Return of which values the file is gone, or not what was written, and whose they are. Reads them all.

    Args:
        blobs: Where the files are; beside the ledger that is read when None.
    """
    found: dict[str, str] = {}
    for one in of_ledger(reads):
        try:
            (blobs or reads.blobs).whole(str(one.reference))
        except ValueDamaged as error:
            found[one.name] = f"{error} ({one.owner})"
    gone = {name for some in _pieces(list(found)) for name in _unknown(reads, some)}
    return [why for name, why in found.items() if name not in gone]


def total_bytes(reads: Reads) -> int:
    """Return the bytes of all files."""
    return int(reads.rows(_BYTES, ())[0][0]) if _there(reads) else 0


def client_bytes(reads: Reads) -> dict[str, int]:
    """Return the bytes of the files of each client."""
    return dict(reads.rows(_BY_CLIENT, ())) if _there(reads) else {}


def _there(reads: Reads) -> bool:
    return bool(reads.rows(_THERE, ()))
