"""`millrace demo crash` as it is: a real command with a real daemon, killed for real."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from millrace.clock import SYSTEM
from millrace.errors import MillraceError
from millrace.process.demo.stage import Stage
from millrace.runner.tree import look

if TYPE_CHECKING:
    from pathlib import Path

    from tests.conftest import Until
    from tests.process.scratch import Scratch

GUESTS = 60


def demo(*words: str, place: Path, **environ: str) -> subprocess.Popen[str]:
    """Start the demo, with its temporary folder in a place of the test's own."""
    return subprocess.Popen(
        [sys.executable, "-m", "millrace.cli.main", "demo", "crash", *words],
        cwd=place,
        env={**os.environ, "TMPDIR": str(place), **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Return what a demo came to: its exit code and what it printed."""
    out, err = process.communicate(timeout=100)
    return process.returncode, out, err


def told_pids(err: str) -> list[int]:
    """Return the pids of the daemons that a demo told of."""
    return [int(pid) for pid in re.findall(r"pid (\d+)", err)]


def gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has waited for yet has, too."""
    found = look(pid)
    return found is None or found.zombie


def site_in(place: Path) -> Path:
    """Return the folder of the demo's site."""
    (found,) = place.glob("millrace-demo-*")
    return found


def test_the_promise_holds_when_the_daemon_is_killed_with_mails_under_way(site: Scratch, tmp_path: Path) -> None:
    """What the README shows; from the environment of a site with a daemon, which must not hear of it."""
    daemon = site.serve()
    place = tmp_path / "place"
    place.mkdir()
    around = {"MILLRACE_CONFIG": str(site.config), "STATE_DIRECTORY": str(site.state), "MILLRACE_WEB__LISTEN": "no"}
    code, out, err = ended(demo("--json", place=place, **around))

    facts: dict[str, Any] = json.loads(out)
    assert (code, facts["held"], facts["lost"], facts["doubled"]) == (0, True, [], []), (facts, err)
    assert facts["mails"] == {"wanted": GUESTS + 1, "sent_once": GUESTS + 1}
    jobs = facts["jobs"]
    assert jobs["total"] == 3 * GUESTS + 3
    assert GUESTS // 3 < jobs["done_at_kill"] == jobs["kept"] < jobs["total"]
    assert jobs["taken_back"] >= 4
    assert facts["cut_off"] == {"calls": 4, "sent": 2}
    assert facts["in_doubt"] == {"effects": 4, "asked": 4}
    assert facts["conservation"] == {"accepted": jobs["total"], "difference": 0}
    assert facts["resumed_after_s"] > 0

    pids = told_pids(err)
    assert len(set(pids)) == 2, err
    assert f"kill -9 {pids[0]}" in err
    assert all(map(gone, pids))
    assert list(place.iterdir()) == [], "its folder is left over"
    assert daemon.alive
    assert site.reads.balance(count_rows=True).accepted == 0


def test_without_once_mails_come_twice_and_the_demo_says_so(tmp_path: Path) -> None:
    """The verdict can be bad: what was sent and not noted is sent again. With --keep the site stays."""
    code, out, err = ended(demo("--careless", "--keep", place=tmp_path))

    assert code == 1, (out, err)
    # Two were held back for the kill; one that was just answered, and not yet noted, comes on top.
    doubled = re.search(r"(?m)^Doubled +(\d+): 2 mails to guest-\d+@[^,\s]+(, 2 mails to guest-\d+@[^,\s]+)+$", out)
    assert doubled is not None, out
    count = int(doubled[1])
    assert (count >= 2, doubled[0].count("2 mails to")) == (True, count), out
    assert re.search(r"(?m)^Lost +0$", out), out
    assert re.search(rf"(?m)^Mails +{GUESTS + 1 - count} of {GUESTS + 1} sent once", out), out
    assert re.search(r"(?m)^Kept +(\d+) of \1 stage jobs that were done; none ran again", out), out
    assert "\x1b" not in out
    folder = site_in(tmp_path)
    look_around = re.search(r"(?m)^  millrace -c (\S+) (runs show \S+)$", err)
    assert look_around is not None, err
    assert look_around[1] == str(folder / "config.toml")
    argv = [sys.executable, "-m", "millrace.cli.main", "-c", look_around[1], *look_around[2].split()]
    shown = subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60)
    assert "invitations" in shown.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_interrupted_leaves_nothing_behind(tmp_path: Path, number: int) -> None:
    """Somebody has seen enough: its daemon ends with it, and the folder goes."""
    process = demo(place=tmp_path)
    assert process.stderr is not None
    lines = [process.stderr.readline() for _ in range(2)]
    process.send_signal(number)
    code, out, _ = ended(process)

    (pid,) = told_pids("".join(lines))
    assert (code, out) == (130, "")
    assert gone(pid)
    assert list(tmp_path.iterdir()) == []


def test_a_demo_that_is_killed_takes_its_daemon_with_it(tmp_path: Path, until: Until) -> None:
    """Nobody would look for a daemon that serves a folder in /tmp."""
    process = demo(place=tmp_path)
    assert process.stderr is not None
    (pid,) = told_pids("".join(process.stderr.readline() for _ in range(2)))
    process.kill()
    ended(process)
    until(lambda: gone(pid))


def test_an_interruption_waits_until_what_was_begun_has_ended(tmp_path: Path) -> None:
    """A command that nobody waits for would make its ledger in a folder that is being removed."""
    interrupted = threading.Event()
    trap, after = tmp_path / "interrupting.sh", tmp_path / "after"
    trap.write_text(f"kill -USR1 $PPID\ntouch {after}\n")
    before = signal.signal(signal.SIGUSR1, lambda *_: interrupted.set())
    try:
        with Stage(["/bin/sh", str(trap)], keep=False, clock=SYSTEM, interrupted=interrupted.is_set) as stage:
            with pytest.raises(KeyboardInterrupt):
                stage.command("run", "x")
            assert after.exists()
            with pytest.raises(KeyboardInterrupt):
                stage.until(lambda: False, "what nobody waits for any more")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert not stage.folder.exists()


def test_a_daemon_that_does_not_come_up_is_told_with_what_it_said() -> None:
    """A machine may lack something: a demo that hangs, or shows a traceback, would be a bad one."""
    broken = [sys.executable, "-c", "raise SystemExit('no room for a daemon here')"]
    with Stage(broken, keep=False, clock=SYSTEM) as stage:
        with pytest.raises(MillraceError, match=r"ended by itself \(exit 1\):\nno room for a daemon here"):
            stage.serve()
        with pytest.raises(MillraceError, match=r"millrace run failed .*: no room for a daemon here"):
            stage.command("run", "x")
    assert not stage.folder.exists()
