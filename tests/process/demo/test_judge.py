from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from millrace.process.demo.judge import Balance, Facts, Seen, judge
from millrace.process.demo.outside import Cut

DONE = Seen("mail", "1", "succeeded", 1, '"a"')
LOOKED_UP = Seen("address", "1", "succeeded", 1, '"guest-1"')
CUT_OFF = Seen("mail", "2", "running", 1, None)
RUN_AGAIN = Seen("mail", "2", "succeeded", 2, '"b"', 1)
GOOD = Facts(
    before={"a": DONE, "b": LOOKED_UP, "c": CUT_OFF},
    after={"a": DONE, "b": LOOKED_UP, "c": RUN_AGAIN},
    wanted=["guest-1", "guest-2"],
    mails={"guest-1": 1, "guest-2": 1},
    lookups={"1": 1, "2": 2},
    cuts=[Cut("invitation-2", "guest-2", sent=True)],
    doubts=1,
    asked=1,
    run_id="01a2",
    run_status="succeeded",
    balance=Balance(3, 0),
    resumed_after_s=0.5,
)


def test_the_promise_held_when_each_mail_is_sent_once_and_nothing_that_was_done_ran_again() -> None:
    """What was cut off may run again, and its guest may be looked up twice: nobody could know how far it was."""
    verdict = judge(GOOD)

    assert verdict.held
    assert (verdict.jobs, verdict.done, verdict.kept, verdict.taken_back) == (3, 2, 2, 1)
    assert (verdict.mails, verdict.sent_once, verdict.cut_and_sent) == (2, 2, 1)
    assert (verdict.lost, verdict.doubled) == ((), ())


@pytest.mark.parametrize(
    ("changed", "lost", "doubled"),
    [
        ({"mails": {"guest-1": 1, "guest-2": 2}}, [], ["2 mails to guest-2"]),
        ({"mails": {"guest-1": 1}}, ["no mail to guest-2"], []),
        ({"mails": {"guest-1": 1, "guest-2": 1, "stranger": 2}}, [], ["2 mails to stranger"]),
        ({"after": {"a": DONE, "b": LOOKED_UP}}, ["mail of guest 2 is not in the ledger any more"], []),
        (
            {"after": {"a": DONE, "b": LOOKED_UP, "c": RUN_AGAIN._replace(status="dead")}},
            ["mail of guest 2 is dead"],
            [],
        ),
        (
            {"after": {"a": DONE._replace(attempt=2), "b": LOOKED_UP, "c": RUN_AGAIN}},
            [],
            ["mail of guest 1 was done again"],
        ),
        (
            {"after": {"a": DONE._replace(result='"z"'), "b": LOOKED_UP, "c": RUN_AGAIN}},
            [],
            ["mail of guest 1 was done again"],
        ),
        ({"lookups": {"1": 2}}, [], ["address of guest 1 was done again"]),
        (
            {"after": {"a": DONE, "b": LOOKED_UP, "c": RUN_AGAIN, "d": RUN_AGAIN}},
            [],
            ["2 jobs of mail for guest 2"],
        ),
    ],
)
def test_what_is_lost_or_doubled_is_named_and_the_promise_did_not_hold(
    changed: dict[str, Any], lost: list[str], doubled: list[str]
) -> None:
    """A verdict that cannot be bad says nothing."""
    verdict = judge(replace(GOOD, **changed))

    assert not verdict.held
    assert (list(verdict.lost), list(verdict.doubled)) == (lost, doubled)
    assert verdict.as_json()["held"] is False


@pytest.mark.parametrize("changed", [{"run_status": "partial"}, {"balance": Balance(3, 1)}])
def test_a_run_that_ended_otherwise_or_books_that_do_not_add_up_break_it_too(changed: dict[str, Any]) -> None:
    """All mails may be out, and still something is wrong."""
    assert not judge(replace(GOOD, **changed)).held
