"""What a user without rights to the state folder is told: one line, and exit code 77."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from millrace.ledger.blobs import LARGE
from millrace.ledger.ledger import Ledger
from millrace.ledger.rows import NewJob
from tests.ledger.rig import LIMIT_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Site

# The superuser without what lets it pass by the rights of files.
POWERLESS: Final = [
    "setpriv",
    "--bounding-set=-dac_override,-dac_read_search",
    "--inh-caps=-dac_override,-dac_read_search",
]
ROOT: Final = os.geteuid() == 0
PACKAGE: Final = str(Path(__file__).resolve().parents[2] / "daemon")


@pytest.fixture
def shut(site: Site) -> Iterator[Site]:
    """A site with a ledger, whose rights come back at the end."""
    if ROOT and shutil.which("setpriv") is None:
        pytest.skip("setpriv is missing: the superuser may do everything")
    site.open().close()
    yield site
    site.state.chmod(0o700)
    site.ledger.chmod(0o600)


def told(site: Site, *words: str) -> tuple[int, list[str]]:
    """Call a command without rights; return its exit code and what it said."""
    done = subprocess.run(
        [*(POWERLESS if ROOT else []), *site.argv(*words)],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": PACKAGE, "LANG": "C.UTF-8", "LOGNAME": "tess"},
        cwd=site.root,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if "setpriv:" in done.stderr:
        pytest.skip(f"setpriv is not allowed here: {done.stderr}")
    return done.returncode, done.stderr.splitlines()


@pytest.mark.parametrize(
    ("ledger", "folder"), [(0o400, 0o500), (0o000, 0o700), (0o600, 0o000)], ids=["read-only", "hidden file", "hidden"]
)
@pytest.mark.parametrize("words", ["submit add left=1", "jobs list", "backup", "backup mine.tar.gz", "queues pause io"])
def test_a_command_without_rights_says_so_in_one_line(shut: Site, ledger: int, folder: int, words: str) -> None:
    """No traceback, and not the words of the database."""
    shut.ledger.chmod(ledger)
    shut.state.chmod(folder)
    code, lines = told(shut, *words.split())
    assert (code, len(lines)) == (77, 1), lines
    assert lines[0].startswith("millrace: ")
    assert str(shut.state) in lines[0]
    assert "may not be" in lines[0]
    assert not (shut.root / "mine.tar.gz").exists()


@pytest.mark.parametrize("name", ["millrace.db", "millrace.db-wal", "millrace.db.lock", "millrace.db-blobs"])
def test_doctor_names_the_file_that_may_not_be_written_and_the_cure(shut: Site, name: str) -> None:
    """All that the state folder tells is well then, and yet nothing can be accepted."""
    path = shut.state / name
    if not path.exists():
        path.mkdir() if name.endswith("blobs") else path.touch()
    path.chmod(0o500 if path.is_dir() else 0o400)
    argv = [*(POWERLESS if ROOT else []), *shut.argv("doctor", "--json")]
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": PACKAGE, "LANG": "C.UTF-8", "LOGNAME": "tess"}
    done = subprocess.run(argv, env=environ, cwd=shut.root, capture_output=True, text=True, timeout=60, check=False)
    if "setpriv:" in done.stderr:
        pytest.skip(f"setpriv is not allowed here: {done.stderr}")
    path.chmod(0o700)
    (check,) = [check for check in json.loads(done.stdout)["checks"] if check["name"] == "rights"]
    assert (done.returncode, check["level"]) == (1, "fail")
    assert str(path) in check["text"]
    assert check["repair"].startswith("chmod u+rw")
    assert check["repair"].endswith(str(path))


@pytest.mark.skipif(not ROOT, reason="only the superuser can give files away")
def test_doctor_tells_the_superuser_what_the_daemons_user_cannot_write(shut: Site) -> None:
    """Whatever root called last may have made it; root itself notices nothing."""
    os.chown(shut.state, 65534, 65534)
    os.chown(shut.ledger, 65534, 65534)
    (shut.state / "millrace.db-blobs").mkdir()
    done = shut.process("doctor", "--json")
    found = [check for check in json.loads(done.out)["checks"] if check["name"] == "rights"]
    assert any("millrace.db-blobs belongs to root" in check["text"] for check in found)
    assert all(check["level"] == "warn" and "chown -R nobody" in check["repair"] for check in found)


def test_a_daemon_without_rights_to_its_ledger_says_so_in_one_line(shut: Site) -> None:
    """A command that root called may have left it so; what SQLite says of it names no file."""
    shut.ledger.chmod(0o000)
    code, lines = told(shut, "serve")
    assert code == 77, lines
    assert f"{shut.ledger} may not be written" in lines[-1]


NOBODY: Final = 65534


@pytest.mark.skipif(not ROOT, reason="only root makes files for others")
def test_what_root_makes_belongs_to_the_owner_of_the_site(site: Site) -> None:
    """Its daemon is another user: the first large value that root hands in must not shut it out."""
    for path in (site.root, *site.root.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    payload = '{"left":1,"right":"' + "x" * (LARGE + 1) + '"}'
    with Ledger(site.ledger) as ledger:
        ledger.moves.accept([NewJob("add", "q", payload)]).wait(LIMIT_S)
        assert owners(site.state) == {NOBODY}
    archive = site.root / "one.tar.gz"
    assert site.process("backup", str(archive)).code == 0
    assert site.process("restore", str(archive), "--yes").code == 0
    assert owners(site.state) == {NOBODY}
    shutil.rmtree(site.root / "cli_jobs")
    site.ledger.chmod(0o640)
    assert site.process("restore", str(archive), "--yes").code == 0
    assert owners(site.root / "cli_jobs") == {NOBODY}
    assert site.ledger.stat().st_mode & 0o777 == 0o640
    shutil.rmtree(site.state)
    assert site.process("restore", str(archive), "--yes").code == 0
    assert owners(site.state) == {NOBODY}


def owners(folder: Path) -> set[int]:
    """Return who owns a folder and all in it."""
    return {path.stat().st_uid for path in (folder, *folder.rglob("*"))}
