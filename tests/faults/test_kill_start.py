"""
`kill -9` at random moments of a start, one after the other, on a ledger that is being brought up to date.

Proved: each start finds what the one before left, whatever that was; the upgrade is done or not begun, and done once;
what the old ledger held is finished.
"""

from __future__ import annotations

import threading
from contextlib import closing
from typing import TYPE_CHECKING

import apsw

from millrace.clock import SYSTEM
from millrace.ledger.database import VERSION
from tests.faults.script import OLD_JOBS, Script

if TYPE_CHECKING:
    import random
    from collections.abc import Callable
    from pathlib import Path

    from tests.faults.conftest import MakeSite

KILLS = 8  # of one site


def test_starts_that_are_killed_lose_and_double_nothing(
    make_site: MakeSite, tmp_path: Path, dice: random.Random, rounds: Callable[[int], int]
) -> None:
    """A supervisor that restarts too eagerly, a machine that reboots again and again."""
    for number in range(rounds(1)):
        script = Script(make_site(root=tmp_path / f"{number}"))
        versions = []
        for _ in range(KILLS):
            daemon = script.site.launch()
            SYSTEM.wait(threading.Event(), dice.uniform(0.1, 1.5))  # the moment is the point: any will do
            daemon.kill()
            with closing(apsw.Connection(str(script.site.ledger))) as connection:
                versions.append(connection.pragma("user_version"))
                assert connection.pragma("integrity_check") == "ok"
                assert connection.execute("SELECT count(*) >= ? FROM job", (OLD_JOBS,)).fetchall() == [(1,)]
        assert versions == sorted(versions)
        assert set(versions) <= {1, VERSION}
        assert script.play(script.site.launch()), script.site.daemons[-1].text()
        script.judge()
        script.site.__exit__()
