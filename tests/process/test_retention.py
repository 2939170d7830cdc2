"""What is old goes, while the daemon works and by hand; shown first."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from millrace.clock import MS, SYSTEM, SystemClock
from millrace.ledger.blobs import LARGE, reference
from millrace.ledger.ledger import Ledger
from millrace.ledger.rows import NewJob
from tests.process.scratch import LIMIT_S, until

if TYPE_CHECKING:
    from tests.process.conftest import MakeSite
    from tests.process.scratch import Scratch


class Earlier(SystemClock):
    """A clock of two days ago."""

    def now_ms(self) -> int:
        """See `Clock`."""
        return SYSTEM.now_ms() - 2 * 86_400 * MS


def fill(site: Scratch, count: int, payload: str = '{"a":1,"b":2}') -> None:
    """Let jobs have succeeded two days ago."""
    with Ledger(site.ledger, clock=Earlier(), synchronous="normal") as ledger:
        ledger.moves.daemon = "d1"
        ledger.moves.accept([NewJob("add", "old", payload) for _ in range(count)]).wait(LIMIT_S)
        while claims := ledger.moves.claim("old", count).wait(LIMIT_S):  # of large payloads not all at once
            for held in claims:
                ledger.moves.succeed(held, "3", duration_s=0.1).wait(LIMIT_S)


def test_the_command_shows_first_and_then_removes(make_site: MakeSite) -> None:
    """And the balance says what became of them."""
    site = make_site('[retention]\nsucceeded = "1d"\n')
    fill(site, 30)
    shown = json.loads(site.run("prune", "--dry-run", "--json").stdout)
    assert shown[0] == {"kind": "succeeded", "kept_s": 86400.0, "number": 30, "jobs": 0}
    assert site.reads.status_counts()["succeeded"] == 30
    assert "Remove it? There is nobody to ask here: add --yes" in site.run("prune", code=1).stderr
    assert "succeeded" in site.run("prune", "--dry-run").stdout
    done = json.loads(site.run("prune", "--yes", "--json").stdout)
    assert (done["jobs"], done["runs"], done["early"]) == (30, 0, 0)
    balance = site.reads.balance(count_rows=True)
    assert (balance.difference, balance.pruned) == (0, 30)
    assert "removed 0 jobs" in site.run("prune").stdout, "there is nothing to ask about"
    assert json.loads(site.run("doctor", "--json", code=None).stdout)["checks"]


def test_what_goes_for_its_size_alone_is_asked_about_too(make_site: MakeSite) -> None:
    """Nothing in it is old, and yet there is something to lose."""
    site = make_site('[retention]\nmax_size = "1MB"\n')
    fill(site, 30, json.dumps({"fill": "x" * 50_000}))
    refused = site.run("prune", code=1).stderr
    assert "larger than max_size" in refused
    assert "add --yes" in refused
    assert site.reads.status_counts()["succeeded"] == 30
    assert json.loads(site.run("prune", "--yes", "--json").stdout)["early"] > 0


def test_what_large_values_took_counts_as_given_back(make_site: MakeSite) -> None:
    """They lie in files: the database itself hardly shrinks by them."""
    site = make_site('[retention]\nsucceeded = "1d"\n')
    fill(site, 2, json.dumps({"fill": "x" * LARGE}))
    assert json.loads(site.run("prune", "--yes", "--json").stdout)["returned_bytes"] >= LARGE


def test_a_daemon_removes_what_is_old_and_works_on(make_site: MakeSite) -> None:
    """Nobody has to think of it; and it is told."""
    site = make_site('[retention]\nsucceeded = "1d"\n')
    fill(site, 250)
    daemon = site.serve()
    job_id = site.submit("add", a=1, b=2)
    assert daemon.await_event("ledger.pruned")["jobs"] == 250
    assert site.await_final(job_id).status == "succeeded"
    until(lambda: site.reads.balance(count_rows=True).pruned == 250, "the count of the pruned")
    conservation = site.ask("GET", "/health").json()["checks"]["conservation"]
    assert (conservation["status"], conservation["pruned"], conservation["accepted"]) == ("pass", 250, 251)
    assert daemon.stop() == 0


def test_what_a_kill_left_beside_the_ledger_goes_after_an_hour(make_site: MakeSite) -> None:
    """Not before: its transaction may be on its way, behind somebody's lock."""
    site = make_site()
    with Ledger(site.ledger, synchronous="normal") as ledger:
        old, young = (ledger.blobs.put('{"n":1}') for _ in range(2))
        folder = ledger.blobs.folder
    names = [found.name for text in (old, young) if (found := reference(text)) is not None]
    os.utime(folder / names[0], (SYSTEM.now_ms() / MS - 7200,) * 2)
    daemon = site.serve()
    assert daemon.await_event("ledger.pruned")["stray_files"] == 1
    assert [path.name for path in folder.iterdir()] == [names[1]]
    assert daemon.stop() == 0


def test_the_command_tells_what_a_kill_left(make_site: MakeSite) -> None:
    """It is not in the plan, which goes by age; so it must be in what was done."""
    site = make_site()
    with Ledger(site.ledger, synchronous="normal") as ledger:
        found = reference(ledger.blobs.put('{"n":1}'))
        assert found is not None
        os.utime(ledger.blobs.folder / found.name, (0, 0))
    done = site.run("prune", "--yes").stdout
    assert done.endswith("removed 0 jobs, 0 runs, 0 rows of the audit log, 1 file that no value has, left by a kill\n")
    assert list(ledger.blobs.folder.iterdir()) == []
