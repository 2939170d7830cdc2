"""Whose the files of a site are: a command that root calls must leave none that the daemon cannot open."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def belong(path: Path, like: Path) -> None:
    """
    Let what root has made belong to the owner of `like`, or of the folder above it while that is not there.

    Raises: OSError.
    """
    if os.geteuid() == 0:
        found = (like if like.exists() else like.parent).stat()
        os.chown(path, found.st_uid, found.st_gid)
