from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import apsw

from millrace.clock import SYSTEM
from millrace.ledger.rows import DaemonRow
from millrace.ledger.states import Status
from millrace.process.lock import take_lock

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Done, Past, Site

    Call = Callable[..., Done]


def test_a_site_without_a_ledger_is_not_running(site: Site, call: Call) -> None:
    """Exit 3, a sentence, and nothing is made by looking."""
    done = call("status")
    assert done.code == 3
    assert "not running (millrace serve)" in done.out
    assert "No ledger yet" in done.err
    assert not site.state.exists()


def test_a_running_daemon_is_known_by_its_lock(site: Site, call: Call, past: Past) -> None:
    """A pid in a file could be that of a daemon which was killed; the lock dies with its holder."""
    now = past.moves._writer._clock.now_ms()
    past.moves.sign_in(DaemonRow("daemon-1", os.getpid(), "host", "9.9", now - 65_000, now, None)).wait()
    assert call("status").code == 3
    lock = take_lock(site.ledger)
    try:
        done = call("status", "--json")
        assert done.code == 0
        facts = done.json
        assert (facts["running"], facts["pid"], facts["version"]) == (True, os.getpid(), "9.9")
        assert 65 <= facts["uptime_s"] < 100
        assert f"running: pid {os.getpid()}, version 9.9, up 1m, http://127.0.0.1:8420" in call("status").out
    finally:
        os.close(lock)
    assert call("status", "--json").json["running"] is False


def test_counts_depths_and_failures_are_on_one_screen(call: Call, past: Past) -> None:
    """What somebody looks at first at 7 in the morning."""
    past.succeeded()
    past.job(queue="io")
    dead = past.dead(message="no route to host")
    facts = call("status", "--json").json
    assert facts["jobs"] == {"waiting": 0, "queued": 1, "running": 0, "succeeded": 1, "dead": 1, "cancelled": 0}
    assert facts["dead_letters"] == 1
    assert facts["conservation"]["difference"] == 0
    assert [failure["id"] for failure in facts["failures"]] == [dead]
    assert {row["queue"] for row in facts["queues"]} == {"default", "io"}
    text = call("status").out
    assert "1 queued, 1 succeeded, 1 dead" in text
    assert "each of 3 accepted jobs is accounted for" in text
    assert "ValueError: no route to host" in text


def test_jobs_that_run_without_a_daemon_were_cut_off(site: Site, call: Call, past: Past) -> None:
    """After a kill -9 "2 running" would be a lie, and the most natural worry is what becomes of them."""
    past.claimed()
    assert "The running job was cut off when the daemon died:\n         its next start takes it" in call("status").out
    past.claimed()
    text = call("status").out
    assert "The 2 running jobs were cut off when the daemon died:\n         its next start takes them back" in text
    assert max(map(len, text.splitlines()[3:])) < 80
    assert call("status", "--json").json["cut_off"] == 2
    assert "what is shown as running was cut off" in call("jobs", "list").err
    lock = take_lock(site.ledger)
    try:
        assert call("status", "--json").json["cut_off"] == 0
        assert "cut off" not in call("status").out + call("jobs", "list").err
    finally:
        os.close(lock)


def test_a_difference_that_only_the_rows_show_is_loud_too(call: Call, past: Past) -> None:
    """The counters know nothing of a row that went; the daemon, which counts the rows, leaves word of it."""
    past.job()
    found: dict[str, Any] = {"difference": 1, "details": ["default/default/add: 1 queued by the counter, 0 rows"]}
    past.moves.note("proof", json.dumps(found)).wait()
    text = call("status").out
    assert "DIFFERENCE OF 1" in text
    assert found["details"][0] in text
    assert call("status", "--json").json["conservation"]["difference"] == 1


def test_a_difference_is_loud(site: Site, call: Call, past: Past) -> None:
    """The one figure that must never be overlooked."""
    past.job()
    other = apsw.Connection(str(site.ledger))
    other.execute("UPDATE tally SET accepted = accepted + 2")
    other.close()
    assert "DIFFERENCE OF 2" in call("status").out
    assert call("status", "--json").json["conservation"]["difference"] == 2
    done = call("doctor", "--json")
    assert done.code == 1
    found = {check["name"]: check for check in done.json["checks"]}
    assert found["conservation"]["level"] == "fail"
    assert "default/default/add" in found["conservation"]["text"]


def test_a_site_whose_jobs_were_all_pruned_has_had_jobs(call: Call, past: Past) -> None:
    """To read "none yet" beside sixteen that are accounted for would be read as a loss."""
    job_id = past.succeeded()
    past.moves.prune_jobs([job_id], Status.SUCCEEDED, SYSTEM.now_ms() + 1000).wait()
    text = call("status").out
    assert "Jobs     none kept; 1 pruned" in text
    assert "each of 1 accepted job is accounted for" in text
