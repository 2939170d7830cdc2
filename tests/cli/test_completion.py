"""Completion as a shell asks for it: the program is called with the words so far."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from millrace.cli.commands import COMMANDS
from millrace.cli.completion import VARIABLE
from millrace.cli.main import main

LIMIT_S = 30
PROGRAM = Path(sys.executable).parent / "millrace"


def completed(words: str, *, shell: str = "bash") -> list[str]:
    """Return what the shell would offer after these words."""
    count = len(words.split(" ")) - 1
    environ = {**os.environ, VARIABLE: f"{shell}_complete", "COMP_WORDS": words, "COMP_CWORD": str(count)}
    done = subprocess.run([PROGRAM], env=environ, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_commands_are_completed() -> None:
    """What the help shows can be completed."""
    assert completed("millrace ") == list(COMMANDS)
    assert completed("millrace que") == ["queues"]


def test_what_stands_below_a_command_is_completed() -> None:
    """Its commands and its options."""
    assert "pause" in completed("millrace queues p")
    assert "--json" in completed("millrace queues list --j")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_a_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It goes to stdout alone, to be written into a file."""
    assert main(["completion", shell]) == 0
    out, err = capsys.readouterr()
    assert f"{VARIABLE}={shell}_complete" in out
    assert err == ""


def test_an_unknown_shell_is_answered_with_those_that_are_known(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody has to guess."""
    assert main(["completion", "tcsh"]) == 2
    assert "'bash', 'zsh', 'fish'" in capsys.readouterr().err
