"""
The kinds of steps that an installation is made of. Each can say what it would do, whether that is needed, and do it;
done twice it changes nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from millrace.errors import MillraceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

COMMAND_S: Final = 60.0


class Step(Protocol):
    """One thing to do."""

    def words(self) -> str:
        """Return what it does, for the plan."""

    def needed(self) -> bool:
        """Return whether it is still to be done."""

    def do(self) -> None:
        """Do it. Raises OSError or MillraceError."""


@dataclass(frozen=True, slots=True)
class Base:
    """Where everything goes: `/`, or a folder that stands for it."""

    root: Path

    @property
    def live(self) -> bool:
        """Whether it is this machine, whose systemd can be told."""
        return str(self.root) == "/"

    def at(self, path: Path | str) -> Path:
        """Return where an absolute path lies below the root."""
        return self.root / str(path).lstrip("/")

    def has_user(self, name: str) -> bool:
        """Return whether the root's own passwd file names a user."""
        return _id_in(self.at("/etc/passwd"), name) is not None

    def ids(self, owner: str) -> tuple[int, int]:
        """Return the ids of "user:group" as the root's own files have them; -1, which changes none, if they do not."""
        names = zip(owner.split(":"), ("passwd", "group"), strict=True)
        user, group = (0 if name == "root" else _id_in(self.at(f"/etc/{file}"), name) for name, file in names)
        return (-1 if user is None else user, -1 if group is None else group)


@dataclass(frozen=True, slots=True)
class AddUser:
    """A system user without a shell, whose home is the state folder."""

    base: Base
    name: str
    home: str

    def words(self) -> str:
        """See `Step`."""
        return f"add the system user {self.name} (no shell, home {self.home})"

    def needed(self) -> bool:
        """See `Step`."""
        return not self.base.has_user(self.name)

    def do(self) -> None:
        """See `Step`."""
        where = []
        if not self.base.live:
            where = ["--prefix", str(self.base.root)]
            for name, mode in (("passwd", 0o644), ("group", 0o644), ("shadow", 0o600), ("gshadow", 0o600)):
                file = self.base.at(f"/etc/{name}")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch(mode)
        run(
            "useradd", *where, "--system", "--user-group", "--no-create-home",
            "--home-dir", self.home, "--shell", "/usr/sbin/nologin", self.name,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class MakeFolder:
    """A folder with its mode and its owner, "user:group"."""

    base: Base
    path: str
    mode: int
    owner: str

    def words(self) -> str:
        """See `Step`."""
        return f"make {self.path} (mode {self.mode:04o}, {self.owner})"

    def needed(self) -> bool:
        """See `Step`."""
        place = self.base.at(self.path)
        if not place.is_dir():
            return True
        stat = place.stat()
        return (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid) != (self.mode, *self.base.ids(self.owner))

    def do(self) -> None:
        """See `Step`."""
        place = self.base.at(self.path)
        place.mkdir(parents=True, exist_ok=True)
        place.chmod(self.mode)
        os.chown(place, *self.base.ids(self.owner))


@dataclass(frozen=True, slots=True)
class WriteFiles:
    """Files that are written when they are not there, or, with `replace`, when they differ."""

    base: Base
    files: Mapping[str, bytes]
    mode: int
    owner: str
    what: str
    replace: bool = False

    def words(self) -> str:
        """See `Step`."""
        return f"write {self.what} ({len(self.files)} files)" if len(self.files) > 1 else f"write {self.what}"

    def needed(self) -> bool:
        """See `Step`."""
        return bool(self._missing())

    def do(self) -> None:
        """See `Step`."""
        ids = self.base.ids(self.owner)
        for path in self._missing():
            target = self.base.at(path)
            for folder in reversed([parent for parent in target.parents if not parent.exists()]):
                folder.mkdir()
                folder.chmod(self.mode | (self.mode & 0o444) >> 2)  # who may read the files may enter
                os.chown(folder, *ids)
            # Beside it, then renamed: a crash leaves the old file or the new one.
            fresh = target.with_name(f".{target.name}.new")
            fresh.write_bytes(self.files[path])
            fresh.chmod(self.mode)
            os.chown(fresh, *ids)
            fresh.replace(target)

    def _missing(self) -> list[str]:
        return [path for path, text in self.files.items() if self._lacks(self.base.at(path), text)]

    def _lacks(self, place: Path, text: bytes) -> bool:
        return not place.is_file() or (self.replace and place.read_bytes() != text)


@dataclass(frozen=True, slots=True)
class Remove:
    """A file or a whole folder that goes away."""

    base: Base
    path: str

    def words(self) -> str:
        """See `Step`."""
        return f"remove {self.path}" + (" and all in it" if self.base.at(self.path).is_dir() else "")

    def needed(self) -> bool:
        """See `Step`."""
        return self.base.at(self.path).exists()

    def do(self) -> None:
        """See `Step`."""
        place = self.base.at(self.path)
        if place.is_dir():
            shutil.rmtree(place)
        else:
            place.unlink()


@dataclass(frozen=True, slots=True)
class RemoveUser:
    """The user that `AddUser` made."""

    base: Base
    name: str

    def words(self) -> str:
        """See `Step`."""
        return f"remove the user {self.name}"

    def needed(self) -> bool:
        """See `Step`."""
        return self.base.has_user(self.name)

    def do(self) -> None:
        """See `Step`."""
        run("userdel", *([] if self.base.live else ["--prefix", str(self.base.root)]), self.name)


@dataclass(frozen=True, slots=True)
class Systemctl:
    """A word to the service manager."""

    arguments: Sequence[str]

    def words(self) -> str:
        """See `Step`."""
        return f"systemctl {' '.join(self.arguments)}"

    def needed(self) -> bool:
        """See `Step`. Asking costs no less than doing, and doing it again harms nothing."""
        return True

    def do(self) -> None:
        """See `Step`."""
        run("systemctl", *self.arguments)


def run(program: str, *arguments: str) -> None:
    """
    Run a program of the system.

    Raises: MillraceError with what it said, if it is missing, fails or takes longer than a minute.
    """
    found = shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin")
    if found is None:
        raise MillraceError(f"{program} is not on this machine")
    try:
        subprocess.run([found, *arguments], check=True, capture_output=True, text=True, timeout=COMMAND_S)
    except subprocess.CalledProcessError as error:
        said = (error.stderr or error.stdout).strip() or f"exit code {error.returncode}"
        raise MillraceError(f"{program} {' '.join(arguments)}: {said}") from error
    except subprocess.TimeoutExpired as error:
        raise MillraceError(f"{program} {' '.join(arguments)}: took longer than {COMMAND_S:g} s") from error


def _id_in(file: Path, name: str) -> int | None:
    """Return the id that a line of passwd or group gives a name."""
    if not file.is_file():
        return None
    for line in file.read_text(encoding="utf-8").splitlines():
        fields = line.split(":")
        if fields[0] == name:
            return int(fields[2])
    return None
