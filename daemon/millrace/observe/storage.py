"""
How much room the ledger takes, and how much is left: by `stat` only, since opening and closing the file would drop
SQLite's locks on it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_MB: Final = 10**6
FEW_FILES: Final = 1000  # a warning below so many files that can still be made
LOW: Final = (500 * _MB, 0.10)  # a warning below this many bytes, or this share of a smaller disk


@dataclass(frozen=True, slots=True)
class Storage:
    """
    Bytes of the ledger's files and of the disk that they are on.

    Args:
        files_free: How many files can still be made on it; None where the file system does not count them.
    """

    database_bytes: int
    wal_bytes: int
    disk_free_bytes: int
    disk_total_bytes: int
    files_free: int | None

    @property
    def low(self) -> bool:
        """Whether somebody should make room soon."""
        return self.disk_free_bytes < min(LOW[0], LOW[1] * self.disk_total_bytes)


def storage_of(ledger: Path) -> Storage:
    """
    Look at a ledger's files.

    Raises: OSError if the ledger or its folder is gone.
    """
    disk = os.statvfs(ledger.parent)
    wal = Path(f"{ledger}-wal")
    return Storage(
        database_bytes=ledger.stat().st_size,
        wal_bytes=wal.stat().st_size if wal.exists() else 0,
        disk_free_bytes=disk.f_bavail * disk.f_frsize,
        disk_total_bytes=disk.f_blocks * disk.f_frsize,
        files_free=disk.f_favail if disk.f_files else None,
    )
