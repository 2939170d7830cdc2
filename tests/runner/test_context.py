from __future__ import annotations

import logging
import os
import threading
from typing import Any

import pytest

from millrace import context, log, settings, step
from millrace.runner.context import Context, Entered
from millrace.runner.stop import StopJob


class Recorder:
    """A line that keeps what was said, and answers from its checkpoints."""

    def __init__(self) -> None:
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.steps: dict[str, str] = {}
        self.asked: str | None = None

    def ask(self, kind: str, body: dict[str, Any]) -> Any:
        self.said.append((kind, body))
        if kind == "step.put":
            self.steps[body["name"]] = body["result"]
        return self.steps.get(body["name"])

    def tell(self, kind: str, body: dict[str, Any]) -> None:
        self.said.append((kind, body))

    def check(self) -> None:
        if self.asked:
            raise StopJob(self.asked)


def test_outside_a_job_everything_works_and_nothing_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    """A task is tested by calling it; that must need no daemon."""
    with caplog.at_level(logging.INFO, logger="millrace.job"):
        log("hello", level="warning", rows=2)

    assert [(record.levelname, record.message) for record in caplog.records] == [("WARNING", "hello rows=2")]
    assert (context().job_id, context().client, context().remaining_s(), dict(settings)) == ("", "default", None, {})
    assert step("once", lambda: (1, 2)) == (1, 2)
    context().check()


def test_settings_are_those_of_the_job_that_reads_them() -> None:
    """One name for all clients; the values follow the context."""
    with Entered(Context(job_id="a", settings={"leads": {"threshold": 70}})):
        assert settings["leads"]["threshold"] == 70
        assert len(settings) == 1
    assert "leads" not in settings


def test_a_step_gives_the_same_value_first_and_later() -> None:
    """A tuple that becomes a list only on the retry would be a bug that shows once a year."""
    line, calls = Recorder(), list[int]()

    def work(n: int) -> tuple[int, int]:
        calls.append(n)
        return (n, n)

    with Entered(Context(job_id="a", line=line)):
        first = list(step("s", work, 1))
    with Entered(Context(job_id="a", line=line)):
        again = list(step("s", work, 1))
    assert first == again == [1, 1]
    assert calls == [1]


def test_a_steps_name_stands_for_one_thing_in_an_attempt() -> None:
    """In a loop, each turn silently got what the first one had come to."""
    line = Recorder()

    for _attempt in range(2):
        with Entered(Context(job_id="a", line=line)):
            assert step("double", lambda: 2) == 2
            with pytest.raises(ValueError, match=r'was done in this attempt already: .* such as f"double \{x\}"'):
                step("double", lambda: 4)
    assert line.steps == {"double": "2"}


def test_a_step_that_failed_may_be_tried_again_in_the_same_attempt() -> None:
    """It was not done, so its name stands for nothing yet."""
    answers = iter(["no number", "2"])

    with Entered(Context(job_id="a", line=Recorder())):
        with pytest.raises(ValueError, match="no number"):
            step("fetch", lambda: int(next(answers)))
        assert step("fetch", lambda: int(next(answers))) == 2


@pytest.mark.parametrize("name", ["", "x" * 201])
def test_a_step_without_a_usable_name_is_refused(name: str) -> None:
    """It is a key in the ledger."""
    with pytest.raises(ValueError, match="1 to 200 characters"):
        step(name, int)


def test_a_step_whose_name_is_not_text_is_refused_with_one_that_is() -> None:
    """Names of files come as steps, and may hold any bytes; ascii() tells them apart as well."""
    name = os.fsdecode(b"caf\xe9.csv")
    with pytest.raises(ValueError, match=r"take ascii\(name\)"):
        step(name, int)

    assert step(ascii(name), int) == 0


def test_an_unknown_log_level_is_refused_with_the_known_ones() -> None:
    """At the first call, not when somebody looks for the line."""
    with pytest.raises(ValueError, match="debug, info, warning, error, critical"):
        log("x", level="loud")


def test_an_order_to_stop_arrives_where_the_job_calls_the_engine() -> None:
    """A broad `except Exception` in the job must not swallow it."""
    line = Recorder()
    line.asked = "timeout"
    with Entered(Context(job_id="a", line=line)):
        for call in (lambda: log("x"), lambda: step("s", int), lambda: context().check()):
            with pytest.raises(StopJob):
                call()
    assert line.said == []


def test_helper_threads_of_a_child_find_the_jobs_context() -> None:
    """Threads inherit no context variable; in a child there is only one job that they can belong to."""
    found = []
    with Entered(Context(job_id="a"), whole_process=True):
        helper = threading.Thread(target=lambda: found.append(context().job_id))
        helper.start()
        helper.join()
    assert found == ["a"]
    assert context().job_id == ""
