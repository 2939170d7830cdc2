"""Job code that changed while a run is open: what no longer fits the plan waits, at no cost, and nothing of it dies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.process.pipes import Pipes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from millrace.ledger.rows import JobRow

FILE = Path(__file__).parent / "site" / "renamed.py"
BOTH = ["threads", "processes"]


@pytest.fixture
def pipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pipes]:
    """A site that is served."""
    pipes = Pipes(tmp_path / "site", FILE)
    monkeypatch.chdir(pipes.root)
    pipes.start()
    yield pipes
    assert pipes.reads.balance(count_rows=True).difference == 0
    pipes.stop()


def begun(pipes: Pipes, flow: str) -> str:
    """Start a run and let it come to where `late` and the jobs of `double` are all that is left."""
    pipes.moves.pause("side", actor="test").wait()
    run = pipes.run(flow)
    pipes.until(lambda: pipes.reads.run(run).counts.get("double", {}).get("queued") == 3)
    return run


def go_on(pipes: Pipes) -> None:
    """Let those run."""
    pipes.moves.resume("side", actor="test").wait()


def change(pipes: Pipes, texts: dict[str, str]) -> None:
    """Stop, replace texts in the job file, and start again."""
    pipes.stop()
    file = pipes.root / "jobs" / FILE.name
    code = file.read_text()
    for old, new in texts.items():
        assert old in code
        code = code.replace(old, new)
    file.write_text(code)
    pipes.start()


def parked(pipes: Pipes, run: str, stage: str, count: int) -> list[JobRow]:
    """Return the jobs of a stage when so many of them wait."""
    pipes.until(
        lambda: pipes.reads.run(run).counts.get(stage, {}).get("waiting") == count, lambda: pipes.reads.run(run)
    )
    return list(pipes.jobs(run, stage).values())


@pytest.mark.parametrize("flow", BOTH)
def test_what_asks_for_a_stage_by_its_new_name_waits_for_the_old_one(pipes: Pipes, flow: str) -> None:
    """The collect failed with the engine's own KeyError, and the records that were due died."""
    run = begun(pipes, flow)
    pipes.again("weight", "mass")
    go_on(pipes)

    for job in [*parked(pipes, run, "double", 3), *parked(pipes, run, "total", 1)]:
        assert (job.reason, job.failures) == ("payload", 0)
        assert job.error is not None
        assert job.error.message.startswith("payload.mass: is not in the plan that its run began with")
        assert '"weight"' in job.error.message
    pipes.again("mass", "weight")

    assert pipes.ended(run).status == "succeeded"
    assert (pipes.value(run, "total"), pipes.value(run, "doubled")) == ("31 kg", 60)


@pytest.mark.parametrize("flow", BOTH)
def test_an_input_that_came_later_has_its_default(pipes: Pipes, flow: str) -> None:
    """The run failed for want of it, though whoever starts one now need not give it."""
    run = begun(pipes, flow)
    change(
        pipes, {'"kg")': '"kg"), "sign": (str, "+")', "unit: str)": "unit: str, sign: str)", 'f"{sum': 'f"{sign}{sum'}
    )
    go_on(pipes)

    assert pipes.ended(run).status == "succeeded"
    assert pipes.value(run, "total") == "+31 kg"


@pytest.mark.parametrize("flow", BOTH)
def test_an_input_that_came_later_without_a_default_is_waited_for(pipes: Pipes, flow: str) -> None:
    """Nobody can say what it is in a run that began without it."""
    run = begun(pipes, flow)
    change(pipes, {'(str, "kg")': 'str, "sign": str', "unit: str)": "sign: str)", "{unit}": "{sign}"})
    go_on(pipes)

    (job,) = parked(pipes, run, "total", 1)
    assert job.reason == "payload"
    assert job.error is not None
    assert job.error.message.startswith("payload.sign: is an input that its run was not given")
    change(pipes, {'"sign": str': '"sign": (str, "t")'})
    assert pipes.ended(run).status == "succeeded"
    assert pipes.value(run, "total") == "31 t"


@pytest.mark.parametrize("flow", BOTH)
def test_a_value_that_is_not_asked_for_any_more_is_left_out(pipes: Pipes, flow: str) -> None:
    """A stage that needs less than it did can do its work: its jobs died for a field that they did not know."""
    run = begun(pipes, flow)
    pipes.again("def double(number: int, weight: int)", "def double(weight: int)")
    go_on(pipes)

    assert pipes.ended(run).status == "succeeded"
    assert pipes.value(run, "doubled") == 60


@pytest.mark.parametrize("flow", BOTH)
def test_one_value_in_place_of_the_results_of_all_is_waited_for(pipes: Pipes, flow: str) -> None:
    """The name is the same, and yet no plan of this code has such a run."""
    run = begun(pipes, flow)
    changes = {"def weight(number: int)": "def weight(source: str)", "number * 10": "7"}
    changes |= {
        "collect\n    def total": "stage\n    def total",
        "weight: Results[int]": "weight: int",
        "sum(weight)": "weight",
    }
    change(pipes, changes)
    go_on(pipes)

    (job,) = parked(pipes, run, "total", 1)
    assert job.reason == "payload"
    assert job.error is not None
    assert job.error.message.startswith("payload.weight: is one value, and all records' in the plan")
