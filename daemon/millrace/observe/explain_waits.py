"""Why a job waits or is queued, until when, and what would let it go on. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from millrace.errors import PayloadError
from millrace.ledger.place import MOST
from millrace.observe.explain import NO_DAEMON, START, Because, Change, clock_time, lasted, many
from millrace.observe.explain_disk import MAKE_ROOM
from millrace.observe.explain_past import waits_for

if TYPE_CHECKING:
    from millrace.ledger.place import Place, Standing
    from millrace.ledger.rows import JobRow
    from millrace.observe.explain import Around

# Waits that end without anybody: at a time, or when what they wait for has happened.
_BY_ITSELF: Final = {
    "backoff": "It is tried again by itself. If that is not wanted:",
    "due": "It starts by itself then; if it is not wanted any more:",
    "limit": "It goes on by itself as soon as there is room. If that is not wanted:",
    "breaker": "It goes on by itself when the service answers again. If that is not wanted:",
    "rate": "It goes on by itself when the service takes calls again. If that is not wanted:",
}


class Told(NamedTuple):
    """Part of an explanation: the code that decides, the sentences about now, and the cures."""

    code: str
    because: list[Because]
    change: list[Change]


class Pause(NamedTuple):
    """Why a fan-out pauses: so many jobs of its records are open, it goes on below half of the bound."""

    open: int
    bound: int


def waiting(job: JobRow, around: Around, pause: Pause | None) -> Told:
    """Return why a job waits."""
    reason = job.reason or ""
    if reason == "payload" and around.knows is not None and not around.knows(job.task):
        reason = "unknown_task"  # it did not fit when it was looked at last, and since then its task is gone
    kind = reason.partition(":")[0]
    until = f", until {clock_time(job.due_at)}" if job.due_at is not None else ""
    text = f"It waits {waits_for(reason)}{until}{_failed_so_far(job)}."
    if kind == "limit" and pause is not None:
        text = (
            f"It pauses: {many(pause.open, 'job')} of its records are open, and it goes on when fewer than "
            f"{pause.bound // 2:,} are."
        )
    if kind == "payload" and job.error is not None and job.error.type == PayloadError.__name__:
        text = f"{text[:-1]}: {job.error.message}."
    because = [Because(None, f"waiting.{kind}", text)]
    late_ms = around.now_ms - job.due_at if job.due_at is not None else 0
    if not around.served:
        because.append(NO_DAEMON)
    elif late_ms > _LATE_MS:
        because.append(Because(job.due_at, "overdue", f"Its time came {lasted(late_ms)} ago: the daemon is behind."))
        if around.full is not None:
            return Told("disk_full", [around.full.because(), *because], [MAKE_ROOM, *_cures(job, kind)])
    return Told(f"waiting.{kind}", because, [*_start(around), *_cures(job, kind)])


_LATE_MS: Final = 5000
_TASKS: Final = "millrace tasks list"


def _failed_so_far(job: JobRow) -> str:
    if job.reason != "backoff":
        return ""
    return f": {job.failures} of the {job.max_attempts} failures that it may have are used up"


def _start(around: Around) -> list[Change]:
    return [] if around.served else [START]


def _cures(job: JobRow, kind: str) -> list[Change]:
    cancel = f"millrace jobs cancel {job.id}"
    match kind:
        case "unknown_task":
            return [
                Change(
                    f"If {job.task} is in the site's job files, start the daemon anew: it reads them when it starts."
                ),
                Change("If it is not there, or did not load, put that right before; see what loads:", _TASKS),
                Change("Or, if the task is gone for good:", cancel),
            ]
        case "payload":
            return [
                Change(f"If {job.task} takes it by now, start the daemon anew: it reads job files when it starts."),
                Change(f"If it does not, let {job.task} take it again before."),
                Change("Or cancel it, and submit one that fits:", cancel),
            ]
        case "paused":
            return [Change("Let the queue give out work again:", f"millrace queues resume {job.queue}")]
        case "upstream":
            return [Change("See what its run waits for:", f"millrace explain {job.run_id or job.id}")]
        case "doubt":
            return [
                Change("Say whether its work was done:", "millrace effects list"),
                Change("Or give it up:", cancel),
            ]
        case _:
            now = [Change("To try it now:", f"millrace jobs retry {job.id}")] if kind == "backoff" else []
            return [
                *now,
                Change(_BY_ITSELF.get(kind, "It goes on once that is there. If it is not wanted any more:"), cancel),
            ]


def queued(job: JobRow, around: Around, line: Standing, place: Place) -> Told:
    """Return why a job that could run has not been claimed, what decides first."""
    settings = around.queues.get(job.queue) if around.queues is not None else None
    because: list[Because] = []
    change: list[Change] = _start(around)
    if around.full is not None:
        because.append(around.full.because())
        change.insert(0, MAKE_ROOM)
    if line.paused_at is not None:
        text = f"Its queue {job.queue} was paused by {line.paused_by}."
        because.append(Because(line.paused_at, "queued.paused", text))
        change.append(Change("Let the queue give out work again:", f"millrace queues resume {job.queue}"))
    if around.queues is not None and settings is None:
        text = f"config.toml has no queue {job.queue}, so that it has no workers."
        because.append(Because(None, "queued.no_workers", text))
        change.append(Change(f"Put [queues.{job.queue}] back into config.toml, and start the daemon anew."))
    if not around.served:
        because.append(NO_DAEMON)
    because += _line(job, line, place)
    if settings is not None and line.running >= settings.max_workers:
        because.append(_full(line, settings.max_workers))
        if around.full is None:  # else more workers would only have more to write
            change.append(
                Change(
                    f"Give the queue more workers: [queues.{job.queue}] workers in config.toml, then:",
                    "millrace reload",
                )
            )
        change.append(Change("See what runs:", f"millrace jobs list --status running --queue {job.queue}"))
    if not because:
        because.append(Because(job.queued_at, "queued.next", "It is next: the daemon claims it at any moment."))
    return Told(because[0].code, because, change)


def _line(job: JobRow, line: Standing, place: Place) -> list[Because]:
    told = []
    if place.higher:
        text = f"Before it in its line, with a higher priority than its {job.priority}: {_count(place.higher)}."
        told.append(Because(job.queued_at, "queued.behind_priority", text))
    if place.earlier:
        text = f"Before it in its line, as they came first: {_count(place.earlier)}."
        told.append(Because(job.queued_at, "queued.behind", text))
    others = [lane for lane in line.lanes if lane.client != job.client and lane.queued]
    if others:
        count = sum(lane.queued for lane in others)
        text = (
            f"In the same queue, of {many(len(others), 'other client')}: {many(count, 'job')}. Claims go round between "
            "clients, each its share."
        )
        told.append(Because(job.queued_at, "queued.behind_clients", text))
    return told


def _count(number: int) -> str:
    return f"more than {MOST:,} jobs" if number >= MOST else many(number, "job")


def _full(line: Standing, workers: int) -> Because:
    text = f"All {many(workers, 'worker')} of the queue are taken"
    if line.longest is not None:
        job_id, task, since = line.longest
        return Because(since, "queued.limit", f"{text}; job {job_id} ({task}) has run the longest.")
    return Because(None, "queued.limit", f"{text}.")


def facts_of(line: Standing, place: Place | None) -> dict[str, Any]:
    """Return the figures of a queue that an explanation was made of."""
    facts: dict[str, Any] = {
        "paused_by": line.paused_by,
        "running": line.running,
        "queued": line.queued,
        "waiting": line.waiting,
        "clients": {lane.client: {"queued": lane.queued, "running": lane.running} for lane in line.lanes},
    }
    return {**facts, "ahead": place._asdict()} if place is not None else facts
