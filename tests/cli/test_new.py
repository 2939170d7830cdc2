from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from millrace.config.templates import KINDS, name_problem, render
from millrace.define.load import load_jobs

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Done, Site

PYTEST = Path(sys.executable).parent / "pytest"
LIMIT_S = 100


def test_what_is_written_loads_and_passes_its_own_test(site: Site, call: Callable[..., Done]) -> None:
    """A template that fails teaches nothing. Plain pytest in the site's folder, warnings as errors."""
    for kind in KINDS:
        done = call("new", f"our_{kind}", "--kind", kind)
        assert (done.code, done.out) == (0, f"cli_jobs/our_{kind}.py\ntests/test_our_{kind}.py\n"), done.err
        assert f"our_{kind} " in done.err, "how to start it is told"

    registry = load_jobs(site.root, "cli_jobs", queues={"default", "io"})
    assert registry.problems == []
    assert set(registry.tasks) == {"add", "greet", *(f"our_{kind}" for kind in KINDS if kind != "pipeline")}
    assert set(registry.pipelines) == {"our_pipeline"}

    environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    argv = [str(PYTEST), "-q", "-W", "error", "-p", "no:cacheprovider", "tests"]
    ran = subprocess.run(argv, cwd=site.root, env=environ, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"{sum(render(kind, 'x', 'jobs').test.count('def test_') for kind in KINDS) + 1} passed" in ran.stdout
    assert not (site.root / "var").exists(), "a test writes into its own folder"


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("month-end", "month_end"),
        ("Sales", "sales"),
        ("Orders", "orders_report"),
        ("2fast", "job_2fast"),
        ("_hidden", "hidden"),
        ("Übersicht.py", "ubersicht_py"),
        ("../evil", "evil"),
        ("class", "class_job"),
        ("csv", "csv_report"),
        ("list", "list_report"),
        ("month", "month_report"),
        ("jobs", "jobs_report"),
        ("日", "job_report"),
        ("a" * 51, "a" * 50),
    ],
)
def test_a_name_that_cannot_be_is_answered_with_one_that_can(name: str, suggestion: str) -> None:
    """A report called "csv" would hide the module that writes it; a name with a path in it would leave the folder."""
    problem = name_problem("report", name, "jobs")
    assert problem is not None
    assert f'"{suggestion}"' in problem
    assert name_problem("report", suggestion, "jobs") is None


def test_a_bad_name_writes_nothing(site: Site, call: Callable[..., Done]) -> None:
    """Neither of the two files, and the usual exit code."""
    done = call("new", "month-end", "--kind", "report")
    assert done.code == 2
    assert 'take for example "month_end"' in done.err
    assert not (site.root / "tests").exists()


def test_a_file_that_is_there_is_left_alone(site: Site, call: Callable[..., Done]) -> None:
    """Also one that a dangling link would make; the other file is not written either."""
    (site.root / "tests").mkdir()
    (site.root / "tests" / "test_ours.py").symlink_to(site.root / "nowhere")
    done = call("new", "ours", "--kind", "sync")
    assert done.code == 1
    assert "tests/test_ours.py is there already: nothing was written" in done.err
    assert not (site.root / "cli_jobs" / "ours.py").exists()
    assert not (site.root / "nowhere").exists()


def test_a_job_of_that_name_in_another_file_is_named(site: Site, call: Callable[..., Done]) -> None:
    """Two of one name would make both unusable."""
    done = call("new", "greet", "--kind", "slack")
    assert done.code == 1
    assert 'there is a job "greet" already, in ' in done.err
    assert "sums.py:" in done.err


def test_without_a_site_nothing_is_written(tmp_path: Path) -> None:
    """A job file in some folder would never be found by a daemon."""
    argv = [sys.executable, "-m", "millrace.cli.main", "new", "ours", "--kind", "sync"]
    environ = {"PATH": os.defpath, "PYTHONPATH": str(Path(__file__).resolve().parents[2] / "daemon")}
    done = subprocess.run(argv, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert "there is no site here" in done.stderr
    assert done.returncode == 4
    assert list(tmp_path.iterdir()) == []
