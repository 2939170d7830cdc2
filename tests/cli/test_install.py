"""`millrace install` and `uninstall` as people call them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from millrace.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = "/opt/millrace/bin/millrace"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")


def call(*words: str, root: Path) -> int:
    """Call a command for a folder that stands for the machine."""
    return main([*words, "--root", str(root)])


def test_a_dry_run_prints_the_plan_and_does_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Who is not sure yet wants to see what would happen."""
    assert call("install", "--program", PROGRAM, "--dry-run", root=tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "  do    add the system user millrace (no shell, home /var/lib/millrace)" in lines
    assert "  do    write /etc/systemd/system/millrace.service" in lines
    assert list(tmp_path.iterdir()) == []


@as_root
def test_it_is_done_and_undone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The plan goes to stdout, how to go on to stderr."""
    assert call("install", "--program", PROGRAM, "--yes", root=tmp_path) == 0
    said = capsys.readouterr()
    assert "journalctl -u millrace -f" in said.err
    assert call("install", "--program", PROGRAM, "--yes", root=tmp_path) == 0
    again = capsys.readouterr()
    assert "  do  " not in again.out
    assert again.err == "Everything is as it should be.\n"
    assert call("uninstall", "--yes", root=tmp_path) == 0
    assert "/etc/millrace and /var/lib/millrace are left as they are" in capsys.readouterr().err
    assert (tmp_path / "etc/millrace/config.toml").exists()


@as_root
def test_it_asks_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal there is nobody to ask, and nothing may be done."""
    assert call("install", "--program", PROGRAM, root=tmp_path) == 1
    assert "add --yes" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_program_in_a_home_folder_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The unit hides all homes: the service would fail at its start with "No such file"."""
    assert call("install", "--program", "/home/ann/.venv/bin/millrace", "--yes", root=tmp_path) == 78
    assert "install the program into /opt/millrace" in capsys.readouterr().err
