"""The text of an event."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from typing import Any

import pytest

from millrace import events
from millrace.events import AttemptEnded, DaemonStarted, Event, JobLogged
from millrace.observe.line import as_json, facts

AT_MS = 1_700_000_000_123
KINDS = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event)]
VALUES: tuple[Any, ...] = (
    "plain", 'a "quoted" \\ path', "über\u2028\x00\ud800", 7, -1, True, None, 0.001234567, 1e-9, 1e22, math.nan,
    math.inf, -math.inf, ("a", 1), b"bytes",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_line_is_what_an_encoder_makes_of_the_facts(kind: type[Event]) -> None:
    """The text is put together from fixed parts: whatever the values, it may differ from the encoder's in nothing."""
    names = [fact.name for fact in fields(kind)]
    for first in range(len(VALUES)):
        event = kind(**{name: VALUES[(first + place) % len(VALUES)] for place, name in enumerate(names)})
        assert as_json(event, AT_MS) == json.dumps(facts(event, AT_MS), default=repr)


def test_what_is_not_known_is_left_out() -> None:
    """A field that is None says nothing, and would be in most lines."""
    ended = AttemptEnded("0199", "add", "io", "default", 1, "succeeded", "succeeded", None, None, 0.5, "c")
    line = json.loads(as_json(ended, AT_MS))
    assert list(line) == [
        "timestamp", "level", "event", "job_id", "task", "queue", "client", "attempt", "outcome", "status",
        "duration_s", "correlation_id",
    ]  # fmt: skip
    assert line["timestamp"] == "2023-11-14T22:13:20.123Z"


def test_the_level_of_a_jobs_line_stands_in_the_levels_place() -> None:
    """A reader that wants the levels looks in one place; a level that nobody knows is that of the event."""
    for level, shown in (("warning", "warning"), ("loud", "info")):
        text = as_json(JobLogged("0199", "add", 1, level, "a line", "c"), AT_MS)
        assert f'"level": "{shown}", "event": "job.log"' in text
        assert text.count('"level"') == 1


def test_each_line_has_its_own_moment() -> None:
    """The text of a second is kept between lines: it must not outlive its second."""
    started = DaemonStarted("1", 1, "0199", 0.5)
    stamps = [json.loads(as_json(started, at_ms))["timestamp"] for at_ms in (AT_MS, AT_MS + 1, AT_MS + 1000, 0)]
    assert stamps == [
        "2023-11-14T22:13:20.123Z", "2023-11-14T22:13:20.124Z", "2023-11-14T22:13:21.123Z", "1970-01-01T00:00:00.000Z",
    ]  # fmt: skip
