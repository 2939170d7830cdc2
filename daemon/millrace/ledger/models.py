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
_index("job_undone", Job.run_id, where="run_id IS NOT NULL AND status IN ('dead', 'cancelled')")
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


class Audit(_Table):
    """Who did what; each row's hash covers the row before it. See `audit`."""

    id = IntegerField(primary_key=True)
    at = IntegerField()
    actor = TextField()
    action = TextField()
    subject = TextField()
    facts = TextField()
    hash = TextField()


class Plan(_Table):
    """The graph that runs follow, by its hash."""

    id = TextField(primary_key=True)
    pipeline = TextField()
    text = TextField()
    created_at = IntegerField()

    class Meta:
        without_rowid = True


class Run(_Table):
    """One execution of a pipeline."""

    id = TextField(primary_key=True)
    pipeline = TextField()
    plan = TextField()
    client = TextField()
    status = TextField()
    inputs = TextField()
    inputs_hash = TextField()
    priority = IntegerField()
    key = TextField(null=True)
    source_kind = TextField()
    source_name = TextField()
    correlation_id = TextField()
    edition = IntegerField(default=1)
    created_at = IntegerField()
    finished_at = IntegerField(null=True)
    cancel_by = TextField(null=True)
    cancel_at = TextField(null=True)  # how far its jobs are cancelled: stage and record, while that goes on
    resume_by = TextField(null=True)  # who had its jobs put back, while that goes on
    resume_at = TextField(null=True)  # what had ended by when is put back, after which job, while that goes on

    class Meta:
        without_rowid = True
        constraints = (
            Check("status IN ('running', 'succeeded', 'partial', 'failed', 'cancelled')"),
            Check("(status = 'running') = (finished_at IS NULL)"),
        )


Run.add_index(Run.index(Run.client, Run.key, unique=True, where=SQL("key IS NOT NULL"), name="run_key"))
Run.add_index(Run.index(Run.id, where=SQL("status = 'running'"), name="run_open"))
Run.add_index(Run.index(Run.id, where=SQL("cancel_at IS NOT NULL"), name="run_cancel"))
Run.add_index(Run.index(Run.id, where=SQL("resume_at IS NOT NULL"), name="run_resume"))


class RunCount(_Table):
    """The jobs of one stage of a run, by status, and its edition; changed in the transactions of the moves."""

    run_id = TextField()
    stage = TextField()
    edition = IntegerField(default=1)
    waiting = IntegerField(default=0)
    queued = IntegerField(default=0)
    running = IntegerField(default=0)
    succeeded = IntegerField(default=0)
    dead = IntegerField(default=0)
    cancelled = IntegerField(default=0)
    skipped = IntegerField(default=0)

    class Meta:
        without_rowid = True
        primary_key = CompositeKey("run_id", "stage")


class Fanout(_Table):
    """How far a fan-out of a run has come: items taken from its source, their hash chain, and the good ones."""

    id = IntegerField(primary_key=True)
    run_id = TextField()
    stage = TextField()
    position = IntegerField(default=0)
    chain = TextField(default="")
    records = IntegerField(default=0)


Fanout.add_index(Fanout.index(Fanout.run_id, Fanout.stage, unique=True, name="fanout_run"))


class Record(_Table):
    """One good item of a fan-out, under its number from 1."""

    fanout = IntegerField()
    number = IntegerField()
    item = TextField()

    class Meta:
        without_rowid = True
        primary_key = CompositeKey("fanout", "number")


class Skip(_Table):
    """A stage that was passed by, for a record or (`record` below 0: minus its edition) for the run as a whole."""

    run_id = TextField()
    stage = TextField()
    record = IntegerField()

    class Meta:
        without_rowid = True
        primary_key = CompositeKey("run_id", "stage", "record")


class Progress(_Table):
    """How far a running job says it is."""

    job_id = TextField(primary_key=True)
    done = IntegerField()
    total = IntegerField(null=True)
    started_at = IntegerField()
    at = IntegerField()

    class Meta:
        without_rowid = True


class Schedule(_Table):
    """How far a schedule is decided, by its key, and whether somebody has paused it."""

    key = TextField(primary_key=True)
    fingerprint = TextField()
    last = IntegerField()  # the latest due time that was decided, or since when it is there as it is
    paused_at = IntegerField(null=True)
    paused_by = TextField(null=True)

    class Meta:
        without_rowid = True
        constraints = (Check("(paused_at IS NULL) = (paused_by IS NULL)"),)


class Fire(_Table):
    """A due time that has passed, and what became of it; also what people fired by hand, or made up for."""

    key = TextField()
    due_at = IntegerField()
    how = TextField()
    schedule = TextField()
    client = TextField()
    outcome = TextField()
    why = TextField()
    since = IntegerField()  # of one that stands for several: the first of them
    count = IntegerField()
    state = TextField()  # none: nothing runs; pending: waits for the one before; open: runs; over: was seen to be over
    decided_at = IntegerField()
    expected_by = IntegerField(null=True)
    job_id = TextField(null=True)
    run_id = TextField(null=True)

    class Meta:
        without_rowid = True
        primary_key = CompositeKey("key", "due_at", "how")
        constraints = (
            Check("how IN ('clock', 'hand', 'backfill')"),
            Check("outcome IN ('on_time', 'late', 'missed', 'skipped')"),
            Check("state IN ('none', 'pending', 'open', 'over')"),
            Check("(state IN ('open', 'over')) = (job_id IS NOT NULL OR run_id IS NOT NULL)"),
        )


Fire.add_index(Fire.index(Fire.due_at, name="fire_due"))
Fire.add_index(
    Fire.index(Fire.key, Fire.state, Fire.how, Fire.due_at, where=SQL("state IN ('pending', 'open')"), name="fire_open")
)


class Effect(_Table):
    """Something that a job does to the outside world. See `effects`."""

    client = TextField()
    key = TextField()
    status = TextField()
    call = TextField(null=True)
    result = TextField(null=True)
    error = TextField(null=True)
    job_id = TextField()  # whose attempt wrote the intent, or took over what was in doubt
    attempt = IntegerField()
    at = IntegerField()
    ended_at = IntegerField(null=True)
    doubt_at = IntegerField(null=True)
    told_at = IntegerField(null=True)  # since when it waits for a person
    settled_by = TextField(null=True)

    class Meta:
        without_rowid = True
        primary_key = CompositeKey("client", "key")
        constraints = (
            Check("status IN ('begun', 'doubt', 'done', 'not_done')"),
            Check("status <> 'done' OR result IS NOT NULL OR error IS NOT NULL"),
        )


Effect.add_index(Effect.index(Effect.told_at, where=SQL("status IN ('begun', 'doubt')"), name="effect_open"))
Effect.add_index(Effect.index(Effect.job_id, name="effect_job"))
Effect.add_index(Effect.index(Effect.at, name="effect_at"))


class EffectWait(_Table):
    """A job that goes on when an effect is settled."""

    job_id = TextField()
    client = TextField()
    key = TextField()

    class Meta:
        without_rowid = True
        primary_key = CompositeKey("job_id", "client", "key")


EffectWait.add_index(EffectWait.index(EffectWait.client, EffectWait.key, name="effect_wait_key"))


class Meta(_Table):
    """Facts about the ledger itself: its id, the id of the newest row of a kind."""

    key = TextField(primary_key=True)
    value = TextField()


class Blob(_Table):
    """A large value that is kept in a file of this name: whose it is, so that it goes with its row."""

    name = TextField(primary_key=True)
    owner = TextField()  # a job, a run, or an effect
    client = TextField()
    bytes = IntegerField()
    hash = TextField()

    class Meta:
        without_rowid = True


Blob.add_index(Blob.index(Blob.owner, name="blob_owner"))


# What version 2 added.
IN_2: Final = (Plan, Run, RunCount, Fanout, Record, Skip, Progress, Audit, Schedule, Fire, Effect, EffectWait)
IN_3: Final = (Blob,)
TABLES: Final = (Job, Attempt, Event, Lane, Tally, Pause, Step, Daemon, Child, Token, Meta, *IN_2, *IN_3)
