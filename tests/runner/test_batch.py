"""Several orders in the tray of one child: each job stays a job of its own, whatever its neighbours do."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from millrace.events import JobLogged
from millrace.ledger.plan import Plan, PlanStage
from millrace.ledger.run_rows import NewRun
from millrace.runner import tree
from millrace.runner.batch import STALL_S, Batch
from millrace.runner.run import run_job
from tests.runner.rig import LIMIT_S, Rig, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future
    from pathlib import Path

    from millrace.events import Event
    from millrace.ledger.reads import Reads
    from millrace.ledger.rows import Claim

Job = tuple[str, dict[str, Any]]


class Shift:
    """
    Jobs that a worker takes in one go, and what it gave back.

    On a busy machine any job may take 50 ms. Where it matters what the child was given, `stall_s` is out of reach.
    """

    def __init__(self, rig: Rig, jobs: list[Job], stall_s: float = LIMIT_S) -> None:
        self._rig = rig
        self._stall_s = stall_s
        for task, payload in jobs:
            rig.accept(task, **payload)
        self.claims = rig.ledger.moves.claim("default", 200).wait(LIMIT_S)
        self.ids = [held.job_id for held in self.claims]
        self.back: list[Claim] = []

    def work(self) -> None:
        """Work as a pool's worker does."""
        rig = self._rig
        batch = Batch(self.claims[1:], rig.kit, rig.running, self.back.extend, stall_s=self._stall_s)
        for held in batch.turns(self.claims[0]):
            run_job(held, rig.kit, kind="process", running=rig.running, batch=batch)

    def work_to_the_end(self) -> None:
        """Run what was given back too, one by one as others would."""
        self.work()
        for held in self.back:
            self._rig.work(held)

    def statuses(self) -> list[str]:
        """Return how the jobs stand once all are recorded."""
        return [self._rig.row(job_id).status for job_id in self.ids]

    def given_back(self) -> list[int]:
        """Return the places of those that were given back."""
        return [self.ids.index(held.job_id) for held in self.back]


class Broken:
    """Looks at a ledger, of which one at the inputs of a run fails."""

    def __init__(self, reads: Reads, run_id: str) -> None:
        self._reads = reads
        self._run_id = run_id

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reads, name)

    def run_inputs(self, run_id: str) -> str:
        """Return those of the others."""
        if run_id == self._run_id:
            raise KeyError("o3_12")
        return self._reads.run_inputs(run_id)


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A file that jobs write their names into."""
    return tmp_path / "page"


def notes(page: Path, *texts: str) -> list[Job]:
    """Return a job for each text that writes it down."""
    return [("note", {"path": str(page), "text": text}) for text in texts]


def test_a_batch_is_worked_off_in_order_by_one_child(rig: Rig, page: Path) -> None:
    """That is what it is for: one child, no word in between, and each job has its attempt and its result."""
    shift = Shift(rig, notes(page, *"abcdefgh"))
    shift.work()

    assert shift.statuses() == ["succeeded"] * 8
    assert page.read_text().split() == list("abcdefgh")
    assert {rig.row(job_id).result for job_id in shift.ids} == {str(pid) for pid in rig.children.alive()}
    assert (shift.back, rig.children.warm()) == ([], 1)


@pytest.mark.parametrize("trick", ["kill_self", "segfault", "leave_now", "close_all", "kill_server"])
def test_a_crash_is_charged_to_the_job_that_ran(rig: Rig, page: Path, trick: str) -> None:
    """Those before it are done and those behind it have not begun: all of them run exactly once."""
    shift = Shift(rig, [*notes(page, "a", "b"), (trick, {}), *notes(page, "d", "e")])
    shift.work()
    assert shift.given_back() == [3, 4]
    for held in shift.back:
        rig.work(held)

    assert shift.statuses() == ["succeeded", "succeeded", "waiting", "succeeded", "succeeded"]
    assert [rig.row(job_id).crashes for job_id in shift.ids] == [0, 0, trick != "kill_server", 0, 0]
    assert [rig.row(job_id).failures for job_id in shift.ids] == [0, 0, 1, 0, 0]
    assert page.read_text().split() == list("abde")
    assert rig.alone()


def test_the_stage_behind_a_child_that_died_has_its_arguments_in_the_next(rig: Rig) -> None:
    """They are gathered when it is handed over, and again for the child that begins it: else its defaults would do."""
    stages = tuple(PlanStage(name, f"tens.{name}", "default") for name in ("last", "behind"))
    rig.ledger.moves.start_run(NewRun("tens", Plan("tens", stages), '{"n":7}')).wait(LIMIT_S)
    shift = Shift(rig, [])
    assert [held.stage for held in shift.claims] == ["last", "behind"]
    shift.work()

    assert [rig.row(job_id).result for job_id in shift.ids] == ["70", "70"]
    assert [rig.row(job_id).crashes for job_id in shift.ids] == [0, 0]


def test_an_idle_child_that_died_costs_no_job_of_the_batch(rig: Rig, page: Path) -> None:
    """It took none of the orders out of its tray, so none of them has begun."""
    rig.run("add", a=1)
    (pid,) = rig.children.alive()
    os.kill(pid, signal.SIGKILL)
    until(lambda: tree.look(pid) is None)
    shift = Shift(rig, notes(page, "a", "b", "c"))
    shift.work_to_the_end()

    assert shift.statuses() == ["succeeded"] * 3
    assert sorted(page.read_text().split()) == list("abc")


def test_a_long_job_does_not_hold_up_those_behind_it(
    rig: Rig, page: Path, tmp_path: Path, aside: Callable[..., Future[Any]]
) -> None:
    """That a job is long shows when it runs; then the rest goes to other workers."""
    release = tmp_path / "release"
    shift = Shift(rig, [("wait_for", {"release": str(release)}), *notes(page, "c", "d")], STALL_S)
    under_way = aside(shift.work)
    until(lambda: len(shift.back) == 2)
    for held in shift.back:
        rig.work(held)

    assert sorted(page.read_text().split()) == ["c", "d"]
    release.touch()
    under_way.result(20)
    assert shift.statuses() == ["succeeded"] * 3


@pytest.mark.parametrize("trick", ["hang", "deaf_hang", "stop_self"])
def test_a_timeout_counts_from_the_jobs_own_begin(rig: Rig, page: Path, tmp_path: Path, trick: str) -> None:
    """Neither the jobs before it are in its time nor those behind it in its end."""
    payload = {"note": str(tmp_path / "note")} if trick == "hang" else {}
    shift = Shift(rig, [*notes(page, "a", "b"), (trick, payload), *notes(page, "d")], STALL_S)
    shift.work_to_the_end()

    assert shift.statuses() == ["succeeded", "succeeded", "waiting", "succeeded"]
    error = rig.row(shift.ids[2]).error
    assert error is not None
    assert error.message == "the attempt's time was up after 0.3 s"
    assert sorted(page.read_text().split()) == list("abd")


def test_a_cancel_reaches_the_job_that_runs(
    rig: Rig, page: Path, tmp_path: Path, aside: Callable[..., Future[Any]]
) -> None:
    """And only that one."""
    started = tmp_path / "started"
    waits = ("wait_for", {"release": str(tmp_path / "never"), "started": str(started)})
    shift = Shift(rig, [*notes(page, "a"), waits, *notes(page, "c")], STALL_S)
    under_way = aside(shift.work_to_the_end)
    until(started.exists)
    assert rig.running.cancel(shift.ids[1])
    under_way.result(20)

    assert shift.statuses() == ["succeeded", "cancelled", "succeeded"]


@pytest.mark.parametrize("before", [True, False])
def test_a_job_that_is_cancelled_before_it_began_does_not_begin(
    rig: Rig, page: Path, tmp_path: Path, aside: Callable[..., Future[Any]], *, before: bool
) -> None:
    """Whether its order lay in the tray by then or not."""
    started, release = tmp_path / "started", tmp_path / "release"
    waits = ("wait_for", {"release": str(release), "started": str(started)})
    shift = Shift(rig, [waits, *notes(page, "b", "c")])
    for held in shift.claims:
        rig.running.expect(held, "process")
    if before:
        assert rig.running.cancel(shift.ids[1])
    under_way = aside(shift.work_to_the_end)
    until(started.exists)
    assert rig.running.cancel(shift.ids[1])
    release.touch()
    under_way.result(20)

    if before:
        assert shift.statuses() == ["succeeded", "cancelled", "succeeded"]
        assert page.read_text().split() == ["c"]
    else:  # it may have begun in the moment of the release; then it ended before it could be asked
        assert rig.row(shift.ids[1]).status == ("succeeded" if "b" in page.read_text() else "cancelled")


def test_a_shutdown_hands_back_what_has_not_begun(
    rig: Rig, page: Path, tmp_path: Path, aside: Callable[..., Future[Any]]
) -> None:
    """It costs them nothing, not even the child that they were given to."""
    started = tmp_path / "started"
    waits = ("wait_for", {"release": str(tmp_path / "never"), "started": str(started)})
    shift = Shift(rig, [waits, *notes(page, "b", "c")])
    under_way = aside(shift.work_to_the_end)
    until(started.exists)
    rig.running.interrupt_all("shutdown")
    under_way.result(20)

    assert shift.statuses() == ["queued"] * 3
    assert [rig.row(job_id).failures for job_id in shift.ids] == [0] * 3
    assert not page.exists()


def test_a_process_that_is_not_clean_gets_no_further_job(rig: Rig, page: Path) -> None:
    """A thread that one job left behind must not run beside the next."""
    shift = Shift(rig, [*notes(page, "a"), ("threads", {}), *notes(page, "c")])
    shift.work()

    assert shift.given_back() == [2]
    assert page.read_text().split() == ["a"]
    rig.work(shift.back[0])
    assert shift.statuses() == ["succeeded"] * 3


@pytest.mark.parametrize("first", ["parent", "copy"])
def test_a_copy_of_the_process_that_a_job_forked_serves_nobody(rig: Rig, page: Path, first: str) -> None:
    """It comes back from the job as its parent does: it would tell a second verdict, and take orders of other jobs."""
    shift = Shift(rig, [*notes(page, "a"), ("fork_and_return", {"first": first}), *notes(page, "c", "d")])
    shift.work_to_the_end()

    assert [rig.row(job_id).error for job_id in shift.ids] == [None] * 4
    assert page.read_text().split() == list("acd")
    assert rig.row(shift.ids[1]).result == rig.row(shift.ids[0]).result
    assert rig.alone()


def test_steps_and_failures_stay_with_their_job(rig: Rig, tmp_path: Path) -> None:
    """Each question is answered for the job that asked it."""
    calls = tmp_path / "calls"
    steps = {"ledger_of_calls": str(calls), "fail_after": False}
    shift = Shift(rig, [("add", {"a": 1}), ("in_steps", steps), ("fail", {}), ("nobody", {}), ("add", {"a": 2})])
    shift.work_to_the_end()

    assert shift.statuses() == ["succeeded", "succeeded", "waiting", "waiting", "succeeded"]
    assert rig.row(shift.ids[1]).result == "[1,1,2,4]"
    assert rig.row(shift.ids[3]).reason == "unknown_task"
    assert calls.read_text().split() == ["1", "2"]


def test_an_order_that_cannot_be_made_is_the_failure_of_its_own_job(rig: Rig) -> None:
    """Its neighbours have nothing to do with it; and whoever looks for the cause has the engine's whole traceback."""
    plan = Plan("tens", (PlanStage("behind", "tens.behind", "default", max_attempts=4),))
    runs = [rig.ledger.moves.start_run(NewRun("tens", plan, f'{{"n":{n}}}')).wait(LIMIT_S).id for n in (1, 2, 3)]
    rig.kit.reads = Broken(rig.ledger.reads, runs[1])  # type: ignore[assignment]
    shift = Shift(rig, [])
    shift.work_to_the_end()

    assert [rig.row(job_id).result for job_id in shift.ids] == ["10", None, "30"]
    assert [rig.row(job_id).failures for job_id in shift.ids] == [0, 1, 0]
    error = rig.row(shift.ids[1]).error
    assert error is not None
    assert (error.type, error.message) == ("EngineError", "KeyError: 'o3_12'")
    assert "gather.py" in str(error.traceback)


def test_an_order_that_the_child_has_is_not_made_again(rig: Rig, page: Path) -> None:
    """A failure to make it would turn the worker away from a job that runs, and out of step with the child."""
    made = iter(range(3))

    def settings_of(_client: str) -> dict[str, Any]:
        return {"made": next(made)}

    rig.kit.settings_of = settings_of
    shift = Shift(rig, notes(page, *"abc"))
    shift.work()

    assert [rig.row(job_id).error for job_id in shift.ids] == [None] * 3
    assert page.read_text().split() == list("abc")


def test_a_question_at_which_the_engine_fails_is_the_failure_of_its_own_job(rig: Rig, page: Path) -> None:
    """The job that asked hears of it and fails, with the engine's traceback; its child goes on with the others."""

    class Rules:
        def answer(self, _known: object) -> object:
            raise KeyError("o3_12")

    rig.kit.rules = Rules()  # type: ignore[assignment]
    shift = Shift(rig, [*notes(page, "a"), ("asks", {"question": "rules"}), *notes(page, "c", "d")])
    shift.work_to_the_end()

    assert shift.statuses() == ["succeeded", "waiting", "succeeded", "succeeded"]
    assert [rig.row(job_id).crashes for job_id in shift.ids] == [0] * 4
    error = rig.row(shift.ids[1]).error
    assert error is not None
    assert (error.type, error.message) == ("EngineError", "KeyError: 'o3_12'")
    assert "clerk.py" in str(error.traceback)
    assert len(rig.children.alive()) == 1


def test_a_remark_at_which_the_engine_fails_is_the_failure_of_its_own_job(rig: Rig, page: Path) -> None:
    """Nobody waits for the answer to one: the child may have gone on to other jobs by then, and is heard out."""
    emit = rig.kit.emit

    def failing(event: Event) -> None:
        if isinstance(event, JobLogged) and event.message.startswith("logged"):
            raise RuntimeError("no room for it")
        emit(event)

    rig.kit.emit = failing
    for _ in range(5):
        page.unlink(missing_ok=True)
        shift = Shift(rig, [*notes(page, "a"), ("remarks", {}), *notes(page, "c", "d")])
        shift.work_to_the_end()

        assert shift.statuses() == ["succeeded", "waiting", "succeeded", "succeeded"]
        assert [rig.row(job_id).crashes for job_id in shift.ids] == [0] * 4
        assert sorted(page.read_text().split()) == list("acd")


@pytest.mark.parametrize("size", [0, 30_000, 200_000])
def test_output_goes_to_the_job_that_wrote_it(rig: Rig, size: int) -> None:
    """All jobs of a child share one pipe, which nobody reads while they are short; too much for it makes one long."""
    shift = Shift(rig, [("say", {"text": text, "size": size}) for text in "abcd"], STALL_S)
    shift.work_to_the_end()

    assert shift.statuses() == ["succeeded"] * 4
    for job_id, text in zip(shift.ids, "abcd", strict=True):
        said = [e.message for e in rig.events if isinstance(e, JobLogged) and e.job_id == job_id]
        words = ("printed", "written", "echoed", "unfinished")
        assert {line for line in said if line[0] not in "x…"} == {f"{text} {word}" for word in words}
        assert sum(line.startswith("x") for line in said) == (size > 0)


def test_large_orders_and_results_pass(rig: Rig, page: Path) -> None:
    """What is too large for the tray comes alone, over the socket."""
    large = "x" * 1_000_000
    shift = Shift(rig, [*notes(page, large, "b", large, "d"), ("huge", {"size": 3_000_000}), *notes(page, "f")])
    shift.work()
    assert shift.given_back() == [2, 3, 4, 5]
    for held in shift.back:
        rig.work(held)

    assert shift.statuses() == ["succeeded"] * 6
    assert page.read_text().split() == [large, "b", large, "d", "f"]


def test_a_large_result_in_the_middle_of_a_batch_passes(rig: Rig) -> None:
    """More than the socket holds while nobody reads: the child rings instead of waiting for ever."""
    shift = Shift(rig, [("huge", {"size": size}) for size in (10, 3_000_000, 10, 1_000_000)])
    shift.work_to_the_end()

    assert [len(rig.row(job_id).result or "") for job_id in shift.ids] == [12, 3_000_002, 12, 1_000_002]


def test_orders_that_are_taken_back_while_the_child_takes_them_are_run_once(
    rig: Rig, page: Path, aside: Callable[..., Future[Any]]
) -> None:
    """Both reach for the same orders, and other threads get in between: no job is lost, doubled or charged for it."""
    shift = Shift(rig, [("note", {**given, "seconds": 2e-3}) for _, given in notes(page, *map(str, range(200)))])
    ready, over = deque(shift.claims), threading.Event()

    def busy() -> None:
        while not over.is_set():  # it lets go of the interpreter only when it must
            pass

    being_busy = aside(busy)
    while ready:
        first, *ahead = [ready.popleft() for _ in range(min(10, len(ready)))]
        batch = Batch(ahead, rig.kit, rig.running, lambda back: ready.extendleft(back[::-1]), stall_s=2e-3)
        for held in batch.turns(first):
            run_job(held, rig.kit, kind="process", running=rig.running, batch=batch)
    over.set()
    being_busy.result(20)

    assert [rig.row(job_id).error for job_id in shift.ids] == [None] * 200
    assert sorted(page.read_text().split()) == sorted(map(str, range(200)))
    assert len(rig.children.alive()) == 1


def test_many_workers_with_batches_lose_and_repeat_nothing(
    rig: Rig, page: Path, aside: Callable[..., Future[Any]]
) -> None:
    """Also while somebody kills their children at random."""
    shifts = [Shift(rig, notes(page, *(f"{n}-{at}" for at in range(8))), STALL_S) for n in range(6)]
    over = threading.Event()

    def killer() -> None:
        while not over.wait(0.02):
            for pid in list(rig.children.alive())[:1]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    killing = aside(killer)
    for under_way in [aside(shift.work) for shift in shifts]:
        under_way.result(20)
    over.set()
    killing.result(20)
    for shift in shifts:
        for held in shift.back:
            rig.work(held)

    ends = [status for shift in shifts for status in shift.statuses()]
    assert set(ends) <= {"succeeded", "waiting"}
    lines = page.read_text().split()
    assert len(lines) == len(set(lines)), "a job ran twice in one attempt"
    assert len(lines) >= ends.count("succeeded")
