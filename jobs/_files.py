"""
Where the everyday jobs keep their files, and how they stay there.

All of them work below one folder, so that whoever may submit a job can neither read nor delete anything else. It is
`folder` in `[settings.everyday]` of config.toml, from the folder of config.toml on; without it, `everyday` in the state
folder.
"""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Final, TextIO

from pydantic import AfterValidator, Field

from millrace import GiveUp, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

SITE: Final = Path(__file__).resolve().parents[1]


def _inner(text: str) -> str:
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in text:
        raise ValueError(
            'must be a path below the folder of the everyday jobs, such as "reports": no "/" first, no ".."'
        )
    return text


InnerPath = Annotated[str, AfterValidator(_inner), Field(max_length=500, examples=["reports"])]


def everyday() -> dict[str, Any]:
    """Return the values of `[settings.everyday]`."""
    return dict(settings.get("everyday", {}))


def home() -> Path:
    """Return the folder of the everyday jobs, made if it was missing."""
    state = os.environ.get("STATE_DIRECTORY", "var").partition(":")[0]
    folder: Path = SITE / everyday().get("folder", Path(state) / "everyday")
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


def inside(base: Path, name: str) -> Path:
    """
    Return the path of a file or folder below `base`, its symbolic links followed.

    Raises: GiveUp, if they lead out of it: another attempt would find the same.
    """
    path = (base / name).resolve()
    if path == base or not path.is_relative_to(base):
        raise GiveUp(f"{name} leads out of {base}")
    return path


def harmless(label: str) -> str:
    """Keep a spreadsheet from taking a name for a formula."""
    return f"'{label}" if label.startswith(("=", "+", "-", "@", "\t", "\r")) else label


@contextmanager
def written(path: Path) -> Iterator[TextIO]:
    """
    Write a file as a whole or not at all: whoever opens it sees the old one or the new one, also after a crash.

    It grows under a name of its own, is synced to disk, and takes the place of the old one in one step.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        with part.open("w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)  # the new name itself must survive a power cut, too
    finally:
        os.close(folder)
