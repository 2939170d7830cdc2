"""
A disk that takes half a second for each sync, as a busy or a dying one does.

Proved: all works and only takes longer; the daemon stays alive, fit for work and in the eyes of its watchdog, as it
makes progress; nothing is lost or doubled.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from tests.faults.script import Script
from tests.faults.strace import injecting, need_strace
from tests.process.scratch import until
from tests.process.test_daemon import Manager

if TYPE_CHECKING:
    from pathlib import Path

    from tests.faults.conftest import MakeSite

SLOW = "8..15"  # syncs of the writer, from about the end of its start
SYNCS = 8
HALF_A_SECOND = 500_000  # µs
FEW = 5


def test_a_slow_disk_delays_and_loses_nothing(make_site: MakeSite, tmp_path: Path) -> None:
    """A watchdog that restarts a daemon for its slow disk would make the disk slower still."""
    need_strace()
    script, manager, log = Script(make_site()), Manager(), tmp_path / "calls"
    over = threading.Event()
    fed: list[int] = []
    codes: set[tuple[int, int]] = set()
    daemon = script.site.launch(
        manager.environ, before=injecting("fdatasync", f"delay_enter={HALF_A_SECOND}", SLOW, log)
    )

    def delayed() -> int:
        return log.read_text().count("(DELAYED)")

    def look() -> None:
        while not over.is_set():
            facts = manager.hears(0.2) or {}
            fed.extend([delayed()] * ("WATCHDOG" in facts))

    def probe() -> None:
        until(lambda: daemon.events("daemon.started") or over.is_set(), "the start", 60)
        seen = -1
        while not over.is_set() and seen < SYNCS:
            seen = delayed()
            codes.add((script.site.ask("GET", "/livez").status_code, script.site.ask("GET", "/readyz").status_code))

    threads = [threading.Thread(target=target) for target in (look, probe)]
    for thread in threads:
        thread.start()
    try:
        assert script.play(daemon), daemon.text()
    finally:
        over.set()
        for thread in threads:
            thread.join()
        manager.socket.close()
    script.judge()
    assert delayed() == SYNCS, "the disk was never slow: the test proves nothing"
    assert codes == {(200, 200)}
    assert sum(0 < seen < SYNCS for seen in fed) > FEW, "its watchdog was not fed while the disk was slow"
    assert daemon.events("daemon.failed") == []
