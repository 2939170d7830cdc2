"""Two daemons, and what they may not do to each other: copies of a ledger, links to one, a lock that was removed."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.process.conftest import CONFIG, JOBS
from tests.process.scratch import Scratch, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Scratch]:
    """A second site."""
    with Scratch(tmp_path / "other", [JOBS], CONFIG.format(drain="30s")) as found:
        yield found


@pytest.mark.parametrize("how", ["restored", "copied"])
def test_the_daemon_of_a_copy_leaves_the_children_of_the_first_alone(site: Scratch, other: Scratch, how: str) -> None:
    """They carry the mark of both ledgers, and are on record in both; one of the daemons is alive."""
    daemon = site.serve()
    job_id = site.submit("hold", name="h")
    site.await_file("h.running-1")
    if how == "restored":
        site.run("backup", "one.tar.gz")
        other.run("restore", str(site.root / "one.tar.gz"))
    else:
        shutil.copytree(site.state, other.state, ignore=shutil.ignore_patterns("*.sock", "scratch", "*.lock"))
    copy = other.serve()
    assert copy.pid != daemon.pid
    assert site.marked()
    (site.root / "h.go").touch()
    row = site.await_final(job_id)
    assert (row.status, row.attempt) == ("succeeded", 1)
    assert daemon.stop() == 0


def test_two_sites_with_links_to_one_ledger_are_refused(site: Scratch, other: Scratch, tmp_path: Path) -> None:
    """Each would take the work of the other for that of a dead daemon."""
    (tmp_path / "shared.db").touch()  # a link that leads nowhere is refused for that
    for one in (site, other):
        one.state.mkdir()
        one.ledger.symlink_to(tmp_path / "shared.db")
    daemon = site.serve()
    second = other.launch()
    assert second.end() == 75
    assert f"pid {daemon.pid}" in second.text()
    assert daemon.stop() == 0


def test_a_daemon_whose_lock_was_removed_ends_and_says_so(site: Scratch) -> None:
    """It cannot know whether another one has begun since."""
    daemon = site.serve()
    site.ledger.with_name("millrace.db.lock").unlink()
    assert daemon.end() == 1
    (failed,) = daemon.events("daemon.failed")
    assert "millrace.db.lock was removed" in failed["reason"]
    until(lambda: site.holder() is None, "the lock to be free")
    assert site.serve().stop() == 0
