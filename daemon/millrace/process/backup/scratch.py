"""
A folder for what is not finished yet, beside what it will become: a rename within one file system is all or nothing.

Its maker holds a lock on it, which the kernel lets go of when the maker dies; so a later one can tell what was left
behind from what is in use.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from millrace.ledger.blobs import sync_folder
from millrace.ledger.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PATTERN: Final = ".millrace-*.partial"


@contextmanager
def scratch(parent: Path, now_ms: int) -> Iterator[Path]:
    """
    Give a fresh folder in `parent`, for its owner alone.

    Raises: OSError.
    """
    sweep(parent)
    folder = parent / f".millrace-{new_id(now_ms)}.partial"
    folder.mkdir(mode=0o700)
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def sweep(parent: Path) -> None:
    """Remove what makers that have died left in a folder."""
    for folder in parent.glob(_PATTERN):
        with suppress(OSError):  # gone meanwhile, or not ours to remove
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


def settle(finished: Path, place: Path) -> None:
    """Give a finished file its name, for good: after a power cut too, there is all of it or nothing."""
    finished.rename(place)
    sync_folder(place.parent)
