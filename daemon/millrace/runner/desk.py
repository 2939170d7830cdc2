"""
Where the questions and remarks of a running job are dealt with, whether they came over a socket or by a plain call.
Steps and effects are the ledger's, what concerns a run is the clerk's; permits belong to a room above, which fills
`Journal`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from millrace.events import JobLogged
from millrace.runner import effects
from millrace.runner.clerk import ANSWERS, Clerk
from millrace.runner.protocol import QUESTIONS, REMARKS, ProtocolError, Unsupported, text_of
from millrace.runner.text import clean

if TYPE_CHECKING:
    from millrace.ledger.rows import Claim
    from millrace.runner.kit import Kit
    from millrace.runner.output import Budget


class Journal(Protocol):
    """What an upper room answers for a running job. Everything it writes is fenced by `held.attempt`."""

    def answer(self, held: Claim, kind: str, body: dict[str, Any]) -> Any:
        """Return the JSON answer to `permit`."""

    def remark(self, held: Claim, kind: str, body: dict[str, Any]) -> None:
        """Take note of `called`; must be quick."""


class Desk:
    """Answers one attempt."""

    def __init__(self, held: Claim, kit: Kit, budget: Budget) -> None:
        self.held = held
        self._moves = kit.moves
        self._journal = kit.journal
        self._emit = kit.emit
        self._clerk = Clerk(held, kit)
        self._effects = effects.Effects(held, kit.moves)
        self.budget = budget

    def answer(self, kind: str, body: dict[str, Any]) -> Any:
        """
        Return the answer to a question, after the commit that it stands for.

        Raises: Unsupported when nobody keeps that journal; LostClaim; ProtocolError for a question without its fields.
        """
        if kind not in QUESTIONS:
            raise ProtocolError(f"{kind} is no question")
        if kind == "step.get":
            found = self._moves.step_get(self.held, text_of(body, "name")).wait()
            return None if found is None else self._moves.whole(found)
        if kind == "step.put":
            return self._moves.step_put(self.held, text_of(body, "name"), text_of(body, "result")).wait()
        if kind in effects.QUESTIONS:
            return self._effects.answer(kind, body)
        if kind in ANSWERS:
            return self._clerk.answer(kind, body)
        if self._journal is None:
            raise Unsupported(f"{kind}: this daemon keeps no journal for it yet")
        return self._journal.answer(self.held, kind, body)

    def remark(self, kind: str, body: dict[str, Any]) -> None:
        """Take note of a remark; one that nobody keeps is dropped."""
        if kind not in REMARKS:
            raise ProtocolError(f"{kind} is no remark")
        if kind == "log":
            self.log(text_of(body, "text"), text_of(body, "level"))
        elif kind == "progress":
            self._clerk.progress(body)
        elif self._journal is not None:
            self._journal.remark(self.held, kind, body)

    def log(self, text: str, level: str = "info") -> None:
        """Emit one line of the job's log, as far as its budget reaches."""
        if self.budget.spend(len(text)):
            self._say(text, level)

    def close(self) -> None:
        """Note the last progress, and say once what the budget kept out of the log."""
        self._clerk.close()
        budget = self.budget
        if budget.dropped_lines or budget.dropped_bytes:
            self._say(f"… {budget.dropped_lines} lines, {budget.dropped_bytes} bytes of output dropped", "warning")

    def _say(self, text: str, level: str) -> None:
        held = self.held
        self._emit(JobLogged(held.job_id, held.task, held.attempt, level, clean(text), held.correlation_id))
