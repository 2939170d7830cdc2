"""
Several daemons started on one ledger in the same moment.

Proved: exactly one serves, the others end with exit 75 and say which process is in the way, and no job runs twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.ledger.rows import NewJob
from tests.faults.referee import Referee
from tests.process.scratch import until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.process.scratch import Scratch

AT_ONCE = 2


def test_exactly_one_of_several_serves(site: Scratch, tmp_path: Path, rounds: Callable[[int], int]) -> None:
    """A restart script that runs twice must not cost a second run of each job."""
    referee = Referee(site, tmp_path / "acks.log")
    for number in range(rounds(20)):
        site.put(*(NewJob("mark", "io", f'{{"ms":2,"n":{number * 50 + n}}}') for n in range(50)))
        daemons = [site.launch() for _ in range(AT_ONCE)]
        until(lambda: sum(not daemon.alive for daemon in daemons) == AT_ONCE - 1, "all but one to end")  # noqa: B023
        (winner,) = [daemon for daemon in daemons if daemon.alive]
        winner.await_event("daemon.started")
        for loser in daemons:
            if loser is not winner:
                assert loser.end() == 75
                assert f"a daemon already serves {site.ledger}" in loser.text()
                assert "Traceback" not in loser.text()
        if number % 4:
            winner.kill()  # by far quicker than a stop, and nobody's failure
        else:
            assert winner.stop() == 0
    site.serve()
    referee.await_rest(30)
    referee.judge()
