"""Where a site is found, with the standard library alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from millrace.config.find import find_config, ledger_path, places
from millrace.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Path]:
    """Work in the test's own folder."""
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


def test_the_named_file_wins_then_the_variable_then_the_folder(here: Path) -> None:
    """Whoever names a file means it."""
    for name in ("config.toml", "a.toml", "b.toml"):
        (here / name).touch()

    assert find_config(Path("a.toml"), {"MILLRACE_CONFIG": "b.toml"}) == Path("a.toml")
    assert find_config(None, {"MILLRACE_CONFIG": "b.toml"}) == Path("b.toml")
    assert find_config(None, {"MILLRACE_CONFIG": ""}) == Path("config.toml")
    assert find_config(None, {}) == Path("config.toml")


@pytest.mark.parametrize("environ", [{}, {"MILLRACE_CONFIG": "gone.toml"}])
def test_a_file_that_was_named_and_is_not_there_is_an_error(here: Path, environ: dict[str, str]) -> None:
    """Going on with ./config.toml instead would serve another site."""
    (here / "config.toml").touch()
    explicit = None if environ else Path("gone.toml")

    with pytest.raises(SettingsError, match=r"gone\.toml: no such file \(named by (-c|\$MILLRACE_CONFIG)\)"):
        find_config(explicit, environ)


def test_a_folder_is_no_configuration(here: Path) -> None:
    """`-c /etc/millrace` is an easy slip, and "no such file" would send its author the wrong way."""
    with pytest.raises(SettingsError, match="is a folder"):
        find_config(here, {})


def test_without_a_file_the_folder_one_stands_in_is_the_site(here: Path) -> None:
    """An empty file is a valid configuration, and so is none."""
    found = places(None, {})

    assert (found.config, found.root, found.state) == (None, here, here / "var")
    assert found.ledger == here / "var" / "millrace.db"
    assert (found.listen, found.jobs, found.max_body) == (("127.0.0.1", 8420), "jobs", 1_000_000)


def test_places_are_relative_to_the_file_and_not_to_the_caller(config: Callable[[str], Path]) -> None:
    """The command line is used from anywhere and must find the daemon's ledger."""
    path = config('[site]\nstate = "data"\njobs = "work"\n[database]\nurl = "sqlite:///queue.db"\n')

    found = places(path, {})

    assert found.state == path.parent / "data"
    assert found.ledger == path.parent / "data" / "queue.db"
    assert found.jobs == "work"


def test_the_environment_wins_over_the_file_and_systemd_over_both(config: Callable[[str], Path]) -> None:
    """Systemd makes $STATE_DIRECTORY and lets the service write nowhere else; of several the first is ours."""
    path = config('[site]\nstate = "data"\n[web]\nlisten = "127.0.0.1:1"\n')
    environ = {
        "MILLRACE_SITE__STATE": "/srv/state",
        "MILLRACE_WEB__LISTEN": "[::1]:0",
        "MILLRACE_WEB__MAX_BODY": "2MB",
        "MILLRACE_DATABASE__URL": "sqlite:////srv/other.db",
        "MILLRACE_SITE__JOBS": "tasks",
    }

    found = places(path, environ)
    assert (found.state, found.listen, found.max_body) == (Path("/srv/state"), ("::1", 0), 2_000_000)
    assert (found.ledger, found.jobs) == (Path("/srv/other.db"), "tasks")

    assert places(path, {**environ, "STATE_DIRECTORY": "/var/lib/m:/var/lib/n"}).state == Path("/var/lib/m")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[web]\nlisten = 8420\n", r"config\.toml: web\.listen: must be text in quotes"),
        ('[web]\nlisten = "8420"\n', r'config\.toml: web\.listen: "8420" is not an address'),
        ('web = "x"\n', r"config\.toml: web\.listen: must be text in quotes"),
        ("[site]\nstate = ''\n", r"config\.toml: site\.state: must be text in quotes"),
        ("[web\n", r"config\.toml:1: is not valid TOML: .*table declaration \(column 5\)$"),
        ("[web]\nlisten = here\n", r"config\.toml:2: is not valid TOML: Invalid value .*Text stands in quotes"),
        ("[web]\n\nevery = 5m\n", r"config\.toml:3: is not valid TOML: .*Text stands in quotes"),
        ('[web]\na = 1\na = "b"\n', r"config\.toml:3: is not valid TOML: .*The key stands twice"),
        ("[web]\na = [1,", r"config\.toml: is not valid TOML: .*at end of document"),
    ],
)
def test_a_key_that_is_needed_and_wrong_is_named(config: Callable[[str], Path], text: str, message: str) -> None:
    """A reading command that guessed would look into another ledger."""
    with pytest.raises(SettingsError, match=message):
        places(config(text), {})


def test_a_wrong_variable_is_named(config: Callable[[str], Path]) -> None:
    """Searching the file for what a variable says costs an hour."""
    with pytest.raises(SettingsError, match=r"^MILLRACE_WEB__LISTEN: web\.listen: "):
        places(config(""), {"MILLRACE_WEB__LISTEN": "here"})


def test_the_rest_of_the_file_may_be_wrong(config: Callable[[str], Path]) -> None:
    """`jobs list` must answer while somebody is editing config.toml."""
    assert places(config("[queues.io]\nwokers = 'many'\n"), {}).jobs == "jobs"


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """An editor that saved in another encoding is told so."""
    path = tmp_path / "config.toml"
    path.write_bytes(b'[site]\nname = "M\xfchle"\n')

    with pytest.raises(SettingsError, match=r"is not UTF-8 text \(byte 16\)"):
        places(path, {})


@pytest.mark.parametrize("link", ["var", "var/millrace.db"])
def test_a_link_to_the_ledger_is_followed_and_one_that_leads_nowhere_is_refused(here: Path, link: str) -> None:
    """Log, index and large values lie beside the file itself. Behind a disk that is not mounted none is made anew."""
    disk = here / "disk" / link.replace("var/", "")
    (here / link).parent.mkdir(exist_ok=True)
    (here / link).symlink_to(disk)
    with pytest.raises(SettingsError, match=rf"{link} is a link to {disk}, which is not there: is its disk mounted"):
        places(None, {})
    if link == "var":
        disk.mkdir(parents=True)
    else:
        disk.parent.mkdir()
        disk.touch()
    found = places(None, {})
    assert found.named == here / "var" / "millrace.db"
    assert found.ledger == (disk / "millrace.db" if link == "var" else disk)


def test_a_ledger_url_is_a_file_in_the_state_folder_or_an_absolute_one() -> None:
    """Three slashes are relative and four absolute, as everywhere."""
    assert ledger_path("sqlite:///a.db", Path("/s")) == Path("/s/a.db")
    assert ledger_path("sqlite:////d/a.db", Path("/s")) == Path("/d/a.db")


@pytest.mark.parametrize(
    "url", ["", "sqlite://", "sqlite:///", "sqlite:///a/", "sqlite:///a.db?x=1", "postgresql://u:hunter2@h/d"]
)
def test_another_ledger_url_is_refused_without_repeating_it(url: str) -> None:
    """A database URL may carry a password, and messages end in logs."""
    with pytest.raises(ValueError, match="keeps its ledger in SQLite") as caught:
        ledger_path(url, Path("/s"))
    assert "hunter2" not in str(caught.value)


def test_finding_a_site_loads_neither_pydantic_nor_a_database() -> None:
    """`millrace status` answers within 250 ms because of this."""
    code = "import sys, millrace.config.find; print(sorted({'pydantic', 'apsw', 'httpx', 'click'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """The reason is the system's own: no rights, a folder, a broken disk."""
    with pytest.raises(SettingsError, match=r"cannot be read: Is a directory"):
        places(tmp_path, {})
