"""
Large values in files beside the ledger. A value of megabytes in a row would be copied twice (into the log, and from
there into the database) while everybody else waits for the write lock; in a file it is written once, by the thread
that brings it, and the row carries a short reference.

A file is on the disk before the transaction begins that refers to it, so that a reference always has its file; a kill
in between leaves a file without a reference, which `blob_rows.strays` finds. A name is never used twice, and a file
never changed: what is known to be unreferenced can be removed without a look at who writes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from millrace.clock import SYSTEM, Clock
from millrace.errors import LedgerError, LedgerFull, ValueDamaged
from millrace.ledger.ids import new_id
from millrace.ledger.owner import belong

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# From about here on a file costs its caller no more than the row (`bench/blobs.py`): below, its two syncs cost more
# than the copies. What counts is everybody else: small submissions beside large ones take a tenth of the time.
LARGE: Final = 512 * 2**10  # bytes
SUFFIX: Final = "-blobs"
MARK: Final = "@"  # no JSON text begins with it
_FORM: Final = re.compile(r"@([0-9a-f-]{36}):([0-9a-f]{32}):([0-9]{1,15})")
_PART: Final = ".part"
_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class Reference(NamedTuple):
    """What a row has in place of a large value: the name of its file, the checksum of its text, its bytes."""

    name: str
    digest: str
    size: int

    def __str__(self) -> str:
        """Return it as it stands in the row."""
        return f"{MARK}{self.name}:{self.digest}:{self.size}"


def reference(text: str | None) -> Reference | None:
    """Return the reference that a column holds; None if it holds the value itself, nothing, or something damaged."""
    if text is None or not text.startswith(MARK):
        return None
    found = _FORM.fullmatch(text)
    return Reference(found[1], found[2], int(found[3])) if found else None


def is_reference(text: str) -> bool:
    """Return whether a text stands for a large value."""
    return text.startswith(MARK)


def size_of(text: str) -> int:
    """Return how many bytes a text has."""
    return len(text) if text.isascii() else len(text.encode(errors="surrogatepass"))


def is_large(text: str) -> bool:
    """Return whether a value belongs into a file."""
    return size_of(text) > LARGE


def folder_of(ledger: str | Path) -> Path:
    """Return where the files of a ledger lie: beside the database itself, as its log does, whatever links to it."""
    return Path(os.path.realpath(ledger) + SUFFIX)


class Blobs:
    """The files of one ledger. Safe to share between threads and processes."""

    def __init__(self, ledger: str | Path, clock: Clock = SYSTEM) -> None:
        self.folder = folder_of(ledger)
        self._ledger = Path(os.path.realpath(ledger))
        self._clock = clock

    def put(self, text: str) -> str:
        """
        Write a value into a file of its own and let it reach the disk; return the reference to it.

        Raises: LedgerFull, LedgerError; nothing of the file is then left.
        """
        data = text.encode()
        found = Reference(new_id(self._clock.now_ms()), blake2b(data, digest_size=16).hexdigest(), len(data))
        try:
            self._write(found.name, data)
        except OSError as error:
            self.discard([found.name])
            if error.errno in _FULL:
                raise LedgerFull(
                    "the disk is full: nothing of this was written. Free some space; no restart is needed"
                ) from error
            raise LedgerError(f"a large value could not be written into {self.folder}: {error}") from error
        return str(found)

    def _write(self, name: str, data: bytes) -> None:
        self._need_folder()
        place = self.folder / name
        part = place.with_name(name + _PART)
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        belong(part, self._ledger)
        part.rename(place)
        sync_folder(self.folder)

    def _need_folder(self) -> None:
        if not self.folder.is_dir():
            self.folder.mkdir(mode=0o700, exist_ok=True)
            belong(self.folder, self._ledger)
            sync_folder(self.folder.parent)

    def whole(self, text: str) -> str:
        """
        Return the value that a column stands for.

        Raises: ValueDamaged if its file is missing, or not what was written.
        """
        if not is_reference(text):
            return text
        found = reference(text)
        if found is None:
            raise ValueDamaged("what refers to the file of a large value is damaged itself")
        place = self.folder / found.name
        try:
            data = place.read_bytes()
        except OSError as error:
            raise ValueDamaged(f"the file of a large value cannot be read: {place}: {error.strerror}") from error
        if blake2b(data, digest_size=16).hexdigest() != found.digest:
            raise ValueDamaged(f"the file of a large value is not what was written: {place}")
        return data.decode()

    def sizes(self) -> dict[str, int]:
        """Return the files that are there by name, with their bytes; without those that are being written."""
        found: dict[str, int] = {}
        for entry in self._entries():
            with suppress(FileNotFoundError):  # removed meanwhile
                if not entry.name.endswith(_PART):
                    found[entry.name] = entry.stat().st_size
        return found

    def older(self, before_ms: int) -> list[str]:
        """Return the files that were last written before a time, finished or not."""
        found: list[str] = []
        for entry in self._entries():
            with suppress(FileNotFoundError):  # removed meanwhile
                if entry.stat().st_mtime_ns // 1_000_000 < before_ms:
                    found.append(entry.name.removesuffix(_PART))
        return found

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        try:
            with os.scandir(self.folder) as entries:
                yield from (entry for entry in entries if entry.is_file(follow_symlinks=False))
        except FileNotFoundError:  # no value was large so far
            return

    def remove(self, names: Iterable[str]) -> int:
        """
        Remove files that nothing refers to, and return how many there were; none while a copy of all is made.

        Never raises: what is left is found again by the search for strays.
        """
        with suppress(OSError), _locked(self.folder, fcntl.LOCK_EX | fcntl.LOCK_NB):
            return self.discard(names)
        return 0

    def discard(self, names: Iterable[str]) -> int:
        """Remove files that nothing ever referred to: a copy of the ledger cannot refer to them either."""
        removed = 0
        for name in names:
            for place in (self.folder / name, self.folder / (name + _PART)):
                with suppress(OSError):
                    place.unlink()
                    removed += 1
        return removed

    def adopt(self, others: Blobs, wanted: Iterable[Reference]) -> None:
        """
        Take the files of another ledger on the same disk over, beside those that are here.

        No name is used for two values. One that is here stays, unless it is not what was written and the other is: a
        backup may have been made of a damaged file that has been put right since.
        """
        self._need_folder()
        for one in wanted:
            theirs = others.folder / one.name
            if not theirs.is_file() or ((self.folder / one.name).exists() and (self._has(one) or not others._has(one))):
                continue
            theirs.chmod(0o600)
            belong(theirs, self._ledger)
            theirs.replace(self.folder / one.name)
        sync_folder(self.folder)

    def _has(self, one: Reference) -> bool:
        try:
            self.whole(str(one))
        except ValueDamaged:
            return False
        return True

    def share(self, other: Path) -> None:
        """Let another ledger on the same disk have all files too, until either lets go of them."""
        place, entries = folder_of(other), list(self._entries())
        if entries:
            place.mkdir(mode=0o700)
            belong(place, self._ledger)
            for entry in entries:
                os.link(entry.path, place / entry.name)
            sync_folder(place)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Let no process remove a file meanwhile: a copy of the ledger is made, and then of what it refers to."""
        self._need_folder()
        with _locked(self.folder, fcntl.LOCK_SH):
            yield


@contextmanager
def _locked(folder: Path, how: int) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, how)
        yield
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Let the names in a folder reach the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
