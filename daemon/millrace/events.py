"""
One frozen class per fact. Logic emits them and goes on; `observe` turns them into logs and metrics. The name of an
event is dotted and fixed (`EVENT`), its facts are its fields, and a unit stands in the field's name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Event:
    """A fact."""

    EVENT: ClassVar[str] = ""
    LEVEL: ClassVar[str] = "info"


Emit = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """Emit into nothing: for commands and tests that nobody watches."""


@dataclass(frozen=True, slots=True)
class DaemonStarted(Event):
    """The daemon is ready for work."""

    EVENT: ClassVar[str] = "daemon.started"
    version: str
    pid: int
    daemon: str
    took_s: float


@dataclass(frozen=True, slots=True)
class DaemonStopping(Event):
    """The daemon was told to stop; running jobs are drained for `drain_s` at most, then handed back."""

    EVENT: ClassVar[str] = "daemon.stopping"
    why: str
    drain_s: float


@dataclass(frozen=True, slots=True)
class DaemonStopped(Event):
    """The daemon has let go of the ledger."""

    EVENT: ClassVar[str] = "daemon.stopped"
    released: int


@dataclass(frozen=True, slots=True)
class SignOffFailed(Event):
    """The ledger did not take the daemon's last word; what it had in hand is taken back at the next start."""

    EVENT: ClassVar[str] = "daemon.sign_off_failed"
    LEVEL: ClassVar[str] = "warning"
    reason: str


@dataclass(frozen=True, slots=True)
class DaemonFailed(Event):
    """A part that the daemon cannot do without has failed; the process exits."""

    EVENT: ClassVar[str] = "daemon.failed"
    LEVEL: ClassVar[str] = "critical"
    part: str
    reason: str


@dataclass(frozen=True, slots=True)
class SettingsReloaded(Event):
    """
    New settings hold. Each list names keys, joined by commas: what was applied, what holds after the next start, and
    the job files that were changed since this daemon read them.
    """

    EVENT: ClassVar[str] = "settings.reloaded"
    why: str
    applied: str
    at_next_start: str
    jobs_changed: str


@dataclass(frozen=True, slots=True)
class SettingsRefused(Event):
    """The new settings are wrong; the old ones hold."""

    EVENT: ClassVar[str] = "settings.refused"
    LEVEL: ClassVar[str] = "error"
    why: str
    reason: str


@dataclass(frozen=True, slots=True)
class StateDumped(Event):
    """What the daemon does at this moment, for whoever sent USR1. `running` names jobs and how long they run."""

    EVENT: ClassVar[str] = "daemon.state"
    pools: str
    running: str
    turns: str
    threads: str


@dataclass(frozen=True, slots=True)
class AttemptsRecovered(Event):
    """Attempts of a daemon that died were taken back."""

    EVENT: ClassVar[str] = "daemon.recovered"
    LEVEL: ClassVar[str] = "warning"
    released: int
    stopped: int
    processes_killed: int


@dataclass(frozen=True, slots=True)
class JobFileBroken(Event):
    """A file of the site's jobs did not load; the others did."""

    EVENT: ClassVar[str] = "jobs.broken"
    LEVEL: ClassVar[str] = "error"
    file: str
    line: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class JobsAccepted(Event):
    """Jobs are in the ledger, on disk."""

    EVENT: ClassVar[str] = "job.accepted"
    LEVEL: ClassVar[str] = "debug"
    task: str
    queue: str
    client: str
    source: str
    count: int
    job_id: str


@dataclass(frozen=True, slots=True)
class SubmitRefused(Event):
    """A submission was turned away before anything was written."""

    EVENT: ClassVar[str] = "job.refused"
    LEVEL: ClassVar[str] = "warning"
    task: str
    problem: str
    reason: str


@dataclass(frozen=True, slots=True)
class AttemptStarted(Event):
    """A claimed job is about to run."""

    EVENT: ClassVar[str] = "job.started"
    LEVEL: ClassVar[str] = "debug"
    job_id: str
    task: str
    queue: str
    client: str
    attempt: int
    waited_s: float
    correlation_id: str


@dataclass(frozen=True, slots=True)
class AttemptEnded(Event):
    """
    An attempt is over and its outcome is in the ledger.

    `outcome` is the attempt's outcome (`succeeded retried gave_up parked released stopped`), `status` the job's now.
    """

    EVENT: ClassVar[str] = "job.ended"
    job_id: str
    task: str
    queue: str
    client: str
    attempt: int
    outcome: str
    status: str
    reason: str | None
    error: str | None
    duration_s: float
    correlation_id: str


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """A run of a pipeline is in the ledger, on disk, with the plan that it will follow."""

    EVENT: ClassVar[str] = "run.started"
    run_id: str
    pipeline: str
    client: str
    source: str
    correlation_id: str


@dataclass(frozen=True, slots=True)
class RunEnded(Event):
    """
    Nothing of a run is open any more, and nothing more can come of it. `status` is what it came to: `succeeded`,
    `partial`, `failed` or `cancelled`.

    A run that is resumed ends again, with the next `edition` where a collect was made anew.
    """

    EVENT: ClassVar[str] = "run.ended"
    run_id: str
    pipeline: str
    client: str
    status: str
    edition: int
    duration_s: float
    correlation_id: str


@dataclass(frozen=True, slots=True)
class ResultDropped(Event):
    """An attempt ended after another had taken the job over; what it brought was dropped."""

    EVENT: ClassVar[str] = "job.result_dropped"
    LEVEL: ClassVar[str] = "warning"
    job_id: str
    attempt: int
    outcome: str


@dataclass(frozen=True, slots=True)
class OutcomeRefused(Event):
    """
    An attempt has ended, and the ledger could not take what became of it: it is offered again each second, and not run
    again. Told once for each kind of error, until all outcomes are written.
    """

    EVENT: ClassVar[str] = "job.outcome_refused"
    LEVEL: ClassVar[str] = "error"
    job_id: str
    attempt: int
    outcome: str
    error: str


@dataclass(frozen=True, slots=True)
class JobLogged(Event):
    """A line that a job wrote (`log`, or its standard output)."""

    EVENT: ClassVar[str] = "job.log"
    job_id: str
    task: str
    attempt: int
    level: str
    message: str
    correlation_id: str


@dataclass(frozen=True, slots=True)
class ChildStarted(Event):
    """A child process is ready for jobs."""

    EVENT: ClassVar[str] = "child.started"
    LEVEL: ClassVar[str] = "debug"
    queue: str
    pid: int
    took_s: float


@dataclass(frozen=True, slots=True)
class ChildEnded(Event):
    """A child process is gone; `why` is one of `idle crashed timeout cancelled shutdown memory`."""

    EVENT: ClassVar[str] = "child.ended"
    LEVEL: ClassVar[str] = "debug"
    queue: str
    pid: int
    why: str
    status: str
    descendants_killed: int


@dataclass(frozen=True, slots=True)
class ThreadStuck(Event):
    """A job in a thread queue ignores its deadline; its slot was replaced, the job stays running."""

    EVENT: ClassVar[str] = "thread.stuck"
    LEVEL: ClassVar[str] = "warning"
    queue: str
    job_id: str
    task: str
    over_s: float


@dataclass(frozen=True, slots=True)
class PoolResized(Event):
    """The claim limit of a queue changed with its backlog."""

    EVENT: ClassVar[str] = "pool.resized"
    LEVEL: ClassVar[str] = "debug"
    queue: str
    workers: int
    why: str


@dataclass(frozen=True, slots=True)
class ClaimsFailed(Event):
    """Nothing of a queue can be claimed; it is tried again all the time."""

    EVENT: ClassVar[str] = "queue.claims_failed"
    LEVEL: ClassVar[str] = "error"
    queue: str
    reason: str


@dataclass(frozen=True, slots=True)
class LedgerMade(Event):
    """
    A new, empty ledger was made where there was none. At the first start of a site that is as it should be; later it
    says that the state folder is not the one that it was: moved, or on a disk that is not mounted.
    """

    EVENT: ClassVar[str] = "ledger.made"
    file: str


@dataclass(frozen=True, slots=True)
class LedgerLocked(Event):
    """Another process keeps the write lock; writes wait, nothing is lost."""

    EVENT: ClassVar[str] = "ledger.locked"
    LEVEL: ClassVar[str] = "warning"
    waited_s: float


@dataclass(frozen=True, slots=True)
class PartRestarted(Event):
    """A part of the daemon failed, or had died: it is tried or started again. Told once for each reason in a row."""

    EVENT: ClassVar[str] = "daemon.part_restarted"
    LEVEL: ClassVar[str] = "error"
    part: str
    reason: str


@dataclass(frozen=True, slots=True)
class WebStarted(Event):
    """The HTTP interface listens."""

    EVENT: ClassVar[str] = "web.started"
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class RequestFailed(Event):
    """A request ended in an error that is a bug; the caller was told no more than that."""

    EVENT: ClassVar[str] = "web.request_failed"
    LEVEL: ClassVar[str] = "error"
    method: str
    path: str
    error: str
    traceback: str


@dataclass(frozen=True, slots=True)
class TokenMade(Event):
    """A fresh site got its first token; its text stands in the file alone."""

    EVENT: ClassVar[str] = "token.first"
    file: str


@dataclass(frozen=True, slots=True)
class ConservationBroken(Event):
    """
    Jobs that were accepted are not accounted for, or counters and rows differ. `ids` are those that something is left
    of, each with what that is; empty where nothing is.
    """

    EVENT: ClassVar[str] = "conservation.broken"
    LEVEL: ClassVar[str] = "critical"
    difference: int
    details: str
    ids: str


@dataclass(frozen=True, slots=True)
class OrphansFound(Event):
    """Jobs or runs would never have gone on by themselves; `mended` of them go on or are parked with their reason."""

    EVENT: ClassVar[str] = "conservation.orphans"
    LEVEL: ClassVar[str] = "error"
    count: int
    mended: int
    kinds: str
    details: str


@dataclass(frozen=True, slots=True)
class SubscriberFailed(Event):
    """Something that listens to events failed at one; the others heard it. `times` counts its failures."""

    EVENT: ClassVar[str] = "observe.subscriber_failed"
    LEVEL: ClassVar[str] = "error"
    subscriber: str
    during: str
    error: str
    times: int


@dataclass(frozen=True, slots=True)
class LibraryLogged(Event):
    """A library had something to say."""

    EVENT: ClassVar[str] = "library.log"
    library: str
    level: str
    message: str


@dataclass(frozen=True, slots=True)
class LinesDropped(Event):
    """More was logged than could be written; so many lines are missing."""

    EVENT: ClassVar[str] = "log.dropped"
    LEVEL: ClassVar[str] = "warning"
    lines: int


@dataclass(frozen=True, slots=True)
class ClockJumped(Event):
    """The wall clock was set, or the machine slept: it moved by so many seconds against the time that passed."""

    EVENT: ClassVar[str] = "clock.jumped"
    LEVEL: ClassVar[str] = "warning"
    by_s: float


@dataclass(frozen=True, slots=True)
class FireFailed(Event):
    """A schedule was due and could not be fired; it is tried again."""

    EVENT: ClassVar[str] = "schedule.fire_failed"
    LEVEL: ClassVar[str] = "error"
    schedule: str
    error: str


@dataclass(frozen=True, slots=True)
class ScheduleFired(Event):
    """What a schedule wants is submitted: `late_s` after its time, as the job or the run `work_id`."""

    EVENT: ClassVar[str] = "schedule.fired"
    schedule: str
    outcome: str
    late_s: float
    work_id: str


@dataclass(frozen=True, slots=True)
class ScheduleMissed(Event):
    """So many times of a schedule have passed, and what it wants was not submitted."""

    EVENT: ClassVar[str] = "schedule.missed"
    LEVEL: ClassVar[str] = "warning"
    schedule: str
    count: int
    why: str


@dataclass(frozen=True, slots=True)
class SchedulePassedOver(Event):
    """So many times of a schedule were left out, as somebody decided: it is paused, or the run before is not over."""

    EVENT: ClassVar[str] = "schedule.skipped"
    schedule: str
    count: int
    why: str


@dataclass(frozen=True, slots=True)
class SchedulesSetBack(Event):
    """So many schedules were decided up to `ahead_s` further than the clock is: it was ahead. They go on from now."""

    EVENT: ClassVar[str] = "schedule.set_back"
    LEVEL: ClassVar[str] = "warning"
    count: int
    ahead_s: float


@dataclass(frozen=True, slots=True)
class ScheduleProblem(Event):
    """A schedule cannot run as it is: each of its times is missed until that is put right. The others run."""

    EVENT: ClassVar[str] = "schedule.problem"
    LEVEL: ClassVar[str] = "error"
    schedule: str
    reason: str


@dataclass(frozen=True, slots=True)
class BackupDone(Event):
    """
    A backup is on disk, whole and checked.

    `jobs` is how many the ledger ever accepted, `difference` how many of them it does not account for.
    """

    EVENT: ClassVar[str] = "backup.done"
    file: str
    bytes: int
    jobs: int
    difference: int
    took_s: float


@dataclass(frozen=True, slots=True)
class BackupFlawed(Event):
    """
    A backup was made of a ledger that is not whole: a row of its audit log was changed, removed or put in, files of
    large values are missing or damaged, or jobs are not accounted for.

    All else is in it, and the newest backup without a flaw is kept beside the others, however old. `millrace doctor`
    names the row, the values and the jobs that they belong to, or the jobs.
    """

    EVENT: ClassVar[str] = "backup.flawed"
    LEVEL: ClassVar[str] = "error"
    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class BackupFailed(Event):
    """A backup could not be made; it is tried again. Those that were made before are as they were."""

    EVENT: ClassVar[str] = "backup.failed"
    LEVEL: ClassVar[str] = "error"
    reason: str


@dataclass(frozen=True, slots=True)
class RestoreTested(Event):
    """The newest backup was unpacked into a scratch folder, and all of it is there and agrees."""

    EVENT: ClassVar[str] = "backup.restore_tested"
    file: str
    jobs: int
    took_s: float


@dataclass(frozen=True, slots=True)
class RestoreTestFailed(Event):
    """The newest backup was unpacked into a scratch folder, and could not be relied on."""

    EVENT: ClassVar[str] = "backup.restore_test_failed"
    LEVEL: ClassVar[str] = "error"
    file: str
    reason: str


@dataclass(frozen=True, slots=True)
class EffectInDoubt(Event):
    """Nobody here knows whether an effect was done, and no job will find out: a person has to. Told once an effect."""

    EVENT: ClassVar[str] = "effect.in_doubt"
    LEVEL: ClassVar[str] = "error"
    client: str
    key: str
    job_id: str


@dataclass(frozen=True, slots=True)
class Pruned(Event):
    """
    What was old was removed, see `[retention]`. `jobs` counts those of the runs too; `early` is how many of them went
    before their time, because the ledger was larger than `max_size`. `stray_files` were written for large values that
    never came to be accepted: their process was killed before.
    """

    EVENT: ClassVar[str] = "ledger.pruned"
    jobs: int
    runs: int
    audit_rows: int
    early: int
    took_s: float
    stray_files: int = 0


@dataclass(frozen=True, slots=True)
class FilesMissing(Event):
    """
    Files of large values are gone, or cut short, which the ledger has: somebody or something has removed them. What
    needs one of them will die as damaged. `details` names the first of them, and whose they are.
    """

    EVENT: ClassVar[str] = "ledger.files_missing"
    LEVEL: ClassVar[str] = "error"
    count: int
    details: str


@dataclass(frozen=True, slots=True)
class LedgerOverBudget(Event):
    """The ledger is larger than `[retention] max_size`, and nothing in it may be removed for that."""

    EVENT: ClassVar[str] = "ledger.over_budget"
    LEVEL: ClassVar[str] = "warning"
    used_bytes: int
    max_bytes: int


@dataclass(frozen=True, slots=True)
class IntakeStopped(Event):
    """The disk is nearly full: no work is taken in from outside, what was accepted goes on."""

    EVENT: ClassVar[str] = "storage.intake_stopped"
    LEVEL: ClassVar[str] = "error"
    reason: str


@dataclass(frozen=True, slots=True)
class IntakeResumed(Event):
    """There is room again, and work is taken in, after so many seconds."""

    EVENT: ClassVar[str] = "storage.intake_resumed"
    after_s: float


@dataclass(frozen=True, slots=True)
class LogPinned(Event):
    """The ledger's write-ahead log grows beyond its bound: a reader that stays for long keeps it from being cut."""

    EVENT: ClassVar[str] = "storage.log_pinned"
    LEVEL: ClassVar[str] = "warning"
    wal_bytes: int
    held_by: str


@dataclass(frozen=True, slots=True)
class LogSetAside(Event):
    """The log of a ledger that was removed or replaced is kept here, away from the file that took its place."""

    EVENT: ClassVar[str] = "storage.log_set_aside"
    LEVEL: ClassVar[str] = "error"
    file: str


@dataclass(frozen=True, slots=True)
class DiskFullSoon(Event):
    """As the ledger grew in the last days, in so many no work will be taken in any more. Told once a day."""

    EVENT: ClassVar[str] = "storage.full_soon"
    LEVEL: ClassVar[str] = "warning"
    days: float
