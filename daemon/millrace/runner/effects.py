"""Answers what a job asks about its effects, out of the ledger's journal. In the thread that supervises the attempt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from millrace.ledger.effect_rows import EffectEnd, Intent
from millrace.ledger.rows import JobError
from millrace.runner.protocol import ProtocolError
from millrace.runner.text import MAX_TYPE, clean

if TYPE_CHECKING:
    from millrace.ledger.moves import Moves
    from millrace.ledger.rows import Claim

QUESTIONS: Final = frozenset({"once.begin", "once.end"})
OUTCOMES: Final = frozenset({"done", "not_done", "doubt"})


class Effects:
    """Serves one attempt; what it writes is fenced by it."""

    def __init__(self, held: Claim, moves: Moves) -> None:
        self._held = held
        self._moves = moves

    def answer(self, kind: str, body: dict[str, Any]) -> Any:
        """
        Return the answer to one of QUESTIONS, after its commit.

        Raises: ProtocolError for a question without its fields; LostClaim; LedgerError.
        """
        if kind == "once.begin":
            found = self._moves.effect_begin(self._held, _intent(body)).wait()
            return found if found.get("result") is None else {**found, "result": self._moves.whole(found["result"])}
        return self._moves.effect_end(self._held, _end(body)).wait()


def _intent(body: dict[str, Any]) -> Intent:
    match body:
        case {"key": str(key), "call": str(call), "park": bool(park)}:
            return Intent(key, call, park)
    raise ProtocolError("once.begin: a message without its fields")


def _end(body: dict[str, Any]) -> EffectEnd:
    match body:
        case {"key": str(key), "status": str(status), "result": str(result), "error": None} if status == "done":
            return EffectEnd(key, status, result)
        case {"key": str(key), "status": str(status), "result": None, "error": [str(type_), str(said)]}:
            if status in OUTCOMES:
                return EffectEnd(key, status, error=JobError(clean(type_, MAX_TYPE), clean(said)))
    raise ProtocolError("once.end: a message without its fields")
