"""`millrace config`: the settings, whether they are valid and where each comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from millrace.cli.output import as_json, echo_json, plural
from millrace.cli.session import Session, pass_session, tell, tell_error
from millrace.errors import SettingsError

if TYPE_CHECKING:
    from millrace.config.load import Site


@click.group("config")
def config() -> None:
    """The settings: check, show."""


@config.command("check")
@as_json
@pass_session
def check(session: Session, *, as_json: bool) -> int:
    r"""
    Check config.toml and the environment, and name every problem.

    If there are schedules, the job files are imported, to see whether what they name can be run.

    \b
    Exit: 0 valid; 78 not.
    """
    try:
        site = session.site()
    except SettingsError as error:
        if as_json:
            echo_json({"valid": False, "problems": str(error).splitlines()})
        else:
            tell_error(error)
        return error.exit_code
    problems = _schedule_problems(session, site)
    if as_json:
        echo_json({"valid": not problems, "problems": problems})
    elif problems:
        for problem in problems:
            tell(f"millrace: {problem}")
    else:
        click.echo(f"{site.places.config}: valid ({_summary(site)})")
    return SettingsError.exit_code if problems else 0


def _schedule_problems(session: Session, site: Site) -> list[str]:
    """Return why schedules of config.toml cannot run."""
    if not site.settings.schedules:
        return []
    from millrace.cli.schedules import load_timetable

    found = load_timetable(session)
    return [f"schedules.{key}: {problem}" for key, problem in found.problems.items()]


def _summary(site: Site) -> str:
    return f"{plural(len(site.settings.queues), 'queue')}, {plural(len(site.settings.client_names()), 'client')}"


@config.command("show")
@click.option("--origin", is_flag=True, help="Say of each value where it comes from.")
@as_json
@pass_session
def show(session: Session, *, origin: bool, as_json: bool) -> None:
    r"""
    Show the settings that hold now, as TOML.

    \b
    Exit: 0 shown; 78 bad configuration.
    """
    from millrace.cli.toml import leaves, toml

    site = session.site_or_defaults()
    tree: dict[str, Any] = site.settings.model_dump(mode="json", exclude_none=True)
    if as_json:
        origins = {
            ".".join(path): {"value": value, "origin": site.origin(".".join(path))} for path, value in leaves(tree)
        }
        echo_json(origins if origin else tree)
    else:
        click.echo(toml(tree, site.origin if origin else None))
