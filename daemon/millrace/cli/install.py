"""`millrace install` and `uninstall`: a service of this machine, planned first."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from millrace.cli.acting import confirm, yes_option
from millrace.cli.session import Session, pass_session, tell
from millrace.errors import MillraceError, NotPermitted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from millrace.process.install.steps import Base, Step

_SITE: Final = Path("/etc/millrace/config.toml")

root_option = click.option(
    "--root",
    type=click.Path(path_type=Path, file_okay=False, resolve_path=True),
    default="/",
    metavar="DIR",
    help="A folder that stands for /, for an image or a rehearsal; systemd is not told.",
)
dry_option = click.option("--dry-run", is_flag=True, help="Print the plan and do nothing.")
site_option = click.option(
    "--site",
    "config",
    type=click.Path(path_type=Path),
    default=_SITE,
    show_default=True,
    metavar="FILE",
    help="The config.toml of the site that is served, as an absolute path.",
)


@click.command("install")
@site_option
@click.option(
    "--program",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The millrace that the service runs; this one when left out.",
)
@root_option
@dry_option
@yes_option
@pass_session
def install(session: Session, *, config: Path, program: Path | None, root: Path, dry_run: bool, yes: bool) -> int:
    r"""
    Make Millrace a service of this machine.

    Prints its plan first: a user, folders with their modes, a sample site if there is none, the systemd unit. What is
    there already stays as it is, so that calling it again repairs and upgrades the unit.

    \b
    Exit: 0 done, or planned; 1 a step failed, or not confirmed;
    77 root is needed; 78 the program or the site lies where the service could
    not read it.
    """
    from millrace.process.install.plan import install_plan
    from millrace.process.install.steps import Base

    base = Base(root)
    steps = install_plan(base, program or _this_program(), config)
    if not _carry_out(session, base, steps, "Install it?", dry_run=dry_run, yes=yes):
        return 0
    _tell_next(base, config)
    return 0


@click.command("uninstall")
@site_option
@click.option("--purge", is_flag=True, help="Remove the site, the ledger and the user too. Nothing brings them back.")
@root_option
@dry_option
@yes_option
@pass_session
def uninstall(session: Session, *, config: Path, purge: bool, root: Path, dry_run: bool, yes: bool) -> int:
    r"""
    Take the service away; the site and the ledger stay.

    \b
    Exit: 0 done, or planned; 1 a step failed, or not confirmed;
    77 root is needed.
    """
    from millrace.process.install.plan import uninstall_plan
    from millrace.process.install.steps import Base

    base = Base(root)
    question = "Remove it with the site, the ledger and all history?" if purge else "Remove it?"
    if (
        _carry_out(session, base, uninstall_plan(base, config, purge=purge), question, dry_run=dry_run, yes=yes)
        and not purge
    ):
        from millrace.process.install.unit import STATE

        tell(f"{config.parent} and {STATE} are left as they are; --purge removes them too.")
    return 0


def _this_program() -> Path:
    """Return the installed program that runs now, as its own environment has it."""
    return Path(sys.executable).parent / "millrace"


def _carry_out(session: Session, base: Base, steps: Sequence[Step], question: str, *, dry_run: bool, yes: bool) -> bool:
    """Print the plan, ask, and do what is needed of it; return whether anything was done."""
    due = [step for step in steps if step.needed()]
    for step in steps:
        click.echo(f"  {'do  ' if step in due else 'done'}  {step.words()}")
    if not due:
        tell("Everything is as it should be.")
        return False
    if dry_run:
        return False
    if os.geteuid() != 0:
        raise NotPermitted(f"only root can do that, and this is {session.user}: put sudo before the command")
    confirm(question, yes=yes)
    for step in due:
        _do(step)
    tell("Done." if base.live else f"Done, in {base.root}.")
    return True


def _do(step: Step) -> None:
    try:
        step.do()
    except OSError as error:
        raise MillraceError(f"could not {step.words()}: {error}") from error
    except MillraceError as error:
        raise MillraceError(f"could not {step.words()}: {error}") from error


def _tell_next(base: Base, config: Path) -> None:
    tell("Next:")
    if not base.live:
        tell("  systemctl daemon-reload && systemctl enable --now millrace    (on that machine)")
    for step in (
        "systemctl status millrace",
        "journalctl -u millrace -f                                     its log, one JSON object a line",
        f"secrets go into {config.parent}/credentials, one file each; only root reads them there",
    ):
        tell(f"  {step}")
