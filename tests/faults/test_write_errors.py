"""
The disk refuses: the nth write finds it full, or fails, or the nth sync does, at any point of a scripted scenario.

Proved: a full disk refuses in clear words, at the start or a request, and the daemon goes on by itself once there is
room; a broken one ends the daemon at once and loudly, since nobody knows what is on it. Whatever fails, the next
daemon finds all that was acknowledged, and does it once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import pytest

from tests.faults.script import Script
from tests.faults.strace import attached, injecting, need_strace

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.conftest import MakeSite
    from tests.process.scratch import Served

MOST = 2000
LONG = 40  # writes in a row that fail: several transactions


class Fault(NamedTuple):
    """What fails; how many calls lie between two tries of a bounded run, and up to which the script always comes."""

    call: str
    error: str
    step: int
    sure: int

    def numbers(self, dice: random.Random, rounds: int) -> range:
        """Return which calls are to fail, one after the other."""
        step = max(1, self.step // rounds)
        return range(dice.randint(1, step), MOST if step == 1 else self.sure + 1, step)


FULL = Fault("pwrite64", "ENOSPC", 240, 450)
BROKEN = [Fault("pwrite64", "EIO", 220, 450), Fault("fdatasync", "EIO", 22, 44)]


@pytest.fixture(autouse=True)
def strace() -> None:
    """Without it nothing here can be done."""
    need_strace()


class Try(NamedTuple):
    """The script, played on a daemon one of whose calls failed."""

    script: Script
    daemon: Served
    good_end: bool
    hit: bool


def play_with(script: Script, fault: Fault, when: str, log: Path) -> Try:
    """Play the script while calls fail; then, if that did not come to its good end, on a daemon that is well."""
    log.unlink(missing_ok=True)
    daemon = script.site.launch(before=injecting(fault.call, f"error={fault.error}", when, log))
    good_end = script.play(daemon)
    daemon.end()
    hit = "(INJECTED)" in log.read_text()
    assert not (good_end and daemon.events("daemon.failed")), "it failed, and told whoever started it that all was well"
    if not good_end:
        well = script.site.launch()
        assert script.play(well), f"{fault} {when}:\n{daemon.text()}\n{well.text()}"
    script.judge()
    return Try(script, daemon, good_end, hit)


def told_clearly(daemon: Served) -> bool:
    """Return whether it said why it ended, for people: an event or a line, and no traceback."""
    said = any(line.startswith("millrace: ") for line in daemon.text().splitlines())
    return "Traceback" not in daemon.text() and bool(said or daemon.events("daemon.failed"))


def test_a_disk_that_is_full_at_any_write_refuses_and_recovers(
    make_site: MakeSite, tmp_path: Path, dice: random.Random, rounds: Callable[[int], int]
) -> None:
    """For one write, or for as many as some transactions have; then there is room again."""
    outcomes = []
    for n in FULL.numbers(dice, rounds(1)):
        when = f"{n}" if dice.random() < 0.5 else f"{n}..{n + LONG}"
        done = play_with(Script(make_site(root=tmp_path / f"{n}")), FULL, when, tmp_path / "calls")
        if not done.hit:
            break
        started = bool(done.daemon.events("daemon.started"))
        outcomes.append(f"{when}: refused {done.script.refused}" if started else f"{when}: not started")
        assert done.good_end == started, f"{when}: it ended, though there was room again\n{done.daemon.text()}"
        assert started or told_clearly(done.daemon), done.daemon.text()
        done.script.site.__exit__()
    print(f"{len(outcomes)}: {outcomes}")  # noqa: T201 - shown by -rP
    assert outcomes, "nothing failed"


@pytest.mark.parametrize("fault", BROKEN, ids=[fault.call for fault in BROKEN])
def test_a_disk_that_fails_at_any_call_ends_the_daemon_loudly_and_loses_nothing(
    make_site: MakeSite, tmp_path: Path, dice: random.Random, rounds: Callable[[int], int], fault: Fault
) -> None:
    """It exits rather than guess; what it had acknowledged is there for its successor."""
    ends = []
    for n in fault.numbers(dice, rounds(1)):
        done = play_with(Script(make_site(root=tmp_path / f"{n}")), fault, str(n), tmp_path / "calls")
        if not done.hit:
            break
        ends.append((n, done.daemon.process.returncode))
        if not done.good_end:
            assert done.daemon.process.returncode > 0
            assert told_clearly(done.daemon), done.daemon.text()
        done.script.site.__exit__()
    print(f"{len(ends)}: {ends}")  # noqa: T201 - shown by -rP
    assert any(code for _, code in ends), "nothing ended"


def test_a_daemon_that_starts_on_a_full_disk_says_so(make_site: MakeSite, tmp_path: Path) -> None:
    """Its first write is the note of its pid. With the code of wrong settings, systemd would never try again."""
    site = make_site()
    daemon = site.launch(before=injecting("pwrite64", "error=ENOSPC", "1", tmp_path / "calls"))
    assert daemon.end() == 75
    assert "No space left" in daemon.text()
    assert told_clearly(daemon), daemon.text()
    assert site.serve().stop() == 0


def test_a_disk_that_fails_during_the_stop_is_told_by_the_exit_code(make_site: MakeSite) -> None:
    """Who reads 0 believes that all was recorded."""
    daemon = make_site().serve()
    with attached(daemon.pid, "pwrite64", "error=EIO"):
        assert daemon.stop() == 1
    assert daemon.events("daemon.failed")
