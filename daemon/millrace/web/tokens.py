"""API tokens: their text, what is kept of it, and the first one of a fresh site."""

from __future__ import annotations

import os
import re
import secrets
from enum import IntEnum
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from millrace.clock import SYSTEM, Clock
from millrace.errors import SettingsError
from millrace.events import TokenMade, ignore
from millrace.ledger.ids import new_id
from millrace.ledger.rows import TokenRow

if TYPE_CHECKING:
    from pathlib import Path

    from millrace.events import Emit
    from millrace.ledger.moves import Moves
    from millrace.ledger.reads import Reads

PREFIX: Final = "mr_"
FILE: Final = "admin.token"
_TEXT: Final = re.compile(r"mr_[A-Za-z0-9_-]{43}")  # 32 random bytes
_OURS_ALONE: Final = 0o600


class Role(IntEnum):
    """What a token may do: look; also submit, retry, cancel and pause; everything."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3


def new_text() -> str:
    """Return the text of a new token: 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def hash_of(text: str) -> str:
    """
    Return what is kept of a token.

    A plain SHA-256: the text has 256 random bits, so that there is nothing to guess and nothing to slow down.
    """
    return sha256(text.encode(errors="surrogatepass")).hexdigest()


def first_token(reads: Reads, moves: Moves, state: Path, *, clock: Clock = SYSTEM, emit: Emit = ignore) -> Path | None:
    """
    Give a fresh site its admin token, in the file `admin.token` of the state folder, readable by its owner alone.

    The file is on disk before the ledger knows the token, and a token that stands in it is used again: a crash between
    the two leaves a site whose next start mends it, never one without a key.

    Returns: The file, or None if the site has tokens already.
    Raises: SettingsError if the file cannot be written.
    """
    if reads.tokens():
        return None
    path = state / FILE
    try:
        text = _usable(path) or _write(path, new_text())
    except OSError as error:
        msg = f"the first token cannot be written to {path}: {error.strerror}"
        raise SettingsError(msg) from error
    now_ms = clock.now_ms()
    row = TokenRow(new_id(now_ms), "first", Role.ADMIN.name.lower(), None, now_ms, None, None)
    if not moves.add_first_token(row, hash_of(text)).wait():
        return None
    emit(TokenMade(str(path)))
    return path


def _usable(path: Path) -> str | None:
    """Return the token that stands in the file, if nobody else can have read or written it."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return None
    with os.fdopen(handle) as file:
        facts = os.fstat(handle)
        if facts.st_uid != os.geteuid() or facts.st_mode & 0o077:
            return None
        text = file.read(100).strip()
    return text if _TEXT.fullmatch(text) else None


def _write(path: Path, text: str) -> str:
    """Write the file so that it is either there as a whole, on disk, or not at all."""
    half = path.with_suffix(".new")
    half.unlink(missing_ok=True)
    handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _OURS_ALONE)
    with os.fdopen(handle, "w") as file:
        file.write(f"{text}\n")
        file.flush()
        os.fsync(handle)
    half.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return text
