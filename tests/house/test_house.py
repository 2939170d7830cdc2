"""The house: locks, make, the wheel with its starter site, the names for job authors."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

import millrace
from millrace.config.load import load_site
from millrace.config.starter import starter_files

ROOT = Path(__file__).resolve().parents[2]
LOCKS = ["requirements.lock", "requirements-dev.lock"]


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_pins_each_package_with_hashes_and_names_no_place(name: str) -> None:
    """An index address would send other people's machines somewhere; a package without a hash could be another one."""
    text = (ROOT / name).read_text()
    entries = re.split(r"\n(?=\S)", re.sub(r"(?m)^#.*\n", "", text).strip())

    assert len(entries) > 20
    for entry in entries:
        assert re.match(r"[a-z0-9-]+(\[[a-z,]+\])?==\S+ \\\n    --hash=sha256:[0-9a-f]{64}", entry), entry
    assert not re.search(r"://|file:/|--(?:extra-)?index|--find-links|--trusted|@ |/opt|/root|/home", text)


@pytest.mark.parametrize("package", ["apsw", "pydantic-core", "psutil"])
def test_a_lock_holds_the_hashes_of_all_wheels(package: str) -> None:
    """Hashes of one machine's wheel alone would fail on the next Python or processor."""
    text = (ROOT / "requirements.lock").read_text()
    entry = re.search(rf"(?m)^{package}==.*(?:\n .*)+", text)
    assert entry is not None
    assert entry[0].count("--hash=") >= 10


def test_the_locks_hold_every_dependency_that_is_declared() -> None:
    """`pip install --no-deps` of the project leaves out what the lock forgot."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for lock, wanted in zip(LOCKS, (project["dependencies"], project["optional-dependencies"]["dev"]), strict=True):
        pinned = set(re.findall(r"(?m)^([a-z0-9-]+)(?:\[\S+\])?==", (ROOT / lock).read_text()))
        assert {re.split(r"[><=\[]", name)[0].strip() for name in wanted} <= pinned


def test_both_locks_pin_the_same_versions() -> None:
    """What is tested is what runs."""
    run, dev = (dict(re.findall(r"(?m)^(\S+)==(\S+)", (ROOT / name).read_text())) for name in LOCKS)
    assert run.items() <= dev.items()


def test_make_help_lists_every_target() -> None:
    """A target that nobody can find is not there."""
    makefile = (ROOT / "Makefile").read_text()
    targets = {name for line in re.findall(r"(?m)^\.PHONY: (.+)$", makefile) for name in line.split()}
    done = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607

    listed = dict(re.findall(r"(?m)^  make (\S+) +(\S.*)$", done.stdout))
    assert targets | {"test/ROOM"} == set(listed)
    assert {"help", "setup", "run", "test", "check", "fix", "lint", "types"} <= targets


def test_the_wheel_brings_the_engine_and_a_starter_site(tmp_path: Path) -> None:
    """`millrace init` of somebody who has only the wheel makes the site that is tested here."""
    argv = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(argv, capture_output=True, check=True)
    wheel = next(tmp_path.glob("millrace-*.whl"))
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(site)

    package = [path for path in (ROOT / "daemon" / "millrace").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    engine = {path.relative_to(ROOT / "daemon").as_posix() for path in package}
    starter = {f"millrace/starter/{name}" for name in starter_files()}
    assert engine | starter == {name for name in names if not name.split("/")[0].endswith(".dist-info")}
    entry_points = next(name for name in names if name.endswith("entry_points.txt"))
    assert "millrace = millrace.cli.main:main" in (site / entry_points).read_text()

    code = "from millrace.config.starter import starter_files; print(starter_files()['config.toml'])"
    alone = {"PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=alone, capture_output=True, check=True)
    assert done.stdout.decode().strip() == f"{site}/millrace/starter/config.toml"

    (site / "millrace" / "starter" / "config.toml").unlink()
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=alone, capture_output=True, check=False)
    assert b"this installation has no starter site" in done.stderr


def test_the_starter_site_is_this_repository() -> None:
    """What newcomers see is what is tested."""
    files = starter_files()

    assert files["config.toml"] == ROOT / "config.toml"
    assert "systemd/millrace.service" in files
    assert [name for name in files if name.startswith("jobs/")]
    assert not [name for name in files if name.endswith(".pyc")]


def test_the_sites_own_settings_are_valid() -> None:
    """`make run` serves them."""
    settings = load_site(ROOT / "config.toml", {}).settings
    assert {"default", "cpu", "io"} <= set(settings.queues)
    assert (settings.queues["cpu"].kind, settings.queues["io"].kind) == ("process", "thread")


def test_job_authors_find_the_names_they_need_and_no_others() -> None:
    """Each name that is promised is there, and a wrong one says so like any other module."""
    for name in millrace.__all__:
        assert getattr(millrace, name) is not None
    assert set(millrace.__all__) <= set(dir(millrace))
    with pytest.raises(AttributeError, match="has no attribute"):
        _ = millrace.no_such_name


def test_the_package_itself_loads_nothing_heavy() -> None:
    """`millrace --help` answers within 150 ms, and every command imports this first."""
    code = """
import sys, millrace
assert millrace.__version__
heavy = {"pydantic", "apsw", "httpx", "click", "fastapi", "huey", "peewee", "structlog", "asyncio"}
print(sorted((heavy & set(sys.modules)) | {m for m in sys.modules if m.startswith("millrace.")}))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_version_of_the_package_is_that_of_the_distribution() -> None:
    """`--version`, the metric and the wheel's name must not disagree."""
    assert version("millrace") == millrace.__version__


def test_job_files_import_only_what_is_meant_for_job_authors() -> None:
    """A job that reaches into the engine breaks with the next version of it."""
    for path in sorted((ROOT / "jobs").rglob("*.py")):
        for names in re.findall(r"(?m)^\s*from millrace import (?:\(([^)]*)\)|(.*))$", path.read_text()):
            wanted = {name.strip() for name in (names[0] or names[1]).split(",") if name.strip()}
            assert wanted <= set(millrace.__all__), path
        assert not re.search(r"(?m)^\s*(?:from|import) millrace\.", path.read_text()), path
