"""
Answers what a stage asks of its run: where its fan-out got to, the results it collects, the decision tables. Writes
down what it emits and how far it is. One clerk serves one attempt, in the thread that supervises it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from millrace.errors import BadItem
from millrace.ledger.rows import JobError
from millrace.ledger.run_rows import Item
from millrace.runner.protocol import ProtocolError, text_of
from millrace.runner.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable

    from millrace.ledger.rows import Claim
    from millrace.runner.kit import Kit

ANSWERS: Final = frozenset({"emit.begin", "emit", "results.head", "results", "rules"})
NOTE_S: Final = 2.0  # between two notes of an attempt's progress in the ledger
ANSWER: Final = 2**20  # characters of results in one answer, and one result more
GUESS: Final = ANSWER // 8  # characters of a result, before one has been seen: each may have eight million
_MOST_WHOLE: Final = 2**53  # what any JSON reader keeps exact


class Clerk:
    """
    Serves one attempt; whatever it writes is fenced by it.

    Args:
        held: The claim under which the attempt runs.
    """

    def __init__(self, held: Claim, kit: Kit) -> None:
        self._held = held
        self._kit = kit
        self._noted = -NOTE_S
        self._width = GUESS
        self._progress: tuple[int, int | None] | None = None  # what was told and is not noted yet
        self._answers: dict[str, Callable[[dict[str, Any]], Any]] = {
            "emit.begin": self._emit_begin,
            "emit": self._emit,
            "results.head": self._results_head,
            "results": self._results,
            "rules": lambda body: self._kit.rules.answer(body.get("known")),
        }

    def answer(self, kind: str, body: dict[str, Any]) -> Any:
        """
        Return the JSON answer to one of ANSWERS, after its commit.

        Raises: ProtocolError for a question without its fields; LostClaim; LedgerError.
        """
        return self._answers[kind](body)

    def progress(self, body: dict[str, Any]) -> None:
        """Note how far the attempt is; not each time, as the ledger has better things to do."""
        total = body.get("total")
        self._progress = (_whole(body, "done"), None if total is None else _whole(body, "total"))
        if self._kit.clock.monotonic() - self._noted >= NOTE_S:
            self.close()

    def close(self) -> None:
        """Note what was told last."""
        if self._progress is not None:
            self._kit.moves.progress(self._held, *self._progress)
            self._noted, self._progress = self._kit.clock.monotonic(), None

    def _emit_begin(self, _body: dict[str, Any]) -> dict[str, Any]:
        position, chain = self._kit.moves.fanout_state(self._held).wait()
        return {"position": position, "chain": chain}

    def _emit(self, body: dict[str, Any]) -> bool:
        items, chain = body.get("items"), body.get("chain")
        if not isinstance(items, list) or not isinstance(chain, str):
            raise ProtocolError("emit: a message without items and chain")
        position, begun = _whole(body, "position"), _whole(body, "begun")
        if position != begun + len(items):
            raise ProtocolError(f"emit: {len(items)} items do not lead from {begun} to {position}")
        told = [_item(one) for one in items]
        return self._kit.moves.emit(self._held, told, position=position, chain=chain, begun=begun).wait()

    def _results_head(self, body: dict[str, Any]) -> dict[str, int] | None:
        """Return how many results there are; None if there are no records since their fan-out was skipped."""
        run_id, stage = self._run(), self._many(body)
        count, dead, skipped = self._kit.reads.results_head(run_id, stage)
        if not count and not dead and self._kit.reads.passed_by(run_id, stage):
            return None
        return {"count": count, "dead": dead, "skipped": skipped}

    def _results(self, body: dict[str, Any]) -> list[list[Any]]:
        """Return the next results; fewer than were asked for where they are large. An empty answer is the end."""
        stage, after, limit = self._many(body), _whole(body, "after"), _whole(body, "limit")
        found: list[list[Any]] = []
        left = ANSWER
        while len(found) < limit and left > 0:
            count = min(limit - len(found), max(1, left // self._width))
            piece = self._kit.reads.results(self._run(), stage, found[-1][0] if found else after, count)
            for number, text in piece:
                if left > 0:
                    found.append([number, text])
                    left -= len(text)
            if len(piece) < count:
                break
            self._width = max(1, *(len(text) for _, text in piece))
        return found

    def _many(self, body: dict[str, Any]) -> str:
        """Return the stage whose results are asked for: one that runs for each record, by the plan of the run."""
        stage, net = text_of(body, "stage"), self._kit.reads.net(self._run())
        if stage not in net.nodes or net.fanout_of(stage) is None:
            raise ProtocolError(f'the plan of the run has no records of a stage "{stage}"')
        return stage

    def _run(self) -> str:
        if self._held.run_id is None:
            raise ProtocolError("a question about a run, from a job of none")
        return self._held.run_id


def _item(told: object) -> Item:
    """Read one item as `emission` tells it."""
    match told:
        case str():
            return Item(told)
        case [str(raw), str(reason)]:
            try:
                return Item(None, json.loads(raw), JobError(BadItem.__name__, clean(reason)))
            except ValueError:
                pass
    raise ProtocolError("emit: an item that is none")


def _whole(body: dict[str, Any], name: str) -> int:
    value = body.get(name)
    if not isinstance(value, int) or not 0 <= value < _MOST_WHOLE:
        raise ProtocolError(f"a message without its number {name!r}")
    return value
