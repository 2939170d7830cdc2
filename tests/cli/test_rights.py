"""What a user without rights to the state folder is told: one line, and exit code 77."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

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
