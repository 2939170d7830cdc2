"""What a stage's process may ask of its run, by garbage that only foreign code would send."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from millrace.errors import LostClaim
from millrace.ledger.plan import Plan, PlanStage
from millrace.ledger.run_rows import NewRun
from millrace.runner import clerk
from millrace.runner.clerk import NOTE_S, Clerk
from millrace.runner.protocol import ProtocolError
from tests.ledger.rig import OwnClock

if TYPE_CHECKING:
    from millrace.ledger.rows import Claim
    from tests.runner.rig import Rig

PLAN = Plan(
    "p",
    (
        PlanStage("item", "p.item", "default", kind="fanout"),
        PlanStage("one", "p.one", "default", fanout="item", needs=(("item", True),), waits=("item",)),
    ),
)


def claim(rig: Rig) -> Claim:
    """Start a run and claim its fan-out."""
    rig.ledger.moves.start_run(NewRun("p", PLAN)).wait()
    return rig.claim()


def emitted(count: int, size: int = 1, begun: int = 0) -> dict[str, Any]:
    """Return the message of a chunk of good items."""
    items = [json.dumps("x" * size)] * count
    return {"items": items, "position": begun + count, "begun": begun, "chain": f"c{begun + count}"}


def test_what_is_emitted_is_in_the_ledger_when_the_answer_comes(rig: Rig) -> None:
    """Position and chain with it, so that another attempt can go on from there."""
    held = claim(rig)
    assert Clerk(held, rig.kit).answer("emit", emitted(3)) is True
    assert Clerk(held, rig.kit).answer("emit.begin", {}) == {"position": 3, "chain": "c3"}
    bad = {"items": [['{"a":1}', "no"]], "position": 4, "begun": 3, "chain": "c4"}
    assert Clerk(held, rig.kit).answer("emit", bad) is True
    assert Clerk(held, rig.kit).answer("results.head", {"stage": "item"}) == {"count": 3, "dead": 1, "skipped": 0}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("emit", {}),
        ("emit", {"items": "x", "position": 1, "begun": 0, "chain": ""}),
        ("emit", {"items": ["1"], "position": 2, "begun": 0, "chain": ""}),
        ("emit", {"items": ["1"], "position": 1, "begun": -1, "chain": ""}),
        ("emit", {"items": [None], "position": 1, "begun": 0, "chain": ""}),
        ("emit", {"items": [["{", "no"]], "position": 1, "begun": 0, "chain": ""}),
        ("emit", {"items": ["1"], "position": "1", "begun": 0, "chain": ""}),
        ("results", {"stage": "item"}),
        ("results", {"stage": 1, "after": 0, "limit": 1}),
        ("results.head", {}),
        ("results.head", {"stage": "gone"}),
        ("results", {"stage": "gone", "after": 0, "limit": 1}),
    ],
)
def test_a_message_that_is_none_is_refused(rig: Rig, kind: str, body: dict[str, Any]) -> None:
    """Foreign code runs at the other end of the line."""
    held = claim(rig)
    with pytest.raises(ProtocolError):
        Clerk(held, rig.kit).answer(kind, body)
    assert Clerk(held, rig.kit).answer("emit.begin", {}) == {"position": 0, "chain": ""}


@pytest.mark.parametrize("kind", ["results", "results.head"])
def test_a_job_of_no_run_has_no_results(rig: Rig, kind: str) -> None:
    """A plain task has nothing to collect."""
    rig.accept("add", a=1)
    with pytest.raises(ProtocolError, match="of none"):
        Clerk(rig.claim(), rig.kit).answer(kind, {"stage": "x", "after": 0, "limit": 1})


def test_a_job_of_no_run_cannot_emit(rig: Rig) -> None:
    """Its items would belong nowhere."""
    rig.accept("add", a=1)
    with pytest.raises(LostClaim):
        Clerk(rig.claim(), rig.kit).answer("emit", emitted(1))


def test_large_results_come_in_small_pieces(rig: Rig) -> None:
    """Five hundred results of eight megabytes each must not be in memory at once, in two processes."""
    held = claim(rig)
    keeper = Clerk(held, rig.kit)
    keeper.answer("emit", emitted(50, size=10))
    keeper.answer("emit", emitted(30, size=clerk.ANSWER // 3, begun=50))
    keeper.answer("emit", emitted(50, size=10, begun=80))
    found: list[list[Any]] = []
    sizes = []
    while piece := keeper.answer("results", {"stage": "item", "after": found[-1][0] if found else 0, "limit": 500}):
        sizes.append(sum(len(text) for _, text in piece))
        found += piece
    assert [number for number, _ in found] == [*range(1, 131)]
    assert max(sizes) <= clerk.ANSWER * 1.4


def test_small_results_come_as_many_as_are_asked_for(rig: Rig) -> None:
    """Each answer is a turn of two processes."""
    keeper = Clerk(claim(rig), rig.kit)
    keeper.answer("emit", emitted(120))
    pieces = [keeper.answer("results", {"stage": "item", "after": after, "limit": 50}) for after in (0, 50, 100, 120)]
    assert [len(piece) for piece in pieces] == [50, 50, 20, 0]


def test_progress_is_noted_now_and_then_and_at_the_end(rig: Rig) -> None:
    """A job that tells it a thousand times a second must not be a thousand writes."""
    rig.accept("add", a=1)
    held, clock = rig.claim(), OwnClock()
    rig.kit.clock = clock
    keeper = Clerk(held, rig.kit)

    def noted() -> int:
        rig.ledger.moves.beat().wait()
        row = rig.ledger.reads.progress(held.job_id)
        return row.done if row else -1

    keeper.progress({"done": 1, "total": 9})
    assert noted() == 1
    keeper.progress({"done": 2, "total": 9})
    assert noted() == 1
    clock.advance(NOTE_S)
    keeper.progress({"done": 3, "total": 9})
    assert noted() == 3
    keeper.progress({"done": 9, "total": 9})
    keeper.close()
    assert noted() == 9
    with pytest.raises(ProtocolError):
        keeper.progress({"done": "all"})
