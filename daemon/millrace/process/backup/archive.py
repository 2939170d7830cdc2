"""
The file that a backup is: a compressed tar whose first member, the manifest, names every other with its SHA-256.

Members are read one by one and compared; nothing is unpacked by the name that the archive gives it unless the
manifest has it and it stays within the folder.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import tarfile
import zlib
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any, Final

from millrace.errors import BackupBroken
from millrace.ledger.blobs import SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MANIFEST: Final = "manifest.json"
LEDGER: Final = "ledger.db"
FILES: Final = LEDGER + SUFFIX  # so that the copy of the ledger finds them where it is unpacked
CONFIG: Final = "config.toml"
JOBS: Final = "jobs"
FORMAT: Final = 1
_CHUNK: Final = 1 << 20
_LEVEL: Final = 1  # JSON shrinks to a quarter already; a better level takes five times as long
_MOST_MANIFEST: Final = 64 << 20


def pack(target: Path, members: Mapping[str, Path], facts: Mapping[str, Any]) -> dict[str, Any]:
    """
    Write an archive and sync it to the disk.

    Args:
        target: A new file, for its owner alone.
        members: Name in the archive → file. They must not change meanwhile.
        facts: What else the manifest says.
    Returns: The manifest.
    Raises: OSError.
    """
    sizes = {name: path.stat().st_size for name, path in members.items()}
    files = {name: {"bytes": sizes[name], "sha256": _hash_of(path)} for name, path in members.items()}
    manifest = {"format": FORMAT, **facts, "files": files}
    text = json.dumps(manifest, indent=1, sort_keys=True).encode()
    descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        with tarfile.open(fileobj=file, mode="w:gz", compresslevel=_LEVEL) as tar:
            _add(tar, MANIFEST, io.BytesIO(text), len(text))
            for name, path in members.items():
                with path.open("rb") as member:
                    _add(tar, name, member, sizes[name])
        file.flush()
        os.fsync(file.fileno())
    return manifest


def _add(tar: tarfile.TarFile, name: str, content: IO[bytes], size: int) -> None:
    info = tarfile.TarInfo(name)  # neither owner nor time of this machine
    info.size = size
    info.mode = 0o600
    tar.addfile(info, content)


def unpack(archive: Path, folder: Path | None) -> dict[str, Any]:
    """
    Compare every member with the manifest, and write it into a folder.

    Args:
        folder: Empty; None to compare only.
    Returns: The manifest.
    Raises: BackupBroken if anything differs, is missing or is too much; OSError if the file cannot be read, or the
        folder not be written.
    """
    with _opened(archive) as tar:
        manifest = _manifest(archive, tar)
        missing = dict(manifest["files"])
        while (info := tar.next()) is not None:
            wanted = missing.pop(info.name, None)
            if wanted is None or not info.isreg() or not _inside(info.name):
                raise BackupBroken(f"{archive}: {info.name} is not in its manifest")
            content = tar.extractfile(info)
            if content is None or _copied(content, folder and folder / info.name) != wanted.get("sha256"):
                raise BackupBroken(f"{archive}: {info.name} is not what was backed up: its SHA-256 differs")
        _read_on(tar)
    if missing:
        raise BackupBroken(f"{archive}: {', '.join(sorted(missing))} is missing")
    return manifest


def manifest_of(archive: Path) -> dict[str, Any]:
    """
    Return the manifest, without a look at anything else.

    Raises: BackupBroken if it cannot be made out, OSError if the file cannot be read.
    """
    with _opened(archive) as tar:
        return _manifest(archive, tar)


@contextmanager
def _opened(archive: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(archive, "r:*") as tar:
            yield tar
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BackupBroken(f"{archive}: {_reason(error)}") from error


def _manifest(archive: Path, tar: tarfile.TarFile) -> dict[str, Any]:
    first = tar.next()
    content = tar.extractfile(first) if first is not None and first.name == MANIFEST else None
    if content is None:
        raise BackupBroken(f"{archive}: is not a backup of Millrace: it does not begin with {MANIFEST}")
    try:
        found = json.loads(content.read(_MOST_MANIFEST))
    except ValueError as error:
        raise BackupBroken(f"{archive}: its {MANIFEST} is not JSON") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT or LEDGER not in found.get("files", {}):
        raise BackupBroken(f"{archive}: is of a form that this version does not know; install the one that made it")
    return found


def _read_on(tar: tarfile.TarFile) -> None:
    """Go to the end, where gzip has a checksum of all: what the manifest itself says is under no other."""
    while tar.fileobj.read(_CHUNK):
        pass


def _inside(name: str) -> bool:
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts


def _copied(content: IO[bytes], target: Path | None) -> str:
    if target is None:
        return _hash(content)
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("xb") as file:
        digest = _hash(content, file)
        file.flush()
        os.fsync(file.fileno())
    return digest


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return _hash(file)


def _hash(content: IO[bytes], copy: IO[bytes] | None = None) -> str:
    digest = hashlib.sha256()
    while chunk := content.read(_CHUNK):
        digest.update(chunk)
        if copy is not None:
            copy.write(chunk)
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    if str(error).startswith("file could not be opened"):  # tarfile goes on with what each of its readers said
        return "is no backup of Millrace: it is no compressed tar file"
    return f"is damaged, or no backup at all ({str(error) or type(error).__name__})"
