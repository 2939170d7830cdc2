"""Where the room in a ledger goes: by table, exactly, and by client, estimated from their share of the jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from millrace.ledger import blob_rows

if TYPE_CHECKING:
    from millrace.ledger.reads import Reads

# Pages of a table's indexes count as the table's.
_TABLES: Final = """SELECT s.tbl_name, sum(d.pgsize) FROM dbstat d JOIN sqlite_schema s ON s.name = d.name
 WHERE d.aggregate = TRUE GROUP BY 1 ORDER BY 2 DESC"""
_SHARES: Final = (
    """SELECT client, sum(accepted - pruned) FROM tally GROUP BY client HAVING sum(accepted - pruned) > 0"""
)
_OF_JOBS: Final = ("job", "attempt", "event", "step")


def table_bytes(reads: Reads) -> dict[str, int]:
    """
    Return the bytes of each table with its indexes, largest first. Reads the whole file; at most once in a while.

    Raises: LedgerError.
    """
    return {str(name): int(count) for name, count in reads.rows(_TABLES)}


def client_bytes(reads: Reads, tables: dict[str, int]) -> dict[str, int]:
    """
    Return about how many bytes the jobs of each client take: their share of the rows, whatever is in them, and exactly
    what lies in files.
    """
    shares = {str(client): int(count) for client, count in reads.rows(_SHARES)}
    total, size = sum(shares.values()), sum(tables.get(name, 0) for name in _OF_JOBS)
    files = blob_rows.client_bytes(reads)
    return {
        client: round(size * shares.get(client, 0) / total) + files.get(client, 0) if total else files.get(client, 0)
        for client in (*shares, *(files.keys() - shares.keys()))
    }
