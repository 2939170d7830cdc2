"""What happened to a job, in words that need no key."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from millrace.cli.history import waits
from millrace.ledger.moves import Moves
from millrace.ledger.rows import JobError
from millrace.ledger.states import REASONS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Done, Past, Site

    Call = Callable[..., Done]


def told(call: Call, job_id: str) -> list[str]:
    """Return the words of the history that `jobs show` prints."""
    part = call("jobs", "show", job_id).out.partition("History\n")[2].partition("\n\n")[0]
    return [re.sub(r"^ +[+-]\S+  ", "", line) for line in part.splitlines()]


def test_an_attempt_that_the_daemon_took_with_it_is_told_once(call: Call, past: Past) -> None:
    """A kill -9 writes an attempt and an event; whoever reads needs one sentence, and no ids of daemons."""
    held = past.claimed()
    assert told(call, held.job_id)[1] == (
        "attempt 1 started; it was cut off when the daemon died; the next `millrace serve` takes the job back"
    )
    Moves(past.ledger.writer, daemon="daemon-2").take_back([]).wait()

    assert told(call, held.job_id) == [
        "accepted",
        "attempt 1 started",
        "attempt 1 was cut off when the daemon died; the job was queued again",
        "queued: waits for a worker",
    ]
    assert call("jobs", "show", held.job_id, "--json").json["events"][0]["event"] == "release"


def test_a_job_that_was_to_be_cancelled_when_the_daemon_died_is_told_once(call: Call, past: Past) -> None:
    """The wish and its fulfilment are two facts, the fulfilment not two."""
    held = past.claimed()
    past.moves.cancel(held.job_id, actor="cli:tess").wait()
    Moves(past.ledger.writer, daemon="daemon-2").take_back([]).wait()
    words = told(call, held.job_id)
    assert sorted(words[1:]) == [
        "attempt 1 started",
        "attempt 1 was cut off when the daemon died; the job was cancelled",
        "cli:tess asked for its end",
    ]


def ended(past: Past, move: str, *given: Any, facts: dict[str, Any], duration_s: float = 2.0) -> str:
    """Claim a job and end its attempt as a runner would."""
    held = past.claimed(max_attempts=4)
    more: dict[str, Any] = {"due_at": 2**42} if move in {"park", "retry"} else {}
    cause = {"cause": facts.pop("cause")} if "cause" in facts else {}
    getattr(past.moves, move)(held, *given, duration_s=duration_s, facts=facts, **more, **cause).wait()
    return held.job_id


CRASH = JobError("Crashed", "ended by SIGSEGV")
LATE = JobError("Timeout", "late")


@pytest.mark.parametrize(
    ("move", "given", "facts", "words"),
    [
        ("release", ["shutdown"], {"pid": 9}, "was interrupted after 2s, as the daemon stopped; the job was queued ag"),
        ("release", ["shutdown"], {"thread": "did not end"}, "did not end when the daemon stopped; the job was queued"),
        ("stop", [], {"pid": 9, "ended_by": "KILL"}, "was cancelled after 2s (its process was killed)"),
        (
            "park",
            ["breaker:crm"],
            {"pid": 9},
            "was put aside after 2s, which does not count as a failure: it waits until crm can be called again",
        ),
        (
            "retry",
            [LATE],
            {"pid": 9, "ended_by": "TERM", "signal": "SIGTERM", "killed": 2, "cpu_s": 0.1},
            "failed after 2s, to be tried again: Timeout: late (its process was terminated; 2 processes that it had st",
        ),
        (
            "give_up",
            [CRASH],
            {"cause": "poison", "pid": 9, "signal": "SIGSEGV", "exit_code": None, "rss_kb": 1, "killed": 0},
            "failed after 2s, for good (it has taken down its process three times): Crashed: ended by SIGSEGV",
        ),
        ("succeed", ["1"], {"pid": 9}, "succeeded after 2s"),
        ("succeed", ["1"], {"tide": "high"}, "succeeded after 2s (tide high)"),
    ],
)
def test_the_end_of_an_attempt_is_a_sentence(  # noqa: PLR0917 - the table's columns
    call: Call, past: Past, move: str, given: list[Any], facts: dict[str, Any], words: str
) -> None:
    """No codes, and no evidence that the words have told already; a fact without words is still named."""
    line = told(call, ended(past, move, *given, facts=facts))[2]
    assert line.startswith(f"attempt 1 {words}")
    assert "None" not in line
    assert "pid" not in line


def test_a_long_line_is_folded_on_a_terminal(site: Site, past: Past) -> None:
    """At 80 columns a terminal would break it in the middle of a word, below the times."""
    job_id = past.dead(message="the other side does not answer, and has not answered since the early morning")
    width = {"COLUMNS": "80", "TERM": "dumb"}
    ours, theirs = pty.openpty()
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": os.pathsep.join(sys.path), **width}
    subprocess.run(site.argv("jobs", "show", job_id), stdout=theirs, env=environ, check=True, timeout=60)
    text = os.read(ours, 100_000).decode().replace("\r\n", "\n")
    os.close(ours)
    os.close(theirs)
    lines = text.partition("History")[2].partition("\n\n")[0].splitlines()[3:]
    assert len(lines) == 3
    assert lines[1].startswith(" " * 13 + "ValueError: the other side")
    assert max(map(len, lines)) <= 80


def test_a_page_of_an_error_is_shown_in_full_once(call: Call, past: Past) -> None:
    """A service answers with its whole page; four attempts with it would push the history off the screen."""
    job_id = past.dead(message="<p>" * 1000)
    out = call("jobs", "show", job_id).out
    line = told(call, job_id)[2]
    assert line.startswith("attempt 1 failed")
    assert line.endswith("<p><…")
    assert len(line) < 300
    assert "<p>" * 1000 in out.partition("Last error")[2]


def test_what_the_daemon_knows_again_is_told_in_words(call: Call, past: Past) -> None:
    """Nobody reads `unknown_task` and thinks of a restart."""
    held = past.claimed()
    past.moves.park(held, "unknown_task", due_at=None, duration_s=0.1).wait()
    assert told(call, held.job_id)[-1] == "waits until the daemon knows its task: it reads job files when it starts"
    past.moves.promote_fitting("unknown_task", "add").wait()
    assert any(line.startswith("made ready by daemon: its task is known now") for line in told(call, held.job_id))


def test_a_claim_that_never_began_says_so(call: Call, past: Past) -> None:
    """Handed back untouched at shutdown is something else than interrupted in the middle."""
    job_id = ended(past, "release", "shutdown", facts={}, duration_s=0.0)
    assert told(call, job_id)[2] == "attempt 1 had not begun when the daemon stopped; the job was queued again"


def test_every_reason_to_wait_has_words() -> None:
    """A reason that is added to the table must be added here."""
    for reason in REASONS:
        assert not waits(f"{reason}:crm").startswith("waits: "), reason
    assert waits("breaker:crm") == "waits until crm can be called again"


def test_the_rows_that_decided_are_told(call: Callable[..., Done], past: Past) -> None:
    """Who asks why a lead went there is told the row of the table."""
    held = past.claimed()
    decisions = [
        {"rules": "segment", "rows": [2], "outcome": "enterprise"},
        {"rules": "score", "rows": [1, 3], "outcome": 40},
        {"rules": "score", "rows": [], "outcome": None},
        {"rules": "score", "rows": [1, 2], "more": 1200, "outcome": 7},
    ]
    past.moves.succeed(held, "1", duration_s=0.1, facts={"decisions": decisions, "decided": 6}).wait()
    told = (
        'succeeded after 100ms (rules segment: row 2 gave "enterprise"; rules score: rows 1, 3 gave 40; '
        "rules score: no row gave null; rules score: rows 1, 2 and 1,200 more gave 7; 2 more decisions)"
    )
    assert told in call("jobs", "show", held.job_id).out
