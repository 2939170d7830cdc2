"""Why a job is where it is: what happened to it, what holds now, and what would change that. Pure."""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Any, NamedTuple

from millrace.ledger.rows import DEFAULT_CLIENT
from millrace.ledger.states import Status
from millrace.observe.explain import START, Around, Because, Change, Explanation, lasted, many
from millrace.observe.explain_dead import dead
from millrace.observe.explain_disk import MAKE_ROOM
from millrace.observe.explain_past import past
from millrace.observe.explain_waits import Told, facts_of, queued, waiting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from millrace.ledger.place import Place, Standing
    from millrace.ledger.rows import AttemptRow, EventRow, JobRow, ProgressRow
    from millrace.observe.explain_disk import Unrecorded
    from millrace.observe.explain_waits import Pause


class JobFacts(NamedTuple):
    """
    What the ledger says of a job.

    Args:
        line, place: Its queue, and where it stands in it, while it is queued.
        stuck: Since when its time is up (UTC epoch ms), if it runs on in a thread all the same.
        doubts: The keys of its effects that are in doubt, when it is dead or waits for a person.
        pause: Why it pauses, if it is a fan-out that does.
    """

    job: JobRow
    attempts: Sequence[AttemptRow]
    events: Sequence[EventRow]
    line: Standing | None = None
    place: Place | None = None
    pause: Pause | None = None
    progress: ProgressRow | None = None
    doubts: Sequence[str] = ()
    stuck: int | None = None


def explain_job(known: JobFacts, around: Around) -> Explanation:
    """Return why a job is where it is."""
    job = known.job
    told = _with_doubts(_now(known, around), known)
    facts: dict[str, Any] = {
        "reason": job.reason,
        "attempt": job.attempt,
        "failures": job.failures,
        "max_attempts": job.max_attempts,
        "crashes": job.crashes,
        "daemon_running": around.served,
        "attempts": [one.as_json() for one in known.attempts],
    }
    if around.disk is not None:
        facts["disk"] = around.disk.as_json()
        if (lost := around.disk.unrecorded.get(job.id)) is not None:
            facts["unrecorded"] = lost._asdict()
    if known.line is not None:
        facts["queue"] = facts_of(known.line, known.place)
    if known.pause is not None:
        facts["pause"] = known.pause._asdict()
    because = [*past(job, known.attempts, known.events), *told.because]
    return Explanation("job", job.id, job.task, job.status, told.code, because, told.change, facts)


def _now(known: JobFacts, around: Around) -> Told:
    job = known.job
    match job.status:
        case Status.WAITING:
            return waiting(job, around, known.pause)
        case Status.QUEUED if known.line is not None and known.place is not None:
            return queued(job, around, known.line, known.place)
        case Status.RUNNING:
            return _running(known, around)
        case Status.DEAD:
            return dead(job, known.attempts, known.events)
        case Status.SUCCEEDED:
            return _succeeded(known)
        case _:
            return _cancelled(known)


def _with_doubts(told: Told, known: JobFacts) -> Told:
    """Add the effects of which nobody knows whether they were done: to put the job back does not settle them."""
    if not known.doubts:
        return told
    whose = "" if known.job.client == DEFAULT_CLIENT else f" --client {known.job.client}"
    because = [
        Because(None, "effect.doubt", f'Its effect "{key}" is in doubt: begun, and nobody knows whether it was done.')
        for key in known.doubts
    ]
    ask = "Ask the other side whether it was done, and say so, with what it returned as JSON; or --not-done:"
    settle = [Change(ask, f"millrace effects settle {quote(key)} --done{whose}") for key in known.doubts]
    return Told(told.code, [*told.because, *because], [*settle, *told.change])


def _running(known: JobFacts, around: Around) -> Told:
    job = known.job
    if not around.served:
        text = f"Attempt {job.attempt} was cut off: no daemon runs. The next start takes the job back, at no cost."
        return Told("running.cut_off", [Because(job.started_at, "running.cut_off", text)], [START])
    if around.disk is not None and (ended := around.disk.unrecorded.get(job.id)) is not None:
        return _unrecorded(job, ended, around)
    cancel = Change("If it should not go on:", f"millrace jobs cancel {job.id}")
    since = around.now_ms - (job.started_at or around.now_ms)
    text = f"Attempt {job.attempt} has run for {lasted(since)}{_far(known.progress)}."
    if known.stuck is not None:
        return _stuck(job, text, known.stuck, around)
    if job.cancel_requested:
        told = Because(job.started_at, "running.cancelling", f"{text} Its end was asked for: it stops soon.")
        return Told("running.cancelling", [told], [])
    told = Because(job.started_at, "running", text)
    if around.full is not None:
        return Told("disk_full", [around.full.because(), told], [MAKE_ROOM, cancel])
    return Told("running", [told], [cancel])


def _unrecorded(job: JobRow, ended: Unrecorded, around: Around) -> Told:
    """Tell of an attempt that is over, though its job is running by the ledger."""
    text = (
        f"Attempt {ended.attempt} has ended, and the ledger does not take what it came to: {ended.why.rstrip('.')}. "
        "The daemon keeps it, and offers it again every second. If the daemon ends before, the job runs once more."
    )
    told = Because(job.started_at, "running.unrecorded", text)
    if around.full is not None:
        return Told("disk_full", [around.full.because(), told], [MAKE_ROOM])
    return Told("running.unrecorded", [told], [Change("See what is wrong with the ledger:", "millrace doctor")])


def _stuck(job: JobRow, text: str, since: int, around: Around) -> Told:
    over = lasted(max(0, around.now_ms - since))
    why = (
        f"Its time was up {over} ago. It runs in a thread, which can be asked to end and not be made to: another "
        "worker took its place, and the job stays running until its thread ends."
    )
    told = [Because(job.started_at, "running", text), Because(since, "running.stuck", why)]
    return Told(
        "running.stuck",
        told,
        [
            Change("Start the daemon anew: what its threads hold is taken back, and queued again."),
            Change(f'So that it can be ended next time: [queues.{job.queue}] kind = "process" in config.toml.'),
            Change("Or give what it waits for a time-out of its own, as `service` has it."),
        ],
    )


def _far(progress: ProgressRow | None) -> str:
    if progress is None:
        return ""
    of = f" of {progress.total:,}" if progress.total is not None else ""
    return f", and was at {progress.done:,}{of} when it last said so"


def _succeeded(known: JobFacts) -> Told:
    job = known.job
    if job.attempt > 1:
        text = f"It succeeded with attempt {job.attempt}: it began {many(job.attempt, 'time')}, as told above."
    else:
        text = "It succeeded."
    return Told("succeeded", [Because(job.finished_at, "succeeded", text)], [])


def _cancelled(known: JobFacts) -> Told:
    job = known.job
    last = next((one.event for one in reversed(known.events) if one.event in {"cancel", "discard"}), "cancel")
    code = "cancelled.discarded" if last == "discard" else "cancelled"
    text = "It is cancelled, and stays undone until somebody puts it back."
    return Told(code, [Because(job.finished_at, code, text)], [Change("Put it back:", f"millrace jobs retry {job.id}")])
