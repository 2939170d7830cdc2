"""
Makes a backup of a site that works: the ledger as it stood at one moment, the files of its large values, config.toml
and the job files.

What is secret is not in it: neither `admin.token` nor credentials, and of tokens the ledger has only the SHA-256 of
256 random bits, from which nobody gets a token back. Names in jobs/ that begin with a dot, and links, are left out.
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from millrace import __version__
from millrace.clock import MS, rfc3339
from millrace.config.sizes import format_size
from millrace.errors import BackupBroken, LedgerFull, NotPermitted
from millrace.ledger.blobs import Blobs
from millrace.ledger.owner import belong
from millrace.ledger.snapshot import examine, files_of, lost_files, size_of, snapshot
from millrace.process.backup.archive import CONFIG, FILES, JOBS, LEDGER, manifest_of, pack, unpack
from millrace.process.backup.scratch import scratch, settle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from millrace.clock import Clock
    from millrace.config.find import Places
    from millrace.ledger.snapshot import Examined

SUFFIX: Final = ".tar.gz"
_NAME: Final = re.compile(r"millrace-\d{8}T\d{6}Z(?:-\d+)?\.tar\.gz")
# The copy and the archive of it lie beside each other for a while; and work must not run out of room for a backup.
_ROOM: Final = 2.0
_SPARE: Final = 50_000_000


class Backup(NamedTuple):
    """
    A backup that was made and looked at: where, how large, of how many jobs, and how many are unaccounted for.

    `audit_flaw` is why the chain of its audit log does not hold, None if it does; `lost` tells of each large value that
    is missing or damaged, and whose it is.
    """

    file: Path
    size: int
    accepted: int
    difference: int
    took_s: float
    audit_flaw: str | None = None
    lost: tuple[str, ...] = ()

    @property
    def flaws(self) -> list[str]:
        """What is wrong with the ledger that it is a backup of, in words."""
        return _flaws(self.accepted, self.difference, self.audit_flaw, self.lost)


def make(places: Places, target: Path, *, clock: Clock, stop: Callable[[], bool] = lambda: False) -> Backup:
    """
    Back a site up into a file, which appears under its name once it is whole, checked, and on the disk.

    A ledger whose balance does not hold, whose audit log was changed, or that has lost large values, is backed up all
    the same: it is the one there is. All of that is told.

    Args:
        target: Must not be there yet; nor need its folder, if it is one of the state folder.
        stop: Asked every few megabytes; True ends it.
    Raises: BackupBroken if the ledger or what was written is damaged, `target` is there, or its folder is not; NotFound
        if there is no ledger; NotPermitted if this user may not read or write something; LedgerFull if there is too
        little room; LedgerError.
    """
    began = clock.monotonic()
    try:
        if target.exists():
            raise BackupBroken(f"{target} is there already: nothing was written. Choose another name")
        _need_folder(target.parent, places.state)
        with scratch(target.parent, clock.now_ms()) as folder:
            _check_room(places.ledger, folder)
            copy, packed = folder / LEDGER, folder / "packed"
            at = clock.now_ms()
            blobs = Blobs(places.ledger)
            with blobs.kept():  # what the copy refers to must still be there when it is packed
                snapshot(places.ledger, copy, stop=stop)
                found = examine(copy)
                if found.flaws:
                    raise BackupBroken(f"the ledger is damaged ({found.flaws[0]}): see `millrace doctor`")
                members, left_out = _members(places, copy)
                lost = lost_files(copy, blobs)
                for name in (one.name for one in files_of(copy)):
                    if (blobs.folder / name).is_file():
                        members[f"{FILES}/{name}"] = blobs.folder / name
                    else:
                        left_out.append(f"{FILES}/{name}")
                pack(packed, members, {**_facts(at, found), "left_out": left_out, "lost": lost})
            unpack(packed, None)
            size = packed.stat().st_size
            if target.parent.stat().st_uid == places.state.stat().st_uid:  # the daemon rehearses it
                belong(packed, places.ledger)
            settle(packed, target)
    except PermissionError as error:
        raise NotPermitted(f"no backup: {error.filename} may not be read or written by this user") from error
    except OSError as error:
        raise BackupBroken(f"the backup could not be written: {error}") from error
    took_s = round(clock.monotonic() - began, 3)
    return Backup(target, size, found.accepted, found.difference, took_s, found.audit_flaw, tuple(lost))


def name_for(folder: Path, now_ms: int) -> Path:
    """Return the name of a backup that begins now; names sort by time."""
    stamp = datetime.fromtimestamp(now_ms // MS, UTC).strftime("%Y%m%dT%H%M%SZ")
    first = folder / f"millrace-{stamp}{SUFFIX}"
    number, path = 1, first
    while path.exists():
        number += 1
        path = folder / f"millrace-{stamp}-{number}{SUFFIX}"
    return path


def kept(folder: Path) -> list[Path]:
    """Return the backups in a folder that carry our own kind of name, newest first."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if _NAME.fullmatch(path.name)), key=_age, reverse=True)


def _age(path: Path) -> tuple[str, int]:
    stamp, _, number = path.name.removeprefix("millrace-").removesuffix(SUFFIX).partition("-")
    return stamp, int(number or 1)


def prune(folder: Path, keep: int, spare: Sequence[Path] = ()) -> list[Path]:
    """Remove the oldest backups beyond `keep` but `spare`; return them. Files with other names are left alone."""
    old = [path for path in kept(folder)[keep:] if path not in spare]
    for path in old:
        path.unlink(missing_ok=True)
    return old


def last_whole(folder: Path) -> list[Path]:
    """Return the newest backup in a folder that is one of a ledger without flaws, and whole itself; none if none is."""
    return list(islice(filter(_is_whole, kept(folder)), 1))


def _is_whole(archive: Path) -> bool:
    try:
        found = manifest_of(archive)  # first: most have a flaw when this is asked, and need not be read to the end
        ledger = found["ledger"]
        if _flaws(ledger["accepted"], ledger["difference"], ledger.get("audit_flaw"), found.get("lost", ())):
            return False
        unpack(archive, None)
    except (BackupBroken, OSError, KeyError):
        return False
    return True


def _flaws(accepted: int, difference: int, audit_flaw: str | None, lost: Sequence[str]) -> list[str]:
    more = f" and {len(lost) - 1} more" if len(lost) > 1 else ""
    found = [audit_flaw] if audit_flaw else []
    if difference:
        found.append(f"{difference} of its {accepted} accepted jobs are not accounted for")
    return [*found, f"large values are lost: {lost[0]}{more}"] if lost else found


def _need_folder(folder: Path, state: Path) -> None:
    """Make a folder of the state folder; elsewhere its disk may not be mounted, and another would fill."""
    if folder.is_dir():
        return
    ours = Path(os.path.realpath(folder.parent)).is_relative_to(os.path.realpath(state))
    if folder.exists() or not ours or not folder.parent.is_dir():
        raise BackupBroken(f"there is no folder {folder}: make it, or mount its disk, before")
    folder.mkdir(mode=0o700)
    belong(folder, state)


def _facts(at: int, found: Examined) -> dict[str, Any]:
    ledger = found._asdict()
    del ledger["flaws"]  # of the file: with any there is no backup
    return {"made_at": rfc3339(at), "made_by": __version__, "ledger": ledger}


def _check_room(ledger: Path, folder: Path) -> None:
    needed = round(size_of(ledger) * _ROOM) + sum(Blobs(ledger).sizes().values()) + _SPARE
    disk = os.statvfs(folder)
    free = disk.f_bavail * disk.f_frsize
    if free < needed:
        msg = f"a backup needs {format_size(needed)} for a while, and {folder.parent} has {format_size(free)}"
        raise LedgerFull(msg)


def _members(places: Places, copy: Path) -> tuple[dict[str, Path], list[str]]:
    members = {LEDGER: copy}
    if places.config is not None:
        members[CONFIG] = places.config
    left_out: list[str] = []
    jobs = places.root / places.jobs
    for path in _files(jobs):
        name = f"{JOBS}/{path.relative_to(jobs).as_posix()}"
        if path.is_symlink() or not path.is_file() or _hidden(path.relative_to(jobs)):
            left_out.append(name)
        else:
            members[name] = path
    return members, left_out


def _files(jobs: Path) -> Iterator[Path]:
    found = sorted(jobs.rglob("*")) if jobs.is_dir() else []
    return (path for path in found if "__pycache__" not in path.parts and (path.is_symlink() or not path.is_dir()))


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)
