"""
The checksums of payloads, results and inputs of runs: taken when a value is written, held against it when it is read.

A wrong value in a report is worse than a missing one, and a changed byte of a text is nothing that SQLite notices.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Final

from millrace.errors import ValueDamaged
from millrace.ledger.blobs import MARK, reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from millrace.ledger.reads import Reads

_PIECE: Final = 500  # rows of a look: no snapshot is held for long, and few values are in memory at once


def checksum(text: str) -> str:
    """Return the checksum that payloads and results carry, 32 hex digits; that of a large one is in its reference."""
    if text.startswith(MARK) and (large := reference(text)) is not None:
        return large.digest
    return blake2b(text.encode(), digest_size=16).hexdigest()


def sealed(column: str, table: str = "job") -> str:
    """Return the SQL of a value that has a checksum, with that before it, for `unsealed`; NULL for none."""
    return f"coalesce({table}.{column}_hash, '') || ' ' || {table}.{column}"


def unsealed(text: str, what: str) -> str:
    """
    Return a value from the text that `sealed` gives, which has its checksum before it.

    Args:
        what: Whose it is, for the message.
    Raises: ValueDamaged if it is not what was written.
    """
    digest, _, value = text.partition(" ")
    if digest and checksum(value) != digest:
        raise ValueDamaged(f"{what} is not what was written")
    return value


_ALL: Final = f"""SELECT id, CAST({sealed("payload")} AS BLOB), CAST({sealed("result")} AS BLOB)
  FROM job WHERE id > ? ORDER BY id LIMIT {_PIECE}"""  # noqa: S608 - of our own


def altered(reads: Reads) -> Iterator[str]:
    """Yield which payloads and results in rows are not what was written, as `result of JOB`. Reads them all."""
    last = ""
    while rows := reads.rows(_ALL, (last,)):
        last = rows[-1][0]
        for job_id, *values in rows:
            for what, value in zip(("payload", "result"), values, strict=True):
                if value is not None and not _holds(value.decode(errors="replace")):
                    yield f"{what} of {job_id}"


def _holds(text: str) -> bool:
    try:
        unsealed(text, "")
    except ValueDamaged:
        return False
    return True
