"""`millrace effects`: what is in doubt, and a person who says what became of it."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from millrace.ledger.effect_rows import EffectEnd, Intent
from millrace.process.lock import take_lock

if TYPE_CHECKING:
    from collections.abc import Callable

    from millrace.ledger.rows import Claim
    from tests.cli.conftest import Done, Past, Site

    Call = Callable[..., Done]


def in_doubt(past: Past, key: str = "mail-7") -> Claim:
    """Leave an effect in doubt, with a job that waits for a person."""
    held = past.claimed()
    past.moves.effect_begin(held, Intent(key, "send 0")).wait()
    past.moves.effect_end(held, EffectEnd(key, "doubt")).wait()
    past.moves.effect_begin(held, Intent(key, "send 0", park=True)).wait()
    past.moves.park(held, "doubt", due_at=None, duration_s=0.1).wait()
    return held


def test_effects_are_listed_and_shown_with_their_job(call: Call, past: Past) -> None:
    """Each of them, or only those that somebody has to look into."""
    past.job()
    assert "a job makes one" in call("effects", "list").err
    held = past.claimed()
    past.moves.effect_begin(held, Intent("fax-1", "fax 0")).wait()
    past.moves.effect_end(held, EffectEnd("fax-1", "done", "1")).wait()
    assert call("effects", "list", "--doubt").err == "Nothing is in doubt.\n"
    waiting = in_doubt(past)
    rows = call("effects", "list", "--json").json
    assert {(row["key"], row["status"], row["call"]) for row in rows} == {
        ("fax-1", "done", "fax"),
        ("mail-7", "doubt", "send"),
    }
    assert [row["key"] for row in call("effects", "list", "--doubt", "--json").json] == ["mail-7"]
    assert call("effects", "list", "--client", "acme", "--json").json == []
    head, *lines = call("effects", "list").out.splitlines()
    assert head.split()[:3] == ["KEY", "STATUS", "BEGUN"]
    assert any("mail-7" in line and "in doubt" in line for line in lines)
    assert "mail-7  in doubt, begun" in call("jobs", "show", waiting.job_id).out
    assert call("jobs", "show", waiting.job_id, "--json").json["effects"][0]["key"] == "mail-7"


@pytest.mark.parametrize(
    ("words", "status", "result"),
    [(["--done"], "done", None), (["--done", '{"id": 7}'], "done", {"id": 7}), (["--not-done"], "not_done", None)],
)
def test_what_a_person_says_lets_the_job_go_on(
    call: Call, past: Past, words: list[str], status: str, result: object
) -> None:
    """And is written into the audit log."""
    held = in_doubt(past)
    settled = call("effects", "settle", "mail-7", *words, "--json").json
    assert (settled["status"], settled["result"], settled["call"]) == (status, result, "send")
    assert call("jobs", "show", held.job_id, "--json").json["status"] == "queued"
    assert call("audit", "list", "--json").json[0]["action"] == "effect.settle"
    assert "as cli:" in call("jobs", "show", held.job_id).out


def test_what_makes_no_sense_is_refused(call: Call, past: Past) -> None:
    """What is said is believed, so it must be said plainly."""
    in_doubt(past)
    for words in ([], ["--done", "--not-done"], ["--done", "{"], ["--done", "NaN"]):
        assert call("effects", "settle", "mail-7", *words).code == 2, words
    assert call("effects", "settle", "mail-8", "--done").code == 4
    assert call("effects", "settle", "mail-7", "--done", "--client", "acme").code == 4
    assert call("effects", "settle", "mail-7", "--not-done").out == "mail-7  not done\n"
    done = call("effects", "settle", "mail-7", "--not-done")
    assert (done.code, "not in doubt" in done.err) == (5, True)
    assert json.loads(call("effects", "list", "--json").out)[0]["settled_by"].startswith("cli:")


def test_what_was_being_done_when_the_daemon_died_waits_for_the_next_one(call: Call, past: Past, site: Site) -> None:
    """To read "being done" and "attempt 1 runs" is no help where nothing runs: the next step is."""
    held = past.claimed()
    past.moves.effect_begin(held, Intent("mail-9", "send 0")).wait()
    listed, settled = call("effects", "list"), call("effects", "settle", "mail-9", "--done")
    assert "was cut off, and its next start finds out what is in doubt (millrace serve)" in listed.err
    assert (settled.code, "start the daemon (millrace serve)" in settled.err) == (5, True)
    lock = take_lock(site.ledger)
    try:
        assert call("effects", "list").err == ""
        settled = call("effects", "settle", "mail-9", "--done")
        assert (settled.code, "is being done: attempt 1" in settled.err) == (5, True)
    finally:
        os.close(lock)
