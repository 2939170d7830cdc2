"""What an installation does, step by step, before anything is done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from millrace.config.starter import starter_files
from millrace.process.install.steps import (
    AddUser,
    Base,
    MakeFolder,
    Remove,
    RemoveUser,
    Step,
    Systemctl,
    WriteFiles,
)
from millrace.process.install.unit import NAME, STATE, USER, unit_text

if TYPE_CHECKING:
    from pathlib import Path

UNIT: Final = f"/etc/systemd/system/{NAME}"
# The site belongs to root and its group reads it: a job that was taken over cannot rewrite the jobs.
_SITE_OWNER: Final = f"root:{USER}"


def install_plan(base: Base, program: Path, config: Path) -> list[Step]:
    """
    Return the steps that make a site a service.

    Args:
        base: Where everything goes.
        program: The `millrace` that the service runs, absolute and as the running system sees it.
        config: The site's config.toml; a site that is not there is made of the sample files.
    Raises: SettingsError if systemd could not run it from there.
    """
    site = str(config.parent)
    unit = unit_text(program, config)
    samples = {name: path for name, path in starter_files().items() if not name.startswith("systemd/")}
    steps: list[Step] = [AddUser(base, USER, STATE), MakeFolder(base, site, 0o750, _SITE_OWNER)]
    if not base.at(config).exists():
        files = {f"{site}/{name}": path.read_bytes() for name, path in samples.items()}
        # Under systemd $STATE_DIRECTORY says so; commands that people call have to find the same ledger.
        files[str(config)] = files.pop(f"{site}/config.toml").replace(b'state = "var" ', f'state = "{STATE}" '.encode())
        steps.append(WriteFiles(base, files, 0o640, _SITE_OWNER, f"a sample site into {site}"))
    steps += [
        MakeFolder(base, f"{site}/credentials", 0o700, "root:root"),
        MakeFolder(base, STATE, 0o700, f"{USER}:{USER}"),
        WriteFiles(base, {UNIT: unit.encode()}, 0o644, "root:root", UNIT, replace=True),
    ]
    if base.live:
        steps += [Systemctl(("daemon-reload",)), Systemctl(("enable", "--now", NAME))]
    return steps


def uninstall_plan(base: Base, config: Path, *, purge: bool) -> list[Step]:
    """
    Return the steps that take the service away.

    Args:
        config: The site's config.toml.
        purge: Whether the site, the ledger and the user go too; nothing brings them back.
    """
    steps: list[Step] = []
    if base.live and base.at(UNIT).exists():
        steps.append(Systemctl(("disable", "--now", NAME)))
    steps.append(Remove(base, UNIT))
    if base.live:
        steps.append(Systemctl(("daemon-reload",)))
    if purge:
        steps += [Remove(base, str(config.parent)), Remove(base, STATE), RemoveUser(base, USER)]
    return steps
