"""`once` in a job: through the line of a child and of a thread, out of a real ledger."""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from millrace import Done, GiveUp, once
from millrace.define.effects import Kept, MemoryJournal, call_of, check_key, idempotency_key
from millrace.errors import EffectConflict, EffectResult, LostClaim, Parked
from millrace.runner.effects import Effects
from millrace.runner.protocol import ProtocolError
from tests.ledger.rig import hold
from tests.runner.rig import LIMIT_S, until

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

    from millrace.ledger.rows import JobRow
    from millrace.runner.running import Kind
    from tests.runner.rig import Rig

KINDS: list[Kind] = ["process", "thread"]


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site whose jobs touch files in its folder."""
    jobs = tmp_path / "site" / "jobs"
    jobs.mkdir(parents=True)
    shutil.copy(Path(__file__).parent / "site" / "outside.py", jobs / "outside.py")
    monkeypatch.chdir(jobs.parent)  # where jobs in a thread find them
    return jobs.parent


def lines(site: Path, name: str = "effects") -> list[str]:
    """Return what the outside world has seen."""
    path = site / name
    return path.read_text().splitlines() if path.exists() else []


def again(rig: Rig, job: JobRow, kind: Kind = "process") -> JobRow:
    """Run the next attempt of a job that waits for it."""
    until(lambda: bool(rig.ledger.moves.promote_due().wait() or rig.ledger.reads.job(job.id).status == "queued"))
    rig.work(rig.claim(), kind)
    return rig.row(job.id)


@pytest.mark.parametrize("kind", KINDS)
def test_two_jobs_with_one_key_do_it_once(rig: Rig, site: Path, kind: Kind) -> None:
    """The second gets what the first returned."""
    results = [rig.run("pay", kind=kind, order="7", way="repeat").result for _ in range(2)]
    assert results == ['{"order":"7"}'] * 2
    assert len(lines(site)) == len(lines(site, "calls")) == 1
    effect = rig.ledger.reads.effect("default", "charge-7")
    assert (effect.status, effect.what, effect.result) == ("done", "charge", '{"order":"7"}')


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_waits_while_another_one_is_at_it(
    rig: Rig, site: Path, kind: Kind, aside: Callable[..., Future[Any]]
) -> None:
    """Both have the key, and the call takes its time: one calls, the other gets its result."""
    jobs = [rig.accept("slow", order="7", name="go") for _ in range(2)]
    work = [aside(rig.work, rig.claim(), kind)]
    until(lambda: len(lines(site)) == 1)
    work.append(aside(rig.work, rig.claim(), kind))
    until(lambda: rig.ledger.reads.job(jobs[1]).status == "running")
    (site / "go").touch()
    for one in work:
        one.result(20)
    assert [rig.row(job).result for job in jobs] == ["1", "1"]
    assert lines(site) == [f"7 {jobs[0]}"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_that_waits_for_another_ends_when_its_time_is_up(
    rig: Rig, site: Path, kind: Kind, aside: Callable[..., Future[Any]]
) -> None:
    """The one that is at it may hang; the one behind it must not hang with it."""
    first, second = (rig.accept("slow", order="7", name="go") for _ in range(2))
    work = aside(rig.work, rig.claim(), kind)
    until(lambda: len(lines(site)) == 1)
    behind = aside(rig.work, rig.claim(), kind)
    until(lambda: any(live.job_id == second and live.deadline for live in rig.running.jobs()))
    rig.running.cancel(second)
    behind.result(20)
    assert rig.row(second).status == "cancelled"
    (site / "go").touch()
    work.result(20)
    assert rig.row(first).result == "1"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("how", "asked"), [("gave up", 0), ("not done", 0), ("error", 1)])
def test_what_was_raised_says_whether_it_is_in_doubt(rig: Rig, site: Path, kind: Kind, how: str, asked: int) -> None:
    """GiveUp and what the author names were not done for certain; after any other error the other side is asked."""
    job = rig.run("refused", kind=kind, how=how)
    effect = rig.ledger.reads.effect("default", "refused")
    assert effect.status == ("doubt" if asked else "not_done")
    assert effect.error is not None
    assert effect.error.message == "no"
    if how == "gave up":
        assert job.status == "dead"
        rig.ledger.moves.requeue(job.id, actor="cli:ann").wait()
    job = again(rig, job, kind)
    assert (job.status, job.result) == ("succeeded", '"done"')
    assert (len(lines(site, "asked")), len(lines(site))) == (asked, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_result_that_cannot_be_kept_is_never_called_for_again(rig: Rig, kind: Kind) -> None:
    """It is done; a retry would do it twice, and could not keep it either."""
    job = rig.run("strange", kind=kind, how="no JSON")
    assert (job.status, job.error.type if job.error else "") == ("dead", "EffectResult")
    effect = rig.ledger.reads.effect("default", "strange")
    assert (effect.status, effect.result) == ("done", None)
    rig.ledger.moves.requeue(job.id, actor="cli:ann").wait()
    job = again(rig, job, kind)
    assert (job.status, job.error.type if job.error else "") == ("dead", "EffectConflict")
    rig.ledger.moves.effect_settle("default", "strange", actor="cli:ann", done=True, result="5").wait()
    rig.ledger.moves.requeue(job.id, actor="cli:ann").wait()
    assert again(rig, job, kind).result == "5"


def test_an_answer_that_nobody_waited_for_is_not_taken_for_another_effect_s(
    rig: Rig, site: Path, aside: Callable[..., Future[Any]]
) -> None:
    """An alarm cuts a question off; its answer, "do it", must not come to the next one, which was done long ago."""
    assert rig.run("impatient", bounded=False).status == "succeeded"
    job_id = rig.accept("impatient", bounded=True)
    claim, held = rig.claim(), hold(rig.ledger)
    work = aside(rig.work, claim)
    until(lambda: lines(site, "calls") == ["too slow"])
    held.go()
    work.result(LIMIT_S)
    job = rig.row(job_id)
    assert job.error is not None
    assert (job.status, "cut an earlier step, effect" in job.error.message) == ("waiting", True)
    assert lines(site) == ["invoice"]
    assert rig.children.warm() == 0


@pytest.mark.parametrize("kind", KINDS)
def test_one_key_for_two_calls_is_refused(rig: Rig, kind: Kind) -> None:
    """The second would look done and never be; and an effect that waits for itself would wait for ever."""
    for how, words in (("two", "belongs to another call"), ("nested", "this very attempt")):
        job = rig.run("strange", kind=kind, how=how)
        assert job.error is not None
        assert (job.status, job.error.type) == ("dead", "EffectConflict")
        assert words in job.error.message


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("key", ["", "x" * 201, "a\nb"])
def test_a_key_is_short_and_printable(rig: Rig, kind: Kind, key: str) -> None:
    """People read it, type it, and settle by it."""
    job = rig.run("strange", kind=kind, how=key, retries=0)
    assert job.error is not None
    assert (job.error.type, "200 printable" in job.error.message) == ("ValueError", True)
    assert rig.ledger.reads.effects() == []


@pytest.mark.parametrize("kind", KINDS)
def test_an_outcome_is_written_down_though_the_time_is_up(rig: Rig, site: Path, kind: Kind) -> None:
    """A call that came back in the grace time is done: to drop that would put it in doubt for nothing."""
    job = rig.run("late", kind=kind)
    assert rig.ledger.reads.effect("default", "late").status == "done"
    assert (job.status, job.result, lines(site)) == ("succeeded", "1", ["late"])


def test_outside_a_job_it_only_calls() -> None:
    """A task that is called in a test or a script does what it says, twice if it is called twice."""
    seen: list[str] = []

    def send(to: str, *, idempotency_key: str) -> object:
        seen.append(idempotency_key)
        return to

    assert [once("k", send, "a"), once("k", send, "a")] == ["a", "a"]
    assert seen == [idempotency_key("default", "k")] * 2
    assert once("k", send, "a", idempotency_key="mine") == "a"
    assert seen[-1] == "mine"
    assert once("k", str.upper, "a") == "A"
    assert once("k", int, "7") == 7, "a built-in that tells nothing of itself is called all the same"


def test_a_choice_that_means_nothing_is_refused() -> None:
    """Somebody who gives `verify` must not find out after a crash that nobody asks it."""
    for wrong in ({"in_doubt": "hope"}, {"in_doubt": "repeat", "verify": lambda: None}):
        with pytest.raises(ValueError, match="in_doubt is one of"):
            once("k", len, "a", **wrong)
    with pytest.raises(ValueError, match="printable"):
        check_key(7)


def test_a_journal_in_memory_keeps_an_effect_too() -> None:
    """A trial does what a run would: one effect per key, and a doubt after an error."""
    calls: list[str] = []

    def send(to: str, *, fails: bool = False) -> str:
        calls.append(to)
        if fails:
            raise OSError("no answer")
        return to

    with Kept(MemoryJournal()) as journal:
        assert [once("a", send, "x"), once("a", send, "x")] == ["x", "x"]
        with pytest.raises(EffectConflict, match="another call"):
            once("a", send, "y")
        with pytest.raises(OSError, match="no answer"):
            once("b", send, "x", fails=True)
        with pytest.raises(Parked):
            once("b", send, "x", fails=True)
        assert once("b", send, "x", fails=True, verify=lambda to, **_: Done(to * 2)) == "xx"
        with pytest.raises(EffectResult):
            once("c", object)
        with pytest.raises(EffectConflict, match="could not be kept"):
            once("c", object)
        with pytest.raises(EffectConflict, match="this very attempt"):
            once("d", nested)
        with pytest.raises(GiveUp):
            once("e", give_up)
        assert journal.effects["e"]["status"] == "not_done"
        with pytest.raises(OSError, match="no answer"):
            once("f", send, "x", fails=True)
        with pytest.raises(TypeError, match="verify returns Done"):
            once("f", send, "x", fails=True, verify=lambda *_, **__: "yes")  # type: ignore[arg-type]
        assert once("f", send, "x", fails=True, verify=lambda *_, **__: Done()) is None
        journal.attempt += 1
    assert calls == ["x"] * 3


def nested() -> None:
    """Wait for itself."""
    once("d", nested)


def give_up() -> None:
    """Say that nothing was done."""
    raise GiveUp


def test_calls_are_told_apart_by_what_they_do() -> None:
    """The same in each process, whatever the order of a set, and whichever connection is handed in."""
    assert call_of(len, ({"a", "b", "c"},), {}) == call_of(len, ({"c", "a", "b"},), {})
    assert call_of(len, (object(),), {"x": Path("a")}) == call_of(len, (object(),), {"x": Path("a")})
    assert call_of(len, (1,), {}) != call_of(len, (2,), {})
    assert call_of(len, (1,), {}) != call_of(max, (1,), {})
    assert call_of(len, (b"\xff",), {}) != call_of(len, (b"\xfe",), {})
    assert call_of(len, (os,), {}).startswith("len ")
    assert call_of(partial(print, 1), (2,), {}) == call_of(print, (1, 2), {})


def test_a_key_for_the_other_side_is_stable_and_its_clients_own() -> None:
    """Another value after an upgrade would double what is in doubt: this one is pinned."""
    assert idempotency_key("default", "invoice-7") == "abc749e1-e51e-57cb-bcea-fcac18cd4902"
    assert idempotency_key("acme", "invoice-7") != idempotency_key("default", "invoice-7")


def test_questions_without_their_fields_are_refused(rig: Rig) -> None:
    """A child runs foreign code, which can say anything."""
    rig.accept("slow", order="7", name="go")
    effects = Effects(rig.claim(), rig.ledger.moves)
    for kind, body in (
        ("once.begin", {"key": "k"}),
        ("once.end", {"key": "k", "status": "done", "result": None, "error": None}),
        ("once.end", {"key": "k", "status": "lost", "result": None, "error": ["E", "e"]}),
    ):
        with pytest.raises(ProtocolError):
            effects.answer(kind, body)
    with pytest.raises(LostClaim):
        effects.answer("once.end", {"key": "k", "status": "done", "result": "1", "error": None})
