from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

from millrace.config.load import load_site

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Done, Site

    Call = Callable[..., Done]

EVERYTHING = """\
[site]
name = 'Say "mill", Äpfel \\ & co'
timezone = "Europe/Vienna"
jobs = "cli_jobs"
[web]
max_body = "1234567B"
[defaults]
backoff = "1.5s..1h1m1s"
timeout = "90.25s"
child_idle = "0s"
[queues.cpu]
memory = "64MiB"
max_wait = "250ms"
[queues.io]
kind = "thread"
workers = 4
[clients.acme]
name = "Acme"
weight = 2.5
settings.leads = { threshold = 70, tags = ["a", { b = 1 }], "odd key" = true }
[clients.bare]
[settings]
text = "tab\\tand\\u0000"
max_wait = 3
[settings.empty]
[[rules.segment]]
when = { occupation = ["a", ""], points = ">=60" }
then = { branch = "x", days = [1, 2] }
[[rules.segment]]
then = "y"
[[rules.points]]
add = -2.5
"""


def test_a_valid_site_is_exit_0(site: Site, call: Call) -> None:
    """And says what it has looked at."""
    done = call("config", "check")
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{site.config}: valid (2 queues, 2 clients)\n"
    assert call("config", "check", "--json").json == {"valid": True, "problems": []}


def test_every_problem_is_told_at_once(site: Site, call: Call) -> None:
    """With file, line, key and a suggestion, and the variable where it comes from the environment."""
    site.config.write_text("[queues.io]\nworkres = 4\n[web]\nlisten = 5\n[services.crm]\n")
    done = call("config", "check")
    assert (done.code, done.out) == (78, "")
    assert len(done.err.splitlines()) == 3
    assert f'millrace: {site.config}:2: queues.io.workres: unknown key. Did you mean "workers"?' in done.err
    document = call("config", "check", "--json")
    assert (document.code, document.json["valid"], len(document.json["problems"])) == (78, False, 3)
    done = site.process("config", "check", environ={"MILLRACE_QUEUES__IO__WORKERS": "many"})
    assert "MILLRACE_QUEUES__IO__WORKERS: queues.io.workers: must be a whole number" in done.err


def test_what_show_prints_means_the_same_when_read_again(site: Site, call: Call, tmp_path: Path) -> None:
    """Nothing is lost or rounded on the way: it may be saved as the new config.toml."""
    site.config.write_text(EVERYTHING)
    before = load_site(site.config, {}).settings
    for words in (["config", "show"], ["config", "show", "--origin"]):
        done = call(*words)
        assert done.code == 0
        copy = tmp_path / "copy.toml"
        copy.write_text(done.out)
        assert load_site(copy, {}).settings == before


def test_show_says_where_each_value_comes_from(site: Site) -> None:
    """Default, line of the file, or variable."""
    site.config.write_text("[queues.io]\nworkers = 4\n")
    environ = {"MILLRACE_QUEUES__IO__MAX_WORKERS": "9"}
    lines = {
        line.split("#")[0].strip(): line
        for line in site.process("config", "show", "--origin", environ=environ).out.splitlines()
    }
    assert lines["workers = 4"].endswith(f"# {site.config}:2")
    assert lines["max_workers = 9"].endswith("# MILLRACE_QUEUES__IO__MAX_WORKERS")
    assert lines['kind = "process"'].endswith("# default")
    document = site.process("config", "show", "--origin", "--json", environ=environ).json
    assert document["queues.io.max_workers"] == {"value": 9, "origin": "MILLRACE_QUEUES__IO__MAX_WORKERS"}


def test_each_row_of_a_table_has_the_line_of_its_own(site: Site, call: Call) -> None:
    """All had that of the first."""
    row = '[[rules.segment]]\nwhen = {{ points = ">={}" }}\nthen = "x"\n'
    site.config.write_text("".join(row.format(points) for points in (9, 6, 3)))
    shown = [line for line in call("config", "show", "--origin").out.splitlines() if "[[rules" in line]
    assert shown == [f"[[rules.segment]]  # {site.config}:{line}" for line in (1, 4, 7)]


def test_show_as_json_has_seconds_and_bytes(site: Site, call: Call) -> None:
    """Programs calculate with them."""
    shown = call("config", "show", "--json").json
    assert (shown["defaults"]["timeout"], shown["web"]["max_body"]) == (600.0, 1_000_000)
    assert tomllib.loads(call("config", "show").out)["defaults"]["timeout"] == "10m"
    site.config.write_text("[web\n")
    assert call("config", "show").code == 78
