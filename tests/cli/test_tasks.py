from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Done, Site

    Call = Callable[..., Done]


def test_tasks_are_listed_and_what_did_not_load_is_named(site: Site, call: Call) -> None:
    """One broken file does not hide the others."""
    (site.root / "cli_jobs" / "broken.py").write_text("import nothing_of_that_name\n")
    done = call("tasks", "list")
    assert done.code == 0
    assert [line.split()[:2] for line in done.out.splitlines()] == [
        ["TASK", "QUEUE"],
        ["add", "default"],
        ["greet", "io"],
    ]
    assert "millrace: cli_jobs/broken.py:1: ModuleNotFoundError" in done.err
    assert [task["name"] for task in call("tasks", "list", "--json").json] == ["add", "greet"]


def test_a_site_without_tasks_is_told_how_to_write_one(site: Site, call: Call) -> None:
    """The next step of a newcomer."""
    (site.root / "cli_jobs" / "sums.py").unlink()
    done = call("tasks", "list")
    assert (done.code, done.out) == (0, "")
    assert f"No tasks yet. Write one in {site.root / 'cli_jobs'}" in done.err


def test_a_task_is_shown_with_what_it_takes(call: Call) -> None:
    """Enough to submit it; the site's defaults are filled in."""
    text = call("tasks", "show", "add").out
    for said in (
        "Add two numbers.",
        "attempts  4, 10s..15m apart",
        "timeout   10m each",
        "(required)",
        "millrace submit add left=",
    ):
        assert said in text
    facts = call("tasks", "show", "add", "--json").json
    assert [(p["name"], p["required"], p["default"]) for p in facts["parameters"]] == [
        ("left", True, None),
        ("right", False, 1),
    ]


def test_an_unknown_task_is_exit_4_with_a_suggestion(call: Call) -> None:
    """The words are those of submit."""
    done = call("tasks", "show", "gret")
    assert (done.code, done.err) == (4, 'millrace: there is no task "gret". Did you mean "greet"?\n')


def test_a_job_file_that_prints_does_not_spoil_the_json(site: Site, call: Call) -> None:
    """Stdout is one document."""
    (site.root / "cli_jobs" / "chatty.py").write_text("print('hello')\n")
    assert len(call("tasks", "list", "--json").json) == 2
