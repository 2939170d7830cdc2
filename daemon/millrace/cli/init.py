"""`millrace init`: a new site, made of the files that this one is tested with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from millrace.cli.session import tell
from millrace.config.starter import starter_files
from millrace.errors import MillraceError

if TYPE_CHECKING:
    from collections.abc import Mapping


@click.command("init")
@click.argument("folder", metavar="[DIR]", default=".", type=click.Path(path_type=Path, file_okay=False))
def init(folder: Path) -> None:
    r"""
    Make a new site in a folder.

    Writes config.toml, sample jobs and a systemd unit; overwrites nothing.

    \b
    Exit: 0 made; 1 something is in the way, and nothing was written.
    """
    files = starter_files()
    taken = [name for name in files if (folder / name).exists() or (folder / name).is_symlink()]
    if taken:
        more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        raise MillraceError(f"{folder / taken[0]} is there already{more}: nothing was written. Choose another folder")
    _copy(files, folder)
    click.echo(str(folder.resolve()))
    tell("A new site. Next:")
    for step in (f"cd {folder}", "millrace serve", "millrace submit report month=2026-01    (in a second terminal)"):
        if step != "cd .":
            tell(f"  {step}")
    tell("The settings are in config.toml. Your jobs go into jobs/: millrace new writes one to begin with.")


def _copy(files: Mapping[str, Path], folder: Path) -> None:
    try:
        for name, source in files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as file:
                file.write(source.read_bytes())
    except OSError as error:
        raise MillraceError(f"{error.filename or folder}: cannot be written: {error.strerror}") from error
