"""The systemd unit of one installation: the one that ships, with this machine's paths in it."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final

from millrace.config.starter import starter_files
from millrace.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

NAME: Final = "millrace.service"
# What stands in the unit that ships; a test holds them against it.
PROGRAM: Final = "/opt/millrace/bin/millrace"
SITE: Final = "/etc/millrace"
USER: Final = "millrace"
STATE: Final = "/var/lib/millrace"
# Folders that the unit hides or makes empty: a program or a site in them could not be read by the service.
_HIDDEN: Final = {"home": "ProtectHome", "root": "ProtectHome", "tmp": "PrivateTmp"}
# Where nothing may be quoted wrongly: systemd splits at spaces, and reads % and $ as its own.
_UNSAFE: Final = frozenset(" \t\n\"'\\%$")


def unit_text(program: Path, config: Path) -> str:
    """
    Return the unit for a program and a site.

    Args:
        program: The `millrace` that the service runs, absolute.
        config: The site's config.toml, absolute.
    Raises: SettingsError if systemd could not run it from there.
    """
    for what, path in (("program", program), ("site", config)):
        _check(what, path)
    lines = starter_files()[f"systemd/{NAME}"].read_text(encoding="utf-8").splitlines()
    return "\n".join(_served(lines, program, config)) + "\n"


def _served(lines: Sequence[str], program: Path, config: Path) -> list[str]:
    """Put the paths into the lines that count. Comments above the first section tell what install does by itself."""
    start = lines.index("[Unit]")
    said = "# Written by `millrace install`; your own changes go into a drop-in: systemctl edit millrace"
    changed = [said, "", *lines[start:]]
    return [
        line if line.startswith("#") else line.replace(PROGRAM, str(program)).replace(SITE, str(config.parent))
        for line in changed
    ]


def _check(what: str, path: Path) -> None:
    pure = PurePosixPath(path)
    if not pure.is_absolute():
        raise SettingsError(f"the {what} must be an absolute path, not {path}")
    if _UNSAFE & set(str(path)):
        raise SettingsError(f"the {what} {path} has a character in its path that systemd reads as its own: move it")
    directive = _HIDDEN.get(pure.parts[1])
    if directive is not None:
        raise SettingsError(
            f"the {what} {path} lies in /{pure.parts[1]}, which the service cannot see ({directive}=yes): "
            + ("install the program into /opt/millrace" if what == "program" else f"move the site, to {SITE} perhaps")
        )
