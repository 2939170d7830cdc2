"""The fixtures that site authors use: found by pytest itself, and each does what its name says."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from pydantic import ValidationError

from millrace import Done, context, log, once, rules, settings, step
from millrace.errors import RulesError
from millrace.runner.stop import StopJob
from millrace.testing import FakeClock, LogLine, PretendedJob, PretendedServices, UnexpectedCall

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from millrace.define.rules import Ruled

pytest_plugins = ["pytester"]

CRM = "https://api.crm.example"
SEGMENT = {"segment": [{"when": {"points": ">=60"}, "then": "enterprise"}, {"then": "welcome"}]}


def test_time_passes_when_the_test_says_so(millrace_clock: FakeClock) -> None:
    """And at once, however long it is."""
    assert (millrace_clock.monotonic(), millrace_clock.now_ms()) == (0.0, 1_769_846_400_000)
    millrace_clock.advance("1h")
    millrace_clock.advance(0.5)
    assert (millrace_clock.monotonic(), millrace_clock.now_ms()) == (3600.5, 1_769_850_000_500)
    assert not millrace_clock.wait(threading.Event(), 30)
    assert millrace_clock.monotonic() == 3630.5
    with pytest.raises(ValueError, match="does not go back"):
        millrace_clock.advance(-1)


def test_an_event_that_is_set_is_not_waited_for(millrace_clock: FakeClock) -> None:
    """A wait that is over at once takes no time."""
    event = threading.Event()
    event.set()
    assert millrace_clock.wait(event, 30)
    assert millrace_clock.monotonic() == 0


def test_settings_are_what_the_test_says(millrace_settings: Callable[..., None], config: Callable[[str], Path]) -> None:
    """Given as values, or read from a config.toml with those of a client on top."""
    millrace_settings({"leads": {"threshold": 1}})
    assert settings["leads"]["threshold"] == 1

    file = config("[settings.leads]\nthreshold = 80\n[clients.acme.settings]\nleads.threshold = 70\n")
    millrace_settings(file)
    assert settings["leads"]["threshold"] == 80
    millrace_settings(str(file), client="acme")
    assert (settings["leads"]["threshold"], context().client) == (70, "acme")


def test_rules_are_what_the_test_says(site_rules: Callable[..., Ruled], config: Callable[[str], Path]) -> None:
    """And what they decided can be asserted."""
    ruled = site_rules(SEGMENT)
    assert rules("segment").first({"points": 60}) == "enterprise"
    assert [decision.rows for decision in ruled.decisions] == [(1,)]

    site_rules(config('[[rules.segment]]\nthen = "other"\n'))
    assert rules("segment").first({"points": 60}) == "other"
    with pytest.raises(RulesError):
        rules("mail")


def test_rules_of_a_test_are_checked_as_those_of_the_site(site_rules: Callable[..., Ruled]) -> None:
    """A test that passes with a table that the site could not load proves nothing."""
    with pytest.raises(ValidationError, match="compares with no number"):
        site_rules({"segment": [{"when": {"points": ">=many"}, "then": 1}]})


def test_what_a_test_says_ends_with_it(pytester: pytest.Pytester) -> None:
    """The next test would decide by the tables of this one, in whichever order they come."""
    pytester.makepyfile("""
        from millrace import rules, settings, context

        def test_says(millrace_settings, site_rules, millrace_job):
            millrace_settings({"a": 1})
            site_rules({"t": [{"then": 1}]})
            with millrace_job():
                assert rules("t").first({}) == 1 and settings["a"] == 1 and context().job_id

        def test_sees_nothing_of_it():
            assert dict(settings) == {} and context().job_id == ""
            try:
                rules("t")
            except Exception as error:
                assert "no [[rules.t]]" in str(error)
            else:
                raise AssertionError
    """)
    pytester.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)


def test_a_retry_finds_the_steps_of_the_first_attempt(millrace_job: Callable[..., PretendedJob]) -> None:
    """What a step is for can be tested: the second attempt must not pay again."""
    numbers = iter([7, 8])
    job = millrace_job()
    for _ in range(2):
        with job:
            assert step("pay", next, numbers) == 7
    assert (job.attempt, job.steps) == (2, {"pay": "7"})


def test_a_steps_name_is_used_once_in_an_attempt(millrace_job: Callable[..., PretendedJob]) -> None:
    """As in a job: a test of a loop would pass, and the loop pay each time what it paid first."""
    with millrace_job():
        step("pay", abs, 1)
        with pytest.raises(ValueError, match='step "pay" was done in this attempt already'):
            step("pay", abs, 2)


def test_a_pretended_job_has_what_a_job_has(
    millrace_job: Callable[..., PretendedJob], site_rules: Callable[..., Ruled]
) -> None:
    """Its log, its client, its settings, its decisions."""
    site_rules(SEGMENT)
    with millrace_job(client="acme", settings={"leads": {"threshold": 70}}) as job:
        log("scored", level="warning", points=5)
        outcome = rules("segment").first({"points": 5})
        seen = (context().client, context().attempt, settings["leads"]["threshold"], context().remaining_s())

    assert job.log == [LogLine("warning", "scored points=5")]
    assert seen == ("acme", 1, 70, None)
    assert [(decision.rows, decision.outcome) for decision in job.decisions] == [((2,), outcome)]


def test_a_job_whose_time_is_up_ends_where_it_would_end(
    millrace_job: Callable[..., PretendedJob], millrace_clock: FakeClock
) -> None:
    """What a job leaves behind when it is stopped half-way can be looked at, without waiting."""
    job, left = millrace_job(timeout="30s"), list[float | None]()

    def work() -> None:
        for _ in range(3):
            log("a piece")
            left.append(context().remaining_s())
            millrace_clock.advance("15s")

    with job, pytest.raises(StopJob):
        work()
    assert left == [30, 15]
    with job:  # the next attempt has its own time
        context().check()


def test_an_effect_in_doubt_is_asked_about_by_the_next_attempt(millrace_job: Callable[..., PretendedJob]) -> None:
    """So a test can stage what is rare and expensive outside: an answer that got lost."""
    job, sent = millrace_job(), list[str]()

    def send(to: str) -> str:
        sent.append(to)
        raise TimeoutError("no answer")

    def was_sent(to: str) -> Done[str] | None:
        return Done(to) if to in sent else None

    with pytest.raises(TimeoutError), job:
        once("mail", send, "ada", verify=was_sent)
    with job:
        assert once("mail", send, "ada", verify=was_sent) == "ada"
    assert (sent, job.effects.effects["mail"]["status"]) == (["ada"], "done")


def test_a_cancelled_job_ends(millrace_job: Callable[..., PretendedJob]) -> None:
    """At the next call to the engine, as in production."""
    job = millrace_job()
    with job:
        job.cancel()
        with pytest.raises(StopJob):
            step("s", int)


def test_a_service_answers_as_the_test_says(pretend: PretendedServices) -> None:
    """And what job code sent can be asserted."""
    pretend("GET", f"{CRM}/leads", json=[{"id": 1}], headers={"Etag": "x"})
    pretend("POST", f"{CRM}/leads", status=201)
    crm = pretend.client(CRM)

    found = crm.get("/leads", params={"since": "2026-01-01"})
    assert (found.json(), found.headers["etag"]) == ([{"id": 1}], "x")
    assert crm.post("/leads", json={"id": 2}).status_code == 201
    assert [(call.method, call.url) for call in pretend.calls] == [
        ("GET", f"{CRM}/leads?since=2026-01-01"),
        ("POST", f"{CRM}/leads"),
    ]
    assert pretend.calls[1].json == {"id": 2}


def test_answers_come_in_order_and_the_last_one_stays(pretend: PretendedServices) -> None:
    """A service that is down for one call, and then is not: what a retry is for."""
    pretend("GET", f"{CRM}/leads", error=httpx.ConnectTimeout("too late"))
    pretend("GET", f"{CRM}/leads", status=503, text="busy")
    pretend("GET", f"{CRM}/leads", json=[])
    crm = pretend.client(CRM)

    with pytest.raises(httpx.ConnectTimeout):
        crm.get("/leads")
    assert [crm.get("/leads").status_code for _ in range(3)] == [503, 200, 200]


def test_an_answer_for_one_query_wins_over_that_for_any(pretend: PretendedServices) -> None:
    """Pages of a list differ in their query only."""
    pretend("GET", f"{CRM}/leads", json=["first"])
    pretend("GET", f"{CRM}/leads?page=2", json=["second"])
    crm = pretend.client(CRM)
    pages: list[Any] = [crm.get("/leads", params=params).json() for params in ({"page": 1}, {"page": 2})]
    assert pages == [["first"], ["second"]]


def test_a_call_that_is_not_pretended_fails(pretend: PretendedServices) -> None:
    """No test may reach the real thing by a slip."""
    pretend("GET", f"{CRM}/leads")
    with pytest.raises(UnexpectedCall, match=f"DELETE {CRM}/leads is not pretended; pretended is GET {CRM}/leads"):
        pretend.client(CRM).delete("/leads")
