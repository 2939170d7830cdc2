"""The door for runs: what is checked before anything is written, and what is told afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from millrace import Pipeline
from millrace.config.settings import DefaultsSettings
from millrace.errors import KeyConflict, MillraceError, Overloaded, PayloadError, TooLarge, UnknownTask
from millrace.events import RunStarted, SubmitRefused
from millrace.ledger.rows import Source
from millrace.queue.bounds import MAX_KEY, MAX_PRIORITY
from millrace.queue.runs import RunSubmission

if TYPE_CHECKING:
    from tests.queue.rig import House

leads = Pipeline("leads", inputs={"path": str, "count": (int, 3)})


@leads.stage(queue="small")
def lead(path: str, count: int) -> Iterator[int]:
    """Fan out."""
    yield from range(count + len(path))


@leads.stage(queue="wide")
def points(lead: int) -> int:
    """Run per record."""
    return lead


@pytest.fixture
def door(house: House) -> House:
    """The queue room of a site with a pipeline."""
    house.registry.pipelines["leads"] = leads
    return house


def wanted(**given: Any) -> RunSubmission:
    """Return an ordinary request."""
    return RunSubmission("leads", **{"payload": {"path": "a.csv"}, **given})


def test_a_run_is_on_disk_with_its_first_jobs_when_the_call_returns(door: House) -> None:
    """With the inputs as they were checked, defaults among them, and its plan."""
    given = wanted(client="acme", priority=5, correlation_id="c1", source=Source("cli", "ann"))
    started = door.submitter.start_run(given)

    run = door.ledger.reads.run(started.id)
    assert (run.status, run.client, run.correlation_id, run.source.name) == ("running", "acme", "c1", "ann")
    assert json.loads(run.inputs) == {"path": "a.csv", "count": 3}
    assert run.counts == {"lead": {"queued": 1}, "points": {}}
    claim = door.ledger.moves.claim("small", 1).wait()[0]
    assert (claim.run_id, claim.task, claim.client, claim.correlation_id) == (run.id, "leads.lead", "acme", "c1")
    assert RunStarted(run.id, "leads", "acme", "cli", "c1") in door.events


@pytest.mark.parametrize(
    "form",
    [
        {"text": '{"path":"a","count":5}'},
        {"payload": {"path": "a", "count": 5}},
        {"words": {"path": "a", "count": "5"}},
    ],
)
def test_inputs_come_in_three_forms_and_mean_the_same(door: House, form: dict[str, Any]) -> None:
    """API, Python and command line."""
    run = door.submitter.plan_run(RunSubmission("leads", **form))
    assert json.loads(run.inputs) == {"path": "a", "count": 5}


WRONG: list[tuple[RunSubmission, type[MillraceError], str]] = [
    (RunSubmission("leds"), UnknownTask, 'Did you mean "leads"'),
    (RunSubmission("add"), UnknownTask, "is a task"),
    (wanted(client="acne"), UnknownTask, 'Did you mean "acme"'),
    (RunSubmission("leads"), PayloadError, "inputs.path: is missing"),
    (wanted(payload={"path": "a", "cont": 1}), PayloadError, "inputs.cont"),
    (wanted(payload={"path": "a", "count": "5"}), PayloadError, "inputs.count"),
    (wanted(text="{", payload=None), PayloadError, "JSON"),
    (wanted(text='{"path":"' + "x" * 2_000_000 + '"}', payload=None), TooLarge, "bytes"),
    (wanted(key="k" * (MAX_KEY + 1)), PayloadError, "key"),
    (wanted(priority=MAX_PRIORITY + 1), PayloadError, "priority"),
    (wanted(correlation_id="\n"), PayloadError, "correlation_id"),
]


@pytest.mark.parametrize("case", WRONG, ids=lambda case: case[2])
def test_a_request_that_is_wrong_is_refused_before_anything_is_written(
    door: House, case: tuple[RunSubmission, type[MillraceError], str]
) -> None:
    """The error names what is wrong, and what would be right; the log has it too."""
    given, error, words = case
    with pytest.raises(error, match=".*" + words.replace('"', ".")):
        door.submitter.start_run(given)
    assert any(isinstance(event, SubmitRefused) and event.task == given.pipeline for event in door.events)
    assert door.ledger.reads.status_counts()["queued"] == 0


def test_a_key_starts_one_run(door: House) -> None:
    """A caller that heard no answer asks again with the same key; other inputs under it are a mistake."""
    first, again = (door.submitter.start_run(wanted(key="k")) for _ in range(2))
    assert (again.id, first.existed, again.existed) == (first.id, False, True)
    assert sum(isinstance(event, RunStarted) for event in door.events) == 1
    with pytest.raises(KeyConflict, match="other inputs"):
        door.submitter.start_run(wanted(key="k", payload={"path": "b"}))


def test_a_run_whose_first_queue_is_full_is_refused(door: House) -> None:
    """As a job would be; what runs already has its place."""
    for n in range(5):
        door.submit(queue="small", payload={"n": n})
    with pytest.raises(Overloaded):
        door.submitter.start_run(wanted())


def test_a_dry_run_writes_nothing(door: House) -> None:
    """It checks the inputs, and tells the plan that a run would follow."""
    run = door.submitter.plan_run(wanted())

    assert [stage.name for stage in run.plan.stages] == ["lead", "points"]
    assert run.plan.bound == DefaultsSettings().fan_out
    assert door.ledger.reads.status_counts()["queued"] == 0
    with pytest.raises(PayloadError):
        door.submitter.plan_run(wanted(payload={}))


def test_settings_that_were_read_again_hold_for_the_next_run(door: House) -> None:
    """A client that was added can be used without a restart."""
    with pytest.raises(UnknownTask):
        door.submitter.start_run(wanted(client="new"))
    door.submitter.apply(door.settings.model_copy(update={"clients": {"new": {}}}))
    assert door.submitter.start_run(wanted(client="new")).id


def test_a_stage_cannot_be_submitted_by_itself(door: House) -> None:
    """It would have no run to take its arguments from."""
    with pytest.raises(UnknownTask, match="millrace run leads"):
        door.submit("leads.points")
