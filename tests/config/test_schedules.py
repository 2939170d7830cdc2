"""`[schedules.NAME]`: what is taken, what is refused, and in which words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from millrace.cli.toml import toml
from millrace.config.load import load_site
from millrace.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

WHAT = '[schedules.x]\ntask = "t"\n'


def problem(path: Path, environ: Mapping[str, str] | None = None) -> str:
    """Return what is wrong, without the folder."""
    with pytest.raises(SettingsError) as caught:
        load_site(path, environ or {})
    return str(caught.value).replace(f"{path.parent}/", "")


def test_what_is_not_said_has_a_default(config: Callable[[str], Path]) -> None:
    """Two lines are a schedule."""
    found = load_site(config(WHAT + 'cron = "@daily"\n'), {}).settings.schedules["x"]
    assert (found.catch_up, found.catch_up_window, found.overlap, found.clients) == (
        "latest",
        86400,
        "skip",
        ("default",),
    )
    assert (found.jitter, found.done_by, found.timezone, found.enabled) == (0, None, None, True)


def test_everything_that_can_be_said_can_be_shown_and_read_again(config: Callable[[str], Path]) -> None:
    """`config show` writes TOML; a payload of the site's own may have keys that we use too."""
    text = """
[schedules.month-end]
pipeline = "month-end"
every = "90m"
timezone = "Europe/Vienna"
catch_up = "all"
catch_up_window = "3d"
overlap = "queue"
done_by = "08:00"
jitter = "1m30s"
clients = ["acme", "default"]
enabled = false
inputs = { every = 5, path = "x.csv", rows = [1, 2] }

[clients.acme]
"""
    settings = load_site(config(text), {}).settings
    found = settings.schedules["month-end"]
    assert (found.every, found.jitter, found.catch_up_window, found.inputs["every"]) == (5400, 90, 3 * 86400, 5)

    shown = toml(settings.model_dump(mode="json", exclude_none=True))
    assert load_site(config(shown), {}).settings.schedules == settings.schedules


def test_a_time_may_be_one_of_toml_s_own(config: Callable[[str], Path]) -> None:
    """Without the quotes TOML reads a date; it says the same."""
    for written in ('"2026-12-01T06:00:00"', "2026-12-01T06:00:00"):
        assert load_site(config(f"{WHAT}at = {written}\n"), {}).settings.schedules["x"].at == "2026-12-01T06:00:00"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (WHAT, "1: schedules.x: needs one of cron, every and at: write for example cron"),
        (
            WHAT + 'cron = "@daily"\nat = "2026-12-01"\n',
            "1: schedules.x: needs one of cron, every and at, not cron and at",
        ),
        ('[schedules.x]\ncron = "@daily"\n', '1: schedules.x: needs one of task and pipeline: write task = "NAME"'),
        (WHAT + 'pipeline = "p"\nevery = "5m"\n', "1: schedules.x: needs one of task and pipeline"),
        (
            WHAT + 'every = "5m"\ninputs = { a = 1 }\n',
            "1: schedules.x: inputs are a pipeline's: write payload for a task",
        ),
        ('[schedules.x]\npipeline = "p"\nevery = "5m"\npayload = { a = 1 }\n', "1: schedules.x: a payload is a task's"),
        (WHAT + 'cron = "0 0 30 2 *"\n', '3: schedules.x.cron: never runs: there is no day 30 in February ("L" is'),
        (WHAT + "cron = 5\n", "3: schedules.x.cron: must be a line of cron in quotes"),
        (WHAT + 'every = "500ms"\n', "3: schedules.x.every: must be 1s to 366d"),
        (WHAT + "every = 5\n", "3: schedules.x.every: must be a duration in quotes"),
        (WHAT + 'at = "tomorrow"\n', '3: schedules.x.at: is not a time: write for example "2026-12-01T06:00"'),
        (WHAT + 'at = "3026-12-01"\n', "3: schedules.x.at: its year must be 1970 to 2199"),
        (WHAT + 'timezone = "Europe/Berln"\n', 'Did you mean "Europe/Berlin"? (is "Europe/Berln")'),
        (WHAT + 'catch_up = "al"\n', '3: schedules.x.catch_up: must be one of "none", "latest", "all" (is "al")'),
        (WHAT + 'catch_up_window = "5s"\n', "3: schedules.x.catch_up_window: must be 1m to 366d"),
        (WHAT + 'overlap = "wait"\n', '3: schedules.x.overlap: must be one of "skip", "queue", "allow"'),
        (WHAT + 'done_by = "25:00"\n', '3: schedules.x.done_by: must be a time of day such as "08:00", or a duration'),
        (WHAT + 'every = "5m"\njitter = "5m"\n', "1: schedules.x: jitter must be shorter than every (5m)"),
        (WHAT + 'every = "5s"\ncatch_up = "all"\n', 'catch_up = "all" would run it up to 17,280 times at once'),
        (
            WHAT + 'cron = "* * * * *"\ncatch_up = "all"\ncatch_up_window = "30d"\n',
            "43,200 times at once after an outage",
        ),
        (WHAT + "clients = []\n", "3: schedules.x.clients: must not be empty"),
        (WHAT + 'cron = "@daily"\nclients = ["acne"]\n[clients.acme]\n', 'no client "acne". Did you mean "acme"?'),
        (WHAT + 'cron = "@daily"\nclients = ["*", "acme"]\n[clients.acme]\n', "is all of them; leave the others out"),
        (WHAT + 'crom = "@daily"\n', '3: schedules.x.crom: unknown key. Did you mean "cron"?'),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_what_would_be_right(
    config: Callable[[str], Path], text: str, reason: str
) -> None:
    """The file is read when somebody edits it; the schedule is due when nobody looks."""
    assert reason in problem(config(text))


def test_a_variable_changes_a_schedule(config: Callable[[str], Path]) -> None:
    """A staging machine has the same file and other times."""
    path = config(WHAT + 'cron = "@daily"\n')
    settings = load_site(path, {"MILLRACE_SCHEDULES__X__CRON": "0 5 * * *"}).settings
    assert settings.schedules["x"].cron == "0 5 * * *"
    assert "MILLRACE_SCHEDULES__X__CRON: " in problem(path, {"MILLRACE_SCHEDULES__X__CRON": "0 25 * * *"})
