"""One move for several runs: find each by what was typed, move it, say what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import click

from millrace.cli.ids import run_of
from millrace.cli.output import colored, echo_json, plural
from millrace.cli.session import tell_error
from millrace.errors import MillraceError, WrongStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from millrace.cli.session import Session
    from millrace.ledger.ledger import Ledger
    from millrace.ledger.reads import Reads

T = TypeVar("T")
L = TypeVar("L")


class RunActs:
    """
    Moves of runs, one after the other; one that is refused stops none of the others.

    A run may have 300,000 jobs: each move goes on in small transactions, here, until nothing is left of it. What a
    broken-off command leaves, a daemon finishes.
    """

    def __init__(self, session: Session) -> None:
        session.need_config()
        self.session = session
        self._moved: list[tuple[str, str, int | None]] = []
        self._code = 0

    def cancel(self, words: Sequence[str]) -> None:
        """Cancel the runs of these ids, or unique starts of ids."""
        self._each(words, self._cancel)

    def resume(self, words: Sequence[str]) -> None:
        """Put back what died or was cancelled in the runs of these ids, or unique starts of ids."""
        self._each(words, self._resume)

    def print(self, *, as_json: bool) -> int:
        """Print what each run is now; return the exit code."""
        if as_json:
            found = [{"id": run_id, "status": status, "put_back": count} for run_id, status, count in self._moved]
            echo_json([{name: value for name, value in one.items() if value is not None} for one in found])
        else:
            for run_id, status, count in self._moved:
                more = f"  {plural(count, 'job')} put back" if count is not None else ""
                click.echo(f"{run_id}  {colored(status)}{more}")
        return self._code

    def _each(self, words: Sequence[str], move: Callable[[Ledger, str], None]) -> None:
        with self.session.reads() as reads:
            found = [self._tried(_id_of, reads, word) for word in words]
        ids = list(dict.fromkeys(run_id for run_id in found if run_id is not None))
        if not ids:  # opening the ledger for moves may wait for its lock
            return
        with self.session.ledger() as ledger:
            for run_id in ids:
                self._tried(move, ledger, run_id)

    def _tried(self, work: Callable[[L, str], T], ledger: L, told: str) -> T | None:
        try:
            return work(ledger, told)
        except MillraceError as error:
            tell_error(error)
            self._code = self._code or error.exit_code
            return None

    def _cancel(self, ledger: Ledger, run_id: str) -> None:
        ledger.moves.cancel_run(run_id, actor=self.session.actor).wait()
        while ledger.moves.cancel_some(run_id).wait():
            pass
        self._moved.append((run_id, ledger.reads.run(run_id).status, None))

    def _resume(self, ledger: Ledger, run_id: str) -> None:
        known = ledger.reads.run(run_id).status
        begun = self.session.clock.now_ms()  # what dies again meanwhile is left for the next command
        count = 0
        while True:
            asked = ledger.moves.resume_run(run_id, actor=self.session.actor, before=begun, goes_on=count > 0)
            status, some = asked.wait()
            if not some:
                break
            count += some
        if not count and status == known:
            raise WrongStatus(f"run {run_id} is {status}: nothing in it is dead or cancelled that was not discarded")
        self._moved.append((run_id, status, count))


def _id_of(reads: Reads, word: str) -> str:
    return run_of(reads, word).id
