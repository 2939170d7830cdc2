"""
The starter site: the repository's own jobs/, config.toml and systemd/. The wheel carries them beside this package; a
checkout has them at its root. `millrace init` makes a new site from them, so what newcomers see is what is tested.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from millrace.errors import NotFound

STARTER: Final = ("config.toml", "jobs", "systemd")


def starter_files() -> dict[str, Path]:
    """
    Return the files of the starter site: path relative to the site → where it can be read. Byte code is left out.

    Raises: NotFound if this installation lacks them.
    """
    root = _starter_root()
    files = {}
    for name in STARTER:
        part = root / name
        found = [part] if part.is_file() else sorted(path for path in part.rglob("*") if _is_wanted(path))
        files.update({path.relative_to(root).as_posix(): path for path in found})
    return files


def _starter_root() -> Path:
    package = Path(__file__).resolve().parent.parent
    for root in (package / "starter", package.parent.parent):  # the wheel's, the repository's
        if all((root / name).exists() for name in STARTER):
            return root
    raise NotFound("this installation has no starter site; install millrace from its wheel or its repository")


def _is_wanted(path: Path) -> bool:
    return path.is_file() and "__pycache__" not in path.parts
