"""One move for several jobs: find each by what was typed, move it, say what became of it."""

from __future__ import annotations

import sys
from itertools import islice
from typing import TYPE_CHECKING, Final

import click

from millrace.cli.ids import job_of
from millrace.cli.output import colored, echo_json, plural
from millrace.cli.session import tell_error
from millrace.errors import MillraceError
from millrace.ledger.rows import JobFilter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from millrace.cli.session import Session
    from millrace.ledger.ledger import Ledger
    from millrace.ledger.moves import Moves
    from millrace.ledger.reads import Reads
    from millrace.ledger.states import Status
    from millrace.ledger.ticket import Ticket

    Move = Callable[[Moves, str], Ticket[Status]]

_TOGETHER: Final = 500  # moves that are handed in before the first is waited for, so that they share commits

yes_option = click.option("--yes", is_flag=True, help="Do not ask.")
ids_argument = click.argument("job_ids", metavar="[ID]...", nargs=-1)
some_ids_argument = click.argument("job_ids", metavar="ID...", nargs=-1, required=True)


class Acts:
    """
    Moves of jobs, one after the other; one that is refused stops none of the others.

    `moved` holds id and new status of each job, `code` the exit code of the first refusal.
    """

    def __init__(self, session: Session, move: Move) -> None:
        session.need_config()
        self.session = session
        self._move = move
        self.moved: list[tuple[str, str]] = []
        self.code = 0

    def on_words(self, words: Sequence[str]) -> None:
        """Move the jobs of these ids, or unique starts of ids."""
        with self.session.reads() as reads:
            ids = [found for word in words if (found := self._found(reads, word))]
        self.on_ids(dict.fromkeys(ids))

    def on_ids(self, ids: Iterable[str]) -> None:
        """Move the jobs of these full ids."""
        rest = iter(ids)
        with self.session.ledger() as ledger:
            try:
                while some := list(islice(rest, _TOGETHER)):
                    self._some(ledger, some)
            finally:
                self._end(ledger)

    def _end(self, ledger: Ledger) -> None:
        """Do what is to come after all moves."""

    def _some(self, ledger: Ledger, ids: Sequence[str]) -> None:
        tickets = [(job_id, self._move(ledger.moves, job_id)) for job_id in ids]
        for job_id, ticket in tickets:
            self._settle(job_id, ticket)

    def _found(self, reads: Reads, word: str) -> str | None:
        try:
            return job_of(reads, word).id
        except MillraceError as error:
            self._refused(error)
            return None

    def _settle(self, job_id: str, ticket: Ticket[Status]) -> None:
        try:
            self.moved.append((job_id, ticket.wait().value))
        except MillraceError as error:
            self._refused(error)

    def _refused(self, error: MillraceError) -> None:
        tell_error(error)
        self.code = self.code or error.exit_code

    def print(self, *, as_json: bool) -> int:
        """Print what each job is now; return the exit code."""
        if as_json:
            echo_json([{"id": job_id, "status": status} for job_id, status in self.moved])
        elif self.moved:
            click.echo("\n".join(f"{job_id}  {colored(status)}" for job_id, status in self.moved))
        return self.code


class Retries(Acts):
    """
    Dead and cancelled jobs that are put back on their queues.

    What is put back together is collected together: the runs of these jobs wait for the last one, whatever becomes of
    the first meanwhile. Should this process die on the way, a daemon lets them go.
    """

    def __init__(self, session: Session) -> None:
        super().__init__(session, lambda moves, job_id: moves.requeue(job_id, actor=session.actor))
        self._held: set[str] = set()  # runs that wait for the end

    def _some(self, ledger: Ledger, ids: Sequence[str]) -> None:
        if len(ids) > 1 or self._held:
            new = set(ledger.reads.runs_of(ids)) - self._held
            asked = {run_id: ledger.moves.hold_run(run_id, actor=self.session.actor) for run_id in new}
            self._held |= {run_id for run_id, ticket in asked.items() if ticket.wait()}
        super()._some(ledger, ids)

    def _end(self, ledger: Ledger) -> None:
        for ticket in [ledger.moves.resume_some(run_id) for run_id in self._held]:
            ticket.wait()


def dead_ids(reads: Reads, **wanted: str | None) -> Iterator[str]:
    """Yield the ids of the dead letters of a task, queue or client, page by page."""
    after: str | None = None
    while True:
        page = reads.jobs(JobFilter(status="dead", limit=1000, after=after, **wanted))  # type: ignore[arg-type]
        yield from (job.id for job in page.jobs)
        after = page.next
        if after is None:
            return


def count_dead(reads: Reads, **wanted: str | None) -> int:
    """Return how many dead letters a task, queue or client has, from the counters."""
    given = {name: value for name, value in wanted.items() if value is not None}
    return sum(
        tally.dead for tally in reads.tallies() if all(getattr(tally, name) == value for name, value in given.items())
    )


def confirm(question: str, *, yes: bool) -> None:
    """
    Ask before something that cannot be taken back at one stroke.

    Raises: click.Abort if the answer is no, or Ctrl-C; MillraceError if there is nobody to ask.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise MillraceError(f"{question} There is nobody to ask here: add --yes")
    try:
        click.confirm(question, abort=True, err=True)
    except click.Abort as abort:
        if abort.__context__ is not None:  # Ctrl-C or the end of input, and not an answer: the line is still open
            click.echo(err=True)
        raise


def jobs_words(count: int) -> str:
    """Return "1 job" or "12 jobs"."""
    return plural(count, "job")
