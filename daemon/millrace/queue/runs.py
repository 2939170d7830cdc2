"""The door for runs of pipelines: checks what is wanted against the site, then hands it to the ledger with its plan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from millrace.errors import MillraceError, UnknownTask, did_you_mean
from millrace.events import RunStarted, SubmitRefused
from millrace.ledger.rows import DEFAULT_CLIENT, FROM_API, Source
from millrace.ledger.run_rows import NewRun
from millrace.queue.bounds import check_bounds
from millrace.runner.plan import plan_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from millrace.config.settings import Settings
    from millrace.define.pipeline import Pipeline
    from millrace.define.registry import Registry
    from millrace.events import Emit
    from millrace.ledger.moves import Moves
    from millrace.ledger.run_rows import Started
    from millrace.ledger.ticket import Ticket


class RunSubmission(NamedTuple):
    """
    A request for a run. The inputs come in one of three forms: JSON text, a parsed value, or words of a command line.

    Args:
        pipeline: The pipeline's name.
        text: The inputs as JSON text.
        payload: The inputs as a parsed JSON value; `{}` when nothing is given.
        words: The inputs as `name=value` words.
        client: For whom; `default` when None.
        key: Idempotency key, 1 to 255 characters, unique within the client among runs.
        priority: Of all its jobs, higher first, −1,000,000 to 1,000,000.
        source: Where it comes from.
        correlation_id: Follows the work across jobs; the run's own id when empty.
    """

    pipeline: str
    text: str | bytes | None = None
    payload: Any = None
    words: Mapping[str, str] | None = None
    client: str | None = None
    key: str | None = None
    priority: int = 0
    source: Source = FROM_API
    correlation_id: str = ""


class RunStarter:
    """
    Starts runs for one site. Safe to share between threads.

    Args:
        admit: Lets work for queues in, with texts that it brings; returns what is called once it is written. Raises
            what refuses it.
    """

    def __init__(
        self,
        registry: Registry,
        settings: Settings,
        moves: Moves,
        *,
        emit: Emit,
        admit: Callable[[Iterable[str], Iterable[str]], Callable[[], None]],
    ) -> None:
        self._registry = registry
        self._settings = settings
        self._clients = settings.client_names()
        self._moves = moves
        self._emit = emit
        self._admit = admit

    def apply(self, settings: Settings) -> None:
        """Check by these settings from now on."""
        self._clients = settings.client_names()
        self._settings = settings

    def hand_in(self, wanted: RunSubmission) -> Ticket[Started]:
        """
        Check a request and hand it to the writer; the ticket carries the run once it is on disk, or KeyConflict.

        Raises: UnknownTask (also for a client), PayloadError, TooLarge, Overloaded.
        """
        try:
            run = self.prepare(wanted)
            # Refused is a run whose first jobs would find no room: what follows them never is.
            written = self._admit(
                dict.fromkeys(stage.queue for stage in run.plan.stages if not stage.waits), [run.inputs]
            )
        except MillraceError as error:
            self._emit(SubmitRefused(wanted.pipeline, error.type, str(error)))
            raise
        try:
            ticket = self._moves.start_run(run)
        except BaseException:
            written()
            raise
        ticket.then(lambda done: self._announce(run, done, written))
        return ticket

    def prepare(self, wanted: RunSubmission) -> NewRun:
        """
        Return the run that is asked for, checked against the site, with the plan that it would follow; nothing is
        written.

        Raises: UnknownTask (also for a client), PayloadError, TooLarge.
        """
        pipeline = self._registry.find_pipeline(wanted.pipeline)
        client = wanted.client or DEFAULT_CLIENT
        if client not in self._clients:
            known = did_you_mean(client, self._clients)
            raise UnknownTask(f'no client "{client}" in config.toml.{known}', field="client")
        check_bounds(wanted.priority, wanted.key, wanted.correlation_id)
        settings = self._settings
        plan = plan_of(
            pipeline,
            retries=settings.defaults.retries,
            fan_out=settings.defaults.fan_out,
            backlogs={name: queue.max_backlog for name, queue in settings.queues.items()},
        )
        return NewRun(
            pipeline=pipeline.name,
            plan=plan,
            inputs=self._inputs(pipeline, wanted),
            client=client,
            source=wanted.source,
            priority=wanted.priority,
            key=wanted.key,
            correlation_id=wanted.correlation_id,
        )

    def _inputs(self, pipeline: Pipeline, wanted: RunSubmission) -> str:
        return pipeline.check_inputs(
            wanted.text, payload=wanted.payload, words=wanted.words, max_bytes=self._settings.web.max_body
        )

    def _announce(self, run: NewRun, done: Ticket[Started], written: Callable[[], None]) -> None:
        written()
        if done.error is None and not (started := done.wait()).existed:
            correlation_id = run.correlation_id or started.id
            self._emit(RunStarted(started.id, run.pipeline, run.client, run.source.kind, correlation_id))
