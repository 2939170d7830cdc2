"""Verdicts on their way from a child to its supervisor, which trusts none of them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from millrace.ledger.rows import JobError
from millrace.runner.protocol import ProtocolError
from millrace.runner.verdict import MAX_FACTS, Verdict, as_message, from_message

ERROR = JobError("ValueError", "no such lead", "Traceback …")
VERDICTS = [
    Verdict("ok", result='{"a":1}'),
    Verdict("ok", result="null", facts={"decisions": [{"rules": "segment", "row": 2}]}),
    Verdict("failed", error=ERROR),
    Verdict("failed", error=JobError("E", "without a trace", None), retryable=False),
    Verdict("retry_later", after_s=2.5, error=ERROR),
    Verdict("parked", reason="breaker:crm", after_s=0.0),
    Verdict("gave_up", error=ERROR, reason="the job gave up"),
]


@pytest.mark.parametrize("verdict", VERDICTS, ids=lambda verdict: verdict.kind)
def test_a_verdict_arrives_as_it_was_sent(verdict: Verdict) -> None:
    """Fields at their defaults are left out of the message, and come back as their defaults."""
    message = json.loads(json.dumps(as_message(verdict, clean_child=True)))
    assert "dirty" not in message
    assert from_message(message, {}) == verdict


def test_a_child_that_left_threads_behind_says_so() -> None:
    """It is not used for another job."""
    assert as_message(Verdict("ok", result="1"), clean_child=False)["dirty"] is True


def test_the_supervisors_facts_win_over_the_childs() -> None:
    """A job cannot make up which signal ended it."""
    seen = from_message({"m": "done", "v": "ok", "r": "1", "facts": {"pid": 1, "row": 2}}, {"pid": 7})
    assert seen.facts == {"pid": 7, "row": 2}


@pytest.mark.parametrize(
    "made_up",
    [
        {"v": "splendid"},
        {"v": 7},
        {},
        {"v": "ok", "r": 7},
        {"v": "retry_later", "after": "soon"},
        {"v": "ok", "r": "1", "facts": ["a"]},
        {"v": "ok", "r": "1", "facts": {"a": "x" * MAX_FACTS}},
        {"v": "failed", "e": "an error"},
        {"v": "failed", "e": ["E", "no trace"]},
    ],
)
def test_a_verdict_that_no_child_of_ours_sends_is_refused(made_up: dict[str, Any]) -> None:
    """Job code shares the child's process, and could write on its line."""
    with pytest.raises(ProtocolError):
        from_message({"m": "done", **made_up}, {})
