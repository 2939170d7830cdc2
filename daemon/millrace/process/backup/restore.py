"""Puts a backup back, or rehearses it: unpacks it somewhere else and looks at everything that it holds."""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from millrace.errors import BackupBroken, LedgerBusy, LedgerError, MillraceError
from millrace.ledger.blobs import Blobs, sync_folder
from millrace.ledger.ids import new_id
from millrace.ledger.owner import belong
from millrace.ledger.snapshot import Examined, examine, files_of, folded, forget_children, identity, lost_files
from millrace.process.backup.archive import CONFIG, FILES, JOBS, LEDGER, unpack
from millrace.process.backup.scratch import scratch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from millrace.clock import Clock
    from millrace.config.find import Places

_LOGS: Final = ("-wal", "-shm", "-journal")


class Rehearsed(NamedTuple):
    """
    What a backup came to when it was unpacked.

    Args:
        file: The backup.
        made_at: RFC 3339; empty if that could not be read.
        found: What its ledger holds; None if it could not be looked at.
        files: How many other files it has.
        problems: Why it should not be relied on; empty if it is whole.
    """

    file: Path
    made_at: str
    found: Examined | None
    files: int
    problems: tuple[str, ...]
    took_s: float

    def as_json(self) -> dict[str, Any]:
        """Return it as `restore --check` gives it."""
        found = self.found
        return {
            "file": str(self.file),
            "whole": not self.problems,
            "made_at": self.made_at or None,
            "ledger": None if found is None else {**found._asdict(), "flaws": list(found.flaws)},
            "files": self.files,
            "problems": list(self.problems),
            "took_s": self.took_s,
        }


class Restored(NamedTuple):
    """
    What a restore did.

    Args:
        found: What the backup's ledger holds.
        before: Where the ledger that was there is now.
        written: Other files that were put back.
        differ: Those that were there, differ, and were left.
        lost: Large values that neither the backup nor the site has whole, and whose they are.
        other_site: Whether the ledger that was there is another than the backup's, and not an earlier or later state.
    """

    found: Examined
    before: Path | None
    written: tuple[Path, ...]
    differ: tuple[Path, ...]
    lost: tuple[str, ...]
    other_site: bool


def rehearse(archive: Path, parent: Path, *, clock: Clock) -> Rehearsed:
    """
    Unpack a backup into a scratch folder, look at all of it, bring its ledger up to date, and remove it again.

    Args:
        parent: Where the scratch folder is made; needs room for the ledger.
    Raises: LedgerError or BackupBroken only if there is no room to look.
    """
    began = clock.monotonic()
    made_at, files, found = "", 0, None
    problems: tuple[str, ...] = ()
    try:
        with scratch(parent, clock.now_ms()) as folder:
            manifest = unpack(archive, folder)
            made_at, files = str(manifest.get("made_at", "")), len(manifest["files"]) - 1
            found, problems = _looked_at(folder / LEDGER, clock)
    except OSError as error:
        raise BackupBroken(f"no rehearsal in {parent}: {error}") from error
    except MillraceError as error:
        problems = (str(error),)
    return Rehearsed(archive, made_at, found, files, problems, round(clock.monotonic() - began, 3))


def restore(archive: Path, places: Places, *, clock: Clock) -> Restored:
    """
    Put a backup's ledger in the place of the site's, and config.toml and job files where there are none.

    The caller holds the daemon's lock. The ledger that is there is kept beside it. A kill at any point leaves the old
    ledger or the new one.

    Raises: BackupBroken if the backup is not whole, LedgerError if the ledger that is there is in use.
    """
    ledger = Path(os.path.realpath(places.ledger))  # what a link points to is replaced, and kept, and not the link
    try:
        _need(ledger.parent)
        with scratch(ledger.parent, clock.now_ms()) as folder:
            unpack(archive, folder)
            copy = folder / LEDGER
            found, problems = _looked_at(copy, clock)
            if found.flaws:
                raise BackupBroken(f"{archive}: {'; '.join(problems)}")
            replaced = identity(ledger)
            with _set_aside(ledger, clock.now_ms()) as before:  # with its files, before any of them is replaced
                if (folder / FILES).is_dir():  # before the ledger that refers to them
                    Blobs(ledger).adopt(Blobs(copy), files_of(copy))
                _swap(copy, ledger)
            written, differ = _site_files(folder, places)
            lost = tuple(lost_files(ledger))
            return Restored(found, before, written, differ, lost, replaced not in (None, found.ledger))
    except OSError as error:
        raise BackupBroken(f"the backup could not be put back: {error}") from error


def _looked_at(copy: Path, clock: Clock) -> tuple[Examined, tuple[str, ...]]:
    found = examine(copy)
    problems = list(found.flaws)
    if not found.flaws:
        problems += lost_files(copy)
    if found.audit_flaw:
        problems.append(found.audit_flaw)
    if found.difference:
        problems.append(f"{found.difference} of its {found.accepted} accepted jobs are not accounted for")
    if not found.flaws:
        forget_children(copy, clock)  # what an older version made must be brought up to this one
    return found, tuple(problems)


@contextmanager
def _set_aside(ledger: Path, now_ms: int) -> Iterator[Path | None]:
    """
    Give the ledger that is there, with its large values, a second name: None if there is none.

    Nobody writes until the end, when another has its place: a command would acknowledge what is in neither.
    """
    if not ledger.exists():
        ledger.touch(0o600)  # to have something to hold: a command could make a ledger meanwhile
        belong(ledger, ledger.parent)
    with ExitStack() as held:
        logs: tuple[str, ...] = ()
        try:
            filled = held.enter_context(folded(ledger))  # its log must not be taken for one of the new file
        except LedgerBusy:
            raise  # a command has it open: what it writes would be lost
        except LedgerError:  # damaged: its logs as they are, for whoever wants to look for what is left in it
            filled, logs = True, _LOGS
        yield _keep(ledger, now_ms, logs) if filled else None


def _keep(ledger: Path, now_ms: int, logs: tuple[str, ...]) -> Path:
    before = ledger.with_name(f"{ledger.name}.before-{new_id(now_ms)}")
    os.link(ledger, before)
    for log in logs:
        with suppress(FileNotFoundError):
            os.link(ledger.with_name(ledger.name + log), before.with_name(before.name + log))
    Blobs(ledger).share(before)  # to the ledger that takes its place they are strays
    return before


def _swap(new: Path, ledger: Path) -> None:
    """Let a file be the ledger, at one stroke."""
    for log in _LOGS:
        ledger.with_name(ledger.name + log).unlink(missing_ok=True)
    new.chmod(stat.S_IMODE(ledger.stat().st_mode))
    belong(new, ledger)
    new.replace(ledger)
    sync_folder(ledger.parent)


def _site_files(folder: Path, places: Places) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Write config.toml and job files that are not there; name those that are and differ, and leave them."""
    written, differ = [], []
    config = places.config or places.root / CONFIG
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = path.relative_to(folder)
        if name.parts[0] not in (CONFIG, JOBS):
            continue
        place = config if name.parts == (CONFIG,) else places.root / places.jobs / name.relative_to(JOBS)
        if place.exists():
            differ += [place] if place.read_bytes() != path.read_bytes() else []
            continue
        _need(place.parent)
        place.write_bytes(path.read_bytes())
        belong(place, place.parent)
        written.append(place)
    return tuple(written), tuple(differ)


def _need(folder: Path) -> None:
    if not folder.is_dir():
        _need(folder.parent)
        folder.mkdir()
        belong(folder, folder.parent)
