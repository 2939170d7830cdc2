"""The doctor's look at the owners and modes of the ledger's files: a command that root called may have made one."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

from millrace.cli.checks import Check

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from millrace.config.find import Places


def check_rights(places: Places) -> Iterator[Check]:
    """Whether the daemon's user, who owns the state folder, may write each file of the ledger."""
    from millrace.ledger.blobs import folder_of

    try:
        owner = places.state.stat().st_uid
    except OSError:
        return  # not made yet, or shut: the check of the folder has told
    beside = [places.ledger.with_name(places.ledger.name + end) for end in ("", "-wal", "-shm", ".lock")]
    found = [check for path in (*beside, folder_of(places.ledger)) if (check := _look(path, owner)) is not None]
    yield from found
    if not found and places.ledger.exists():
        yield Check("rights", "ok", "each file of the ledger can be written")


def _look(path: Path, owner: int) -> Check | None:
    try:
        status = path.stat()
    except OSError:
        return None  # it is not there, which is for others to tell
    folder = path.is_dir()
    me = os.geteuid()
    if not os.access(path, os.R_OK | os.W_OK | (os.X_OK if folder else 0)):
        text = f"{path} belongs to {user_name(status.st_uid)} and may not be written by {user_name(me)}"
        mend = f"chmod u+rw{'x' if folder else ''} {path}" if status.st_uid == me else f"chown {user_name(me)} {path}"
        return Check("rights", "fail", text, mend)
    if me == 0 and status.st_uid != owner:
        text = f"{path} belongs to {user_name(status.st_uid)}, the state folder to {user_name(owner)}"
        return Check("rights", "warn", text, f"chown -R {user_name(owner)} {path}")
    return None


def user_name(uid: int) -> str:
    """Return the name of a user; the number of one without a name, as containers have them."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
