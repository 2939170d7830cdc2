"""
The tables, as peewee models. They define the schema of a fresh ledger; `migrations` brings an older one to it. Moves
and looks are written as SQL (`moves`, `reads`), because their form is what makes them fast and safe.

Times are UTC epoch milliseconds, ids are UUIDs as text, so that the file can be read with any SQLite shell.
"""

from __future__ import annotations

from typing import Final

from peewee import SQL, Check, CompositeKey, Field, FloatField, IntegerField, Model, TextField

from millrace.ledger.states import FINAL, Status

_STATUSES: Final = ", ".join(f"'{status}'" for status in Status)
_FINALS: Final = ", ".join(f"'{status}'" for status in sorted(FINAL))


class _Table(Model):
    class Meta:
        strict_tables = True
        legacy_table_names = False


class Job(_Table):
    """One request to run a task; a queued row is the queue."""

    id = TextField(primary_key=True)
    task = TextField()
    queue = TextField()
    client = TextField()
    status = TextField()
    reason = TextField(null=True)
    priority = IntegerField()
    attempt = IntegerField()  # claims: the fence, only rises
    max_attempts = IntegerField()
    failures = IntegerField()
    crashes = IntegerField()  # children that it took down
    daemon_deaths = IntegerField()  # daemons that died while it ran in a thread of theirs
    payload = TextField()
    payload_hash = TextField()
    result = TextField(null=True)
    result_hash = TextField(null=True)
    error = TextField(null=True)  # of its last failure
    key = TextField(null=True)
    run_id = TextField(null=True)
    stage = TextField(null=True)
    record = TextField(null=True)
    source_kind = TextField()
    source_name = TextField()
    correlation_id = TextField()
    created_at = IntegerField()
    queued_at = IntegerField(null=True)
    due_at = IntegerField(null=True)
    started_at = IntegerField(null=True)
    finished_at = IntegerField(null=True)
    duration_ms = IntegerField(null=True)
    daemon = TextField(null=True)  # who runs it, while it runs
    cancel_by = TextField(null=True)  # who asked for its end, while it runs

    class Meta:
        without_rowid = True
        constraints = (
            Check(f"status IN ({_STATUSES})"),
            Check("(status = 'waiting') = (reason IS NOT NULL)"),
            Check("(status = 'running') = (daemon IS NOT NULL)"),
            Check(f"(status IN ({_FINALS})) = (finished_at IS NOT NULL)"),
        )


def _index(name: str, *columns: Field | SQL, where: str, unique: bool = False) -> None:
    Job.add_index(Job.index(*columns, unique=unique, where=SQL(where), name=name))


# Partial indexes: each serves one question and holds only the rows that answer it, so that history costs nothing.
_index("job_queued", Job.queue, Job.client, SQL("priority DESC"), Job.queued_at, Job.id, where="status = 'queued'")
_index("job_due", Job.due_at, where="status = 'waiting' AND due_at IS NOT NULL")
_index("job_waiting", Job.reason, Job.task, where="status = 'waiting'")
_index("job_running", Job.daemon, where="status = 'running'")
_index("job_dead", Job.id, where="status = 'dead'")
_index("job_cancelled", Job.id, where="status = 'cancelled'")
_index("job_key", Job.client, Job.key, where="key IS NOT NULL", unique=True)
_index("job_run", Job.run_id, Job.stage, SQL("coalesce(record, '')"), where="run_id IS NOT NULL", unique=True)


class Attempt(_Table):
    """An attempt that is over. The one that runs is the job's own row."""

    job_id = TextField()
    attempt = IntegerField()
    outcome = TextField()
    daemon = TextField()
    started_at = IntegerField()
    ended_at = IntegerField()
    duration_ms = IntegerField(null=True)
    error = TextField(null=True)
    facts = TextField(null=True)

    class Meta:
        without_rowid = True
        primary_key = CompositeKey("job_id", "attempt")


class Event(_Table):
    """A decision about a job that its own row and its attempts do not show, with the facts it was made on."""

    id = IntegerField(primary_key=True)
    job_id = TextField(index=True)
    at = IntegerField()
    event = TextField()
    reason = TextField(null=True)
    actor = TextField()
    facts = TextField(null=True)


class Lane(_Table):
    """The open work of one client in one queue: depth without a scan, and the virtual time of its fair share."""

    queue = TextField()
    client = TextField()
    vtime = FloatField(default=0.0)
    waiting = IntegerField(default=0)
    queued = IntegerField(default=0)
    running = IntegerField(default=0)

    class Meta:
        without_rowid = True
        primary_key = CompositeKey("queue", "client")


class Tally(_Table):
    """The conservation counters, changed in the transactions of the moves."""

    queue = TextField()
    client = TextField()
    task = TextField()
    accepted = IntegerField(default=0)
    waiting = IntegerField(default=0)
    queued = IntegerField(default=0)
    running = IntegerField(default=0)
    succeeded = IntegerField(default=0)
    dead = IntegerField(default=0)
    cancelled = IntegerField(default=0)
    pruned = IntegerField(default=0)

    class Meta:
        without_rowid = True
        primary_key = CompositeKey("queue", "client", "task")


class Pause(_Table):
    """A queue that gives out no work until it is resumed."""

    queue = TextField(primary_key=True)
    at = IntegerField()
    actor = TextField()


class Step(_Table):
    """The checkpoint of a named piece of a job."""

    job_id = TextField()
    name = TextField()
    result = TextField()
    attempt = IntegerField()
    at = IntegerField()

    class Meta:
        without_rowid = True
        primary_key = CompositeKey("job_id", "name")


class Daemon(_Table):
    """A daemon that serves or served this ledger."""

    id = TextField(primary_key=True)
    pid = IntegerField()
    host = TextField()
    version = TextField()
    started_at = IntegerField()
    beat_at = IntegerField()
    stopped_at = IntegerField(null=True)


class Child(_Table):
    """A child process: on record before it gets work, until it is gone for certain."""

    pid = IntegerField()
    start_ticks = IntegerField()
    pgid = IntegerField()
    daemon = TextField()
    queue = TextField()

    class Meta:
        primary_key = CompositeKey("pid", "start_ticks")


class Token(_Table):
    """An API token; only the SHA-256 of its text is kept."""

    id = TextField(primary_key=True)
    name = TextField()
    role = TextField()
    client = TextField(null=True)
    hash = TextField(unique=True)
    created_at = IntegerField()
    expires_at = IntegerField(null=True)
    revoked_at = IntegerField(null=True)


class Meta(_Table):
    """Facts about the ledger itself: its id, the id of the newest row of a kind."""

    key = TextField(primary_key=True)
    value = TextField()


TABLES: Final = (Job, Attempt, Event, Lane, Tally, Pause, Step, Daemon, Child, Token, Meta)
