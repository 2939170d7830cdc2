"""The one door in: what it refuses and why, and what it promises about many at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from millrace.define.pipeline import Pipeline
from millrace.errors import (
    KeyConflict,
    LedgerFull,
    MillraceError,
    Overloaded,
    PayloadError,
    TooLarge,
    UnknownTask,
)
from millrace.events import JobsAccepted, SubmitRefused
from millrace.ledger.accept import Accepted
from millrace.ledger.rows import Source
from millrace.queue.bounds import LATEST_MS, MAX_KEY, MAX_PRIORITY
from millrace.queue.submit import CHUNK, Submission
from tests.ledger.rig import hold
from tests.queue.rig import LIMIT_S, House

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.conftest import Until

DEEP = '{"n":' + "[" * 40 + "]" * 40 + "}"


def test_a_submission_is_on_disk_when_it_is_answered(house: House, until: Until) -> None:
    """Accepted means kept: another connection sees it, with all that was asked."""
    accepted = house.submitter.submit(
        Submission(
            "add",
            payload={"n": 7},
            client="acme",
            priority=3,
            key="k",
            source=Source("hook", "crm"),
            correlation_id="c",
        )
    )
    row = house.row(accepted.id)
    assert (row.payload, row.client, row.priority, row.key, row.source) == (
        '{"n":7}',
        "acme",
        3,
        "k",
        Source("hook", "crm"),
    )
    assert (row.queue, row.status, row.correlation_id) == ("default", "queued", "c")
    assert not accepted.existed
    until(lambda: [type(event) for event in house.events] == [JobsAccepted])


def test_retries_come_from_the_task_or_from_the_site(house: House) -> None:
    """max_attempts is retries + 1."""
    assert house.row(house.submit("bad")).max_attempts == 2
    assert house.row(house.submit("add")).max_attempts == house.settings.defaults.retries + 1


@pytest.mark.parametrize(
    "given", [{"payload": {"n": 7}}, {"text": '{ "n" : 7 }'}, {"text": b'{"n":7}'}, {"words": {"n": "7"}}]
)
def test_the_payload_comes_in_any_of_its_forms(house: House, given: dict[str, Any]) -> None:
    """The verdict and the stored text are the same."""
    assert house.row(house.submit(**given)).payload == '{"n":7}'


@pytest.mark.parametrize(
    ("wanted", "kind", "words"),
    [
        (Submission("addd"), UnknownTask, 'no task "addd".*Did you mean "add"'),
        (Submission("add", queue="smal"), UnknownTask, 'no queue "smal".*Did you mean "small"'),
        (Submission("add", client="acmee"), UnknownTask, 'no client "acmee".*Did you mean "acme"'),
        (Submission("add", payload={"n": "7"}), PayloadError, "payload.n"),
        (Submission("add", payload={"n": 7.5}), PayloadError, "payload.n"),
        (Submission("add", payload={"m": 7}), PayloadError, "payload.m"),
        (Submission("add", payload=[7]), PayloadError, "object"),
        (Submission("add", payload={"n": float("nan")}), PayloadError, "payload"),
        (Submission("add", text='{"n":NaN}'), PayloadError, "finite number"),
        (Submission("add", text='{"n":1,"n":2}'), PayloadError, "n"),
        (Submission("add", text='{"n":"\\ud800"}'), PayloadError, "n"),
        (Submission("add", text=DEEP), PayloadError, "deep"),
        (Submission("add", text='{"n":'), PayloadError, "payload"),
        (Submission("add", text=b'{"n":"\xff"}'), PayloadError, "UTF-8"),
        (Submission("add", words={"n": "seven"}), PayloadError, "payload.n"),
        (Submission("add", text=" " * 1_000_001), TooLarge, ""),
        (Submission("add", priority=MAX_PRIORITY + 1), PayloadError, "priority"),
        (Submission("add", priority=-MAX_PRIORITY - 1), PayloadError, "priority"),
        (Submission("add", key=""), PayloadError, "key"),
        (Submission("add", key="k" * (MAX_KEY + 1)), PayloadError, "key"),
        (Submission("add", key="a\nb"), PayloadError, "key.*printable"),
        (Submission("add", key="\ud800"), PayloadError, "key.*printable"),
        (Submission("add", due_at=LATEST_MS + 1), PayloadError, "due_at"),
        (Submission("add", due_at=-1), PayloadError, "due_at"),
        (Submission("add", correlation_id="\ud800"), PayloadError, "correlation_id"),
        (Submission("add", correlation_id="c" * (MAX_KEY + 1)), PayloadError, "correlation_id"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_its_place_and_nothing_is_queued(
    house: House, wanted: Submission, kind: type[MillraceError], words: str
) -> None:
    """One by one and among many the verdict is the same, and it is told."""
    with pytest.raises(kind, match=f"(?i){words}"):
        house.submitter.submit(wanted)
    (event,) = house.events
    assert isinstance(event, SubmitRefused)
    assert event.problem == kind.type
    (verdicts,) = house.submitter.submit_many([wanted])
    assert type(verdicts[0]) is kind
    assert house.ledger.reads.status_counts()["queued"] == 0


def test_bounds_are_part_of_what_is_allowed(house: House) -> None:
    """The outermost values go in, and come out again as text."""
    job = house.submit(key="k" * MAX_KEY, priority=MAX_PRIORITY, due_at=LATEST_MS, correlation_id="c" * MAX_KEY)
    assert house.row(job).as_json()["due_at"] == "9999-12-31T23:59:59.999Z"
    assert house.submit(priority=-MAX_PRIORITY, due_at=0)


def test_several_faults_are_named_at_once(house: House) -> None:
    """Nobody should have to come back for the second one."""
    with pytest.raises(PayloadError) as refused:
        house.submitter.prepare(Submission("add", priority=10**9, key="", due_at=-1))
    assert [problem.field for problem in refused.value.problems] == ["priority", "key", "due_at"]


def test_a_known_key_and_a_conflict(house: House) -> None:
    """A repeated submission is no event: nothing was accepted."""
    first = house.submitter.submit(Submission("add", payload={"n": 1}, key="k"))
    again = house.submitter.submit(Submission("add", text='{"n": 1}', key="k"))
    assert (again.id, again.existed) == (first.id, True)
    with pytest.raises(KeyConflict):
        house.submitter.submit(Submission("add", payload={"n": 2}, key="k"))
    house.ledger.moves.beat().wait(LIMIT_S)  # events follow the answer: by the next one they are all there
    assert sum(isinstance(event, JobsAccepted) for event in house.events) == 1


def test_a_full_queue_refuses_and_says_when_to_come_back(house: House) -> None:
    """Open jobs count, whatever they wait for; when one is over there is room again."""
    for _ in range(3):
        house.submit(queue="small")
    for _ in range(2):
        house.submit(queue="small", due_at=LATEST_MS)
    with pytest.raises(Overloaded, match="max_backlog of 5") as refused:
        house.submit(queue="small")
    assert refused.value.retry_after_s > 0
    assert house.submit(), "other queues are not concerned"
    (held,) = house.ledger.moves.claim("small", 1).wait(LIMIT_S)
    house.ledger.moves.succeed(held, None, duration_s=0.0).wait(LIMIT_S)
    house.submit(queue="small")


def numbers(count: int, **given: Any) -> Iterable[Submission]:
    """Yield submissions that tell their place."""
    return (Submission("add", payload={"n": place}, **given) for place in range(count))


def take_all(house: House, many: Iterable[Submission], told: list[Accepted | MillraceError]) -> None:
    """Submit many and keep what was told until the end or the error."""
    for verdicts in house.submitter.submit_many(many):
        told += verdicts


@pytest.mark.parametrize("count", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 7])
def test_many_are_answered_in_order(house: House, count: int) -> None:
    """Each verdict belongs to the submission of its place, chunk by chunk."""
    verdicts = list(house.submitter.submit_many(numbers(count)))
    assert [len(chunk) for chunk in verdicts] == [CHUNK] * (count // CHUNK) + [count % CHUNK] * bool(count % CHUNK)
    flat = [one for chunk in verdicts for one in chunk]
    ids = [one.id for one in flat if isinstance(one, Accepted)]
    assert [json.loads(house.row(job).payload)["n"] for job in ids[:: max(1, count // 20)]] == list(
        range(0, count, max(1, count // 20))
    )
    assert house.ledger.reads.status_counts()["queued"] == count == len(ids)


def test_what_a_thread_works_out_while_settings_change_holds_for_the_old_ones_only(house: House) -> None:
    """A client that was removed was taken until the next reload, if a submission for it was under way at this one."""
    new = house.settings.model_copy(update={"clients": {}})

    class Reloading:
        @property
        def retries(self) -> int:  # the last that is looked up for a place
            house.submitter.apply(new)
            return 0

    old = house.settings.model_copy(update={"defaults": Reloading()})
    house.submitter.apply(old)
    assert house.submitter.prepare(Submission("add", client="acme")).max_attempts == 1, "it began before"
    with pytest.raises(UnknownTask, match="acme"):
        house.submitter.prepare(Submission("add", client="acme"))


def test_errors_stand_in_their_places(house: House) -> None:
    """Unreadable, unfit, in conflict: each refuses itself and nothing else."""
    unread = TooLarge("that line")
    many: list[Submission | MillraceError] = [
        Submission("add", payload={"n": 0}),
        unread,
        Submission("add", payload={"n": "x"}),
        Submission("add", payload={"n": 3}, key="k"),
        Submission("add", payload={"n": 3}, key="k"),
        Submission("add", payload={"n": 4}, key="k"),
        Submission("add", payload={"n": 6}),
    ]
    (verdicts,) = house.submitter.submit_many(many)
    kinds = [type(one) for one in verdicts]
    assert kinds == [Accepted, TooLarge, PayloadError, Accepted, Accepted, KeyConflict, Accepted]
    assert verdicts[1] is unread
    assert [one.existed for one in verdicts if isinstance(one, Accepted)] == [False, False, True, False]
    assert house.ledger.reads.status_counts()["queued"] == 3


def test_a_chunk_that_is_only_errors_is_answered(house: House) -> None:
    """There is nothing to commit for it."""
    assert [len(chunk) for chunk in house.submitter.submit_many([TooLarge("x")] * 3)] == [3]


def test_the_next_chunk_is_on_its_way_while_one_is_awaited(house: House) -> None:
    """The checks of one overlap with the commit of the other; that is half of the speed."""
    drawn: list[int] = []

    def many() -> Iterable[Submission]:
        for place in range(3 * CHUNK):
            drawn.append(place)
            yield Submission("add", payload={"n": place})

    verdicts = house.submitter.submit_many(many())
    next(iter(verdicts))
    assert len(drawn) == 2 * CHUNK
    assert len(list(verdicts)) == 2


def test_a_queue_that_fills_up_ends_the_many_after_their_verdicts(house: House) -> None:
    """The caller knows exactly what is in: all that was answered, and nothing else, keyed or not."""
    for keyed in (False, True):
        told: list[Accepted | MillraceError] = []
        many = (
            Submission("add", payload={"n": place}, queue="bulk", key=f"k{place}" if keyed else None)
            for place in range(4 * CHUNK)
        )
        with pytest.raises(Overloaded):
            take_all(house, many, told)
        assert all(isinstance(one, Accepted) and not one.existed for one in told)
        assert house.ledger.reads.depth("bulk") == len(told) == 2 * CHUNK
        for held in house.ledger.moves.claim("bulk", 5000).wait(LIMIT_S):
            house.ledger.moves.succeed(held, None, duration_s=0.0)
        house.ledger.moves.beat().wait(LIMIT_S)


def test_a_full_queue_that_is_full_from_the_start_takes_nothing(house: House) -> None:
    """No verdict, the error, and nothing of the chunk, not even of its keyed jobs."""
    many = [Submission("add", queue="small", key=f"k{place}") for place in range(6)]
    with pytest.raises(Overloaded):
        list(house.submitter.submit_many(many))
    assert house.ledger.reads.depth("small") == 0


def test_a_full_disk_ends_the_many_after_their_verdicts(house: House) -> None:
    """What was handed in is told, refused or not; the rest is not even read."""
    connection = house.ledger.writer
    standing = hold(house.ledger)
    connection.submit(lambda tx: tx.connection.pragma("max_page_count", 1))
    drawn: list[int] = []

    def many() -> Iterable[Submission]:
        for place in range(10 * CHUNK):
            drawn.append(place)
            yield Submission("add", payload={"n": place})

    standing.go()
    told: list[Accepted | MillraceError] = []
    with pytest.raises(LedgerFull):
        take_all(house, many(), told)
    connection.submit(lambda tx: tx.connection.pragma("max_page_count", 2**30)).wait(LIMIT_S)
    accepted = sum(isinstance(one, Accepted) for one in told)
    assert {type(one) for one in told} <= {Accepted, LedgerFull}
    assert house.ledger.reads.status_counts()["queued"] == accepted
    assert len(told) == len(drawn) < 10 * CHUNK


def test_what_many_brought_is_told_once_a_commit(house: House) -> None:
    """Metrics count them; known keys are not counted again."""
    list(house.submitter.submit_many([*numbers(10), Submission("add", key="k"), Submission("add", key="k")]))
    house.ledger.moves.beat().wait(LIMIT_S)
    counts = [event.count for event in house.events if isinstance(event, JobsAccepted)]
    assert sum(counts) == 11


def test_a_stage_is_not_submitted_by_itself(house: House) -> None:
    """Its arguments come from its run; the message says how to start one."""
    pipe = Pipeline("pipe")

    @pipe.stage
    def one() -> int:
        return 1

    house.registry.pipelines["pipe"] = pipe
    with pytest.raises(UnknownTask, match=r'^"pipe\.one" is a stage of pipeline pipe: millrace run pipe$') as caught:
        house.submitter.submit(Submission(one.name))
    assert caught.value.field == "task"
    assert [type(event) for event in house.events] == [SubmitRefused]
