"""The one door in: checks a submission against the site, then hands it to the ledger."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from millrace.clock import SYSTEM, Clock
from millrace.errors import LedgerError, LedgerFull, MillraceError, Overloaded, UnknownTask, did_you_mean
from millrace.events import JobsAccepted, SubmitRefused
from millrace.ledger.rows import DEFAULT_CLIENT, FROM_API, NewJob, Source
from millrace.queue.bounds import COMMIT_S, check_bounds
from millrace.queue.room import bytes_of
from millrace.queue.runs import RunStarter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from millrace.config.settings import Settings
    from millrace.define.registry import Registry
    from millrace.define.task import Task
    from millrace.events import Emit
    from millrace.ledger.accept import Accepted
    from millrace.ledger.moves import Moves
    from millrace.ledger.reads import Reads
    from millrace.ledger.run_rows import NewRun, Started
    from millrace.ledger.ticket import Ticket
    from millrace.queue.room import Room
    from millrace.queue.runs import RunSubmission

CHUNK: Final = 500  # jobs in one commit: about 20 ms of the write lock
FULL_RETRY_S: Final = 5.0
# With this much room nobody can fill a queue between two looks, so that most submissions need none.
PLENTY: Final = 50_000
ROOM_S: Final = 0.05


def _nothing() -> None:
    """Do nothing."""


class Submission(NamedTuple):
    """
    A request for a job. The payload comes in one of three forms: JSON text, a parsed value, or words of a command line.

    Args:
        task: The task's name.
        text: The payload as JSON text.
        payload: The payload as a parsed JSON value; `{}` when nothing is given.
        words: The payload as `name=value` words.
        client: For whom; `default` when None.
        queue: Another queue than the task's own.
        priority: Higher first, −1,000,000 to 1,000,000.
        due_at: Not before this UTC epoch millisecond.
        key: Idempotency key, 1 to 255 characters, unique within the client.
        source: Where it comes from.
        correlation_id: Follows the work across jobs.
    """

    task: str
    text: str | bytes | None = None
    payload: Any = None
    words: Mapping[str, str] | None = None
    client: str | None = None
    queue: str | None = None
    priority: int = 0
    due_at: int | None = None
    key: str | None = None
    source: Source = FROM_API
    correlation_id: str = ""


class _Terms:
    """
    What submissions are checked by, and what was worked out from it. Other settings replace all of it: a place that a
    thread works out meanwhile is then stored with those that it holds for.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.clients = settings.client_names()
        self.rooms: dict[str, tuple[float, int]] = {}
        self.places: dict[tuple[str, str | None, str | None], _Place] = {}


class Submitter:
    """Takes submissions for one site. Safe to share between threads."""

    def __init__(
        self, registry: Registry, settings: Settings, moves: Moves, reads: Reads, *, emit: Emit, clock: Clock = SYSTEM
    ) -> None:
        self._registry = registry
        self._terms = _Terms(settings)
        self._moves = moves
        self._reads = reads
        self._emit = emit
        self._clock = clock
        self.room: Room | None = None  # what watches over the disk; without it each write finds out by itself
        self._runs = RunStarter(registry, settings, moves, emit=emit, admit=self._admit)

    def apply(self, settings: Settings) -> None:
        """Check by these settings from now on."""
        self._terms = _Terms(settings)
        self._runs.apply(settings)

    def start_run(self, wanted: RunSubmission) -> Started:
        """
        Check a request for a run, write the run, and return once it is on disk.

        Raises: UnknownTask (its field says what of it: pipeline or client), PayloadError, TooLarge, Overloaded,
            KeyConflict, LedgerError.
        """
        return self._runs.hand_in(wanted).wait(COMMIT_S)

    def hand_in_run(self, wanted: RunSubmission) -> Ticket[Started]:
        """Check a request for a run and hand it to the writer; raises as `start_run`, but for what the ledger finds."""
        return self._runs.hand_in(wanted)

    def plan_run(self, wanted: RunSubmission) -> NewRun:
        """Return the run that would be started, with its checked inputs and its plan; nothing is written."""
        return self._runs.prepare(wanted)

    def submit(self, wanted: Submission) -> Accepted:
        """
        Check a submission, write it, and return once it is on disk.

        Raises: UnknownTask, PayloadError, TooLarge, Overloaded, KeyConflict, LedgerError.
        """
        return self.hand_in(wanted, waits=True).wait(COMMIT_S)[0]

    def hand_in(self, wanted: Submission, *, waits: bool = False) -> Ticket[list[Accepted]]:
        """Check a submission and hand it to the writer; the ticket carries one `Accepted`. See `Writer.submit`."""
        try:
            job = self.prepare(wanted)
            written = self._admit([job.queue], [job.payload])
        except MillraceError as error:
            self._emit(SubmitRefused(wanted.task, error.type, str(error)))
            raise
        return self._hand_over([job], written, waits=waits)

    def submit_many(self, many: Iterable[Submission | MillraceError]) -> Iterator[list[Accepted | MillraceError]]:
        """
        Check and write submissions in chunks, one commit each, while the next chunk is checked.

        Args:
            many: Submissions; an error stands for one that could not even be read, and is passed on in its place.
        Returns: One verdict for each, in order, chunk by chunk, each chunk after its commit.
        Raises: Overloaded or LedgerError, after the verdicts of all that was handed in; what follows was not.
        """
        before: _Chunk | None = None
        failed: MillraceError | None = None
        for chunk in self._chunks(many):
            failed = self._send(chunk, before)
            if before is not None:
                yield self._verdicts(before)
                failed = failed or before.failed
            before = chunk
            if failed is not None:
                break
        if before is not None and before.sent:
            yield self._verdicts(before)
            failed = failed or before.failed
        if failed is not None:
            raise failed

    def _chunks(self, many: Iterable[Submission | MillraceError]) -> Iterator[_Chunk]:
        chunk, size = _Chunk(), 0
        most = sys.maxsize if self.room is None else self.room.piece()
        for wanted in many:
            verdict = wanted if isinstance(wanted, MillraceError) else self._prepared(wanted)
            chunk.verdicts.append(verdict)
            size += bytes_of([verdict.payload]) if isinstance(verdict, NewJob) else 0
            if len(chunk.verdicts) >= CHUNK or size >= most:
                yield chunk
                chunk, size = _Chunk(), 0
        if chunk.verdicts:
            yield chunk

    def prepare(self, wanted: Submission) -> NewJob:
        """
        Return the job that a submission asks for, checked against the site; nothing is written.

        Raises: UnknownTask (also for a queue or client), PayloadError, TooLarge.
        """
        terms = self._terms
        where = wanted.task, wanted.queue, wanted.client
        place = terms.places.get(where)
        if place is None:
            place = terms.places[where] = self._place(terms, *where)
        check_bounds(wanted.priority, wanted.key, wanted.correlation_id, wanted.due_at)
        return NewJob(
            task=place.task.name,
            queue=place.queue,
            payload=_payload(place.task, wanted, terms.settings.web.max_body),
            client=place.client,
            priority=wanted.priority,
            due_at=wanted.due_at,
            key=wanted.key,
            max_attempts=place.max_attempts,
            source=wanted.source,
            correlation_id=wanted.correlation_id,
        )

    def _place(self, terms: _Terms, name: str, queue: str | None, client: str | None) -> _Place:
        task = self._registry.task(name)
        queue, client = queue or task.policy.queue, client or DEFAULT_CLIENT
        if queue not in terms.settings.queues:
            known = did_you_mean(queue, terms.settings.queues)
            raise UnknownTask(f'no queue "{queue}" in config.toml.{known}', field="queue")
        if client not in terms.clients:
            raise UnknownTask(
                f'no client "{client}" in config.toml.{did_you_mean(client, terms.clients)}', field="client"
            )
        retries = terms.settings.defaults.retries if task.policy.retries is None else task.policy.retries
        return _Place(task, queue, client, retries + 1)

    def _prepared(self, wanted: Submission) -> NewJob | MillraceError:
        try:
            return self.prepare(wanted)
        except MillraceError as error:
            return error

    def _room(self, queue: str) -> int:
        """Return how many jobs the queue still takes; far from the bound, what it was a moment ago."""
        now, terms = self._clock.monotonic(), self._terms
        looked_at, room = terms.rooms.get(queue, (-ROOM_S, 0))
        if now - looked_at >= ROOM_S or room < PLENTY:
            room = terms.settings.queues[queue].max_backlog - self._reads.depth(queue)
            terms.rooms[queue] = (now, room)
        return room

    def _admit(self, queues: Iterable[str], payloads: Iterable[str]) -> Callable[[], None]:
        """
        Let work from outside in, if its queues and the disk have room; return what is called once it is written.

        Raises: Overloaded, LedgerFull.
        """
        for queue in queues:
            if self._room(queue) < 1:
                raise self._overloaded(queue)
        return _nothing if self.room is None else self.room.take(bytes_of(payloads))

    def _overloaded(self, queue: str) -> Overloaded:
        bound = self._terms.settings.queues[queue].max_backlog
        return Overloaded(
            f'queue "{queue}" is at its max_backlog of {bound} open jobs: try again later', retry_after_s=FULL_RETRY_S
        )

    def _send(self, chunk: _Chunk, before: _Chunk | None) -> MillraceError | None:
        """
        Hand a chunk to the writer, if its queues have room for all of it; return why not.

        Jobs with a key go in by themselves, so that one conflict refuses one job.
        """
        jobs = {place: item for place, item in enumerate(chunk.verdicts) if isinstance(item, NewJob)}
        for queue, count in Counter(job.queue for job in jobs.values()).items():
            if before is not None and self._room(queue) < count + CHUNK:
                self._verdicts(before)  # near the bound what is still on its way counts
            if self._room(queue) < count:
                return self._overloaded(queue)
        try:
            written = self._admit([], (job.payload for job in jobs.values()))
        except LedgerFull as error:
            return error
        chunk.sent = True
        chunk.keyed = {place: self._hand_over([job]) for place, job in jobs.items() if job.key is not None}
        chunk.plain = [place for place, job in jobs.items() if job.key is None]
        # Also if there are none: it is settled after all that was handed in before.
        chunk.ticket = self._hand_over([jobs[place] for place in chunk.plain], written)
        return None

    def _hand_over(
        self, jobs: list[NewJob], written: Callable[[], None] = _nothing, *, waits: bool = False
    ) -> Ticket[list[Accepted]]:
        try:
            ticket = self._moves.accept(jobs, waits=waits)
        except BaseException:
            written()
            raise
        ticket.then(lambda done: self._announce(jobs, done, written))
        return ticket

    @staticmethod
    def _verdicts(chunk: _Chunk) -> list[Accepted | MillraceError]:
        if chunk.ticket is not None:
            for place, verdict in zip(chunk.plain, chunk.outcome(chunk.ticket, len(chunk.plain)), strict=True):
                chunk.verdicts[place] = verdict
        for place, ticket in chunk.keyed.items():
            chunk.verdicts[place] = chunk.outcome(ticket, 1)[0]
        return chunk.verdicts  # type: ignore[return-value] # every new job has been replaced by its verdict

    def _announce(self, jobs: list[NewJob], done: Ticket[list[Accepted]], written: Callable[[], None]) -> None:
        written()
        if done.error is not None:
            return
        added = [(job, accepted) for job, accepted in zip(jobs, done.wait(), strict=True) if not accepted.existed]
        for job, accepted in added[:1]:
            self._emit(JobsAccepted(job.task, job.queue, job.client, job.source.kind, len(added), accepted.id))


def _payload(task: Task[..., Any], wanted: Submission, limit: int) -> str:
    if wanted.text is not None:
        return task.check(wanted.text, max_bytes=limit)
    if wanted.words is not None:
        return task.check(task.from_words(wanted.words), max_bytes=limit)
    return task.check_value({} if wanted.payload is None else wanted.payload)


class _Place(NamedTuple):
    """Where the jobs of a task, queue and client go: what is the same for all of them."""

    task: Task[..., Any]
    queue: str
    client: str
    max_attempts: int


class _Chunk:
    """Submissions on their way into one commit; each `verdicts` entry is replaced by what became of it."""

    def __init__(self) -> None:
        self.verdicts: list[NewJob | Accepted | MillraceError] = []
        self.sent = False
        self.plain: list[int] = []
        self.keyed: dict[int, Ticket[list[Accepted]]] = {}
        self.ticket: Ticket[list[Accepted]] | None = None
        self.failed: LedgerError | None = None

    def outcome(self, ticket: Ticket[list[Accepted]], count: int) -> Sequence[Accepted | MillraceError]:
        """Return a verdict for each job of a commit; one that failed refuses them all."""
        try:
            return ticket.wait()
        except MillraceError as error:
            self.failed = error if isinstance(error, LedgerError) else self.failed
            return [error] * count
