"""Why a run is not over, or came out short: which stage, which records, what a collect waits for. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from millrace.observe.explain import NO_DAEMON, START, Around, Because, Change, Explanation, clock_time, many
from millrace.observe.explain_dead import BAD_ITEM, is_bad_item
from millrace.observe.explain_disk import MAKE_ROOM
from millrace.observe.explain_past import waits_for
from millrace.observe.explain_waits import Pause, Told

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from millrace.ledger.net import Net
    from millrace.ledger.place import Standing
    from millrace.ledger.rows import JobRow
    from millrace.ledger.run_rows import RunRow

_OPEN: Final = ("waiting", "queued", "running")
_FEW: Final = 3


class RunFacts(NamedTuple):
    """
    What the ledger says of a run.

    Args:
        net: The graph that it follows.
        dead, waiting, running: The newest few of its jobs in these statuses.
        ender: Who asked for its end.
        paused: The queues that are paused and that stages of it stand in.
    """

    run: RunRow
    net: Net
    dead: Sequence[JobRow]
    waiting: Sequence[JobRow]
    running: Sequence[JobRow]
    ender: str | None = None
    paused: Sequence[Standing] = ()


def explain_run(known: RunFacts, around: Around) -> Explanation:
    """Return why a run is where it is."""
    run = known.run
    source = " ".join(filter(None, (run.source.kind, run.source.name)))
    because = [Because(run.created_at, "run.started", f"It was started from {source}.")]
    if run.edition > 1:
        text = f"Records were put back after it had collected: what it came to is edition {run.edition}."
        because.append(Because(None, "run.edition", text))
    told = _running(known, around) if run.status == "running" else _over(known)
    facts: dict[str, Any] = {
        "counts": run.counts,
        "records": run.records,
        "edition": run.edition,
        "cancelled_by": known.ender,
        "daemon_running": around.served,
        **({"disk": around.disk.as_json()} if around.disk is not None else {}),
        "dead": [{"id": job.id, "stage": job.stage, "record": job.record} for job in known.dead],
    }
    return Explanation(
        "run", run.id, run.pipeline, run.status, told.code, [*because, *told.because], told.change, facts
    )


# ---- a run that is not over


def _running(known: RunFacts, around: Around) -> Told:
    run = known.run
    because = [*_paused(known), *_works(known), *_waits(known), *_not_begun(known), *_lost(known)]
    change = [
        Change("Let the queue give out work again:", f"millrace queues resume {one.queue}") for one in known.paused
    ]
    if known.ender is not None:
        because.insert(0, Because(None, "run.cancelling", f"{known.ender} asked for its end: its open jobs are ended."))
    if not around.served:
        because.insert(0, NO_DAEMON)
        change.append(START)
    if around.full is not None:
        because.insert(0, around.full.because())
        change.insert(0, MAKE_ROOM)
    if not any(_open(run, name) for name in run.counts):
        text = "None of its jobs is open, and yet it has not ended: the daemon looks for that every few minutes."
        because.append(Because(None, "run.stalled", text))
        change.append(Change("Let its next step be looked for now:", f"millrace runs resume {run.id}"))
    if known.dead:
        change.append(Change("See why one died:", f"millrace explain {known.dead[0].id}"))
    change.append(Change("If it should not go on:", f"millrace runs cancel {run.id}"))
    return Told(because[0].code, because, change)


def _open(run: RunRow, name: str) -> int:
    return sum(run.counts.get(name, {}).get(status, 0) for status in _OPEN)


def _paused(known: RunFacts) -> Iterator[Because]:
    """Tell which queues give out nothing, and whose jobs stand in them."""
    for line in known.paused:
        stages = [
            name for name, node in known.net.nodes.items() if node.stage.queue == line.queue and _open(known.run, name)
        ]
        text = f"Queue {line.queue} was paused by {line.paused_by}: {', '.join(stages)} cannot go on."
        yield Because(line.paused_at, "run.queue_paused", text)


def _works(known: RunFacts) -> Iterator[Because]:
    """Tell what runs and what is queued, by stage."""
    run = known.run
    for name, counts in run.counts.items():
        parts = [f"{counts[status]:,} {status}" for status in ("running", "queued") if counts.get(status)]
        if parts:
            first = next((job for job in known.running if job.stage == name), None)
            which = f" (job {first.id})" if first is not None else ""
            code = "run.stage_running" if counts.get("running") else "run.stage_queued"
            yield Because(first.started_at if first else None, code, f"Stage {name} has {', '.join(parts)}{which}.")


def _waits(known: RunFacts) -> Iterator[Because]:
    """Tell what waits, and for what."""
    for name, counts in known.run.counts.items():
        if not counts.get("waiting"):
            continue
        pause = pause_of(known.run, known.net, name)
        jobs = [job for job in known.waiting if job.stage == name][:_FEW]
        if pause is not None and any(job.reason == "limit" for job in jobs):
            text = (
                f"Fan-out {name} pauses: {many(pause.open, 'job')} of its records are open, and it goes on when fewer "
                f"than {pause.bound // 2:,} are."
            )
            yield Because(None, "run.fanout_paused", text)
            continue
        for job in jobs:
            until = f", until {clock_time(job.due_at)}" if job.due_at is not None else ""
            of = f", record {job.record}" if job.record else ""
            text = f"Job {job.id} of stage {name}{of} waits {waits_for(job.reason or '')}{until}."
            yield Because(job.due_at, "run.stage_waiting", text)
        if counts["waiting"] > len(jobs):
            yield Because(None, "run.stage_waiting", f"In all, {many(counts['waiting'], 'job')} of {name} wait.")


def pause_of(run: RunRow, net: Net, stage: str) -> Pause | None:
    """Return how full the stages after a fan-out are; None for what is no fan-out."""
    below = net.of_fanout.get(stage)
    return Pause(sum(_open(run, node.name) for node in below), net.plan.bound) if below is not None else None


def _not_begun(known: RunFacts) -> Iterator[Because]:
    """Tell what the run's own stages wait for that have no job yet: a collect, for the records before it."""
    run, net = known.run, known.net
    for node in net.of_run:
        if any(run.counts.get(node.name, {}).values()):
            continue
        before = {name for need in node.outer for name in (net.behind[need] or (need,))}
        open_now = {name: count for name in net.nodes if name in before and (count := _open(run, name))}
        if open_now:
            what = " and ".join(f"{many(count, 'open job')} of {name}" for name, count in open_now.items())
            code = "run.collect_waits" if node.stage.kind == "collect" else "run.stage_not_begun"
            yield Because(None, code, f"Stage {node.name} waits for {what}.")


# ---- a run that is over, or has lost something


def _over(known: RunFacts) -> Told:
    run = known.run
    resume = Change("Mend the cause, then put back all that died:", f"millrace runs resume {run.id}")
    look = [Change("See why one died:", f"millrace explain {known.dead[0].id}")] if known.dead else []
    look += [Change(BAD_ITEM)] if any(map(is_bad_item, known.dead)) else []
    match run.status:
        case "failed":
            text = "It failed, as a stage of the run itself has no result."
            told = [Because(run.finished_at, "run.failed", text), *_lost(known), *_never(known)]
            return Told("run.failed", told, [*look, resume])
        case "partial":
            text = "It ended without some of its records; all that did not need them is done."
            return Told("run.partial", [Because(run.finished_at, "run.partial", text), *_lost(known)], [*look, resume])
        case "cancelled":
            text = f"It was cancelled by {known.ender or 'somebody'}. What had succeeded stays."
            again = Change("Let it go on from where it was:", f"millrace runs resume {run.id}")
            return Told("run.cancelled", [Because(run.finished_at, "run.cancelled", text)], [again])
        case _:
            return Told("run.succeeded", [Because(run.finished_at, "run.succeeded", "It succeeded.")], [])


def _lost(known: RunFacts) -> Iterator[Because]:
    """Tell which stages have dead or cancelled jobs, with the newest few."""
    for name, counts in known.run.counts.items():
        parts = [f"{counts[status]:,} {status}" for status in ("dead", "cancelled") if counts.get(status)]
        if not parts:
            continue
        jobs = [job for job in known.dead if job.stage == name][:_FEW]
        own = known.net.fanout_of(name) is None
        code = "run.stage_lost" if own else "run.records_lost"
        first = jobs[0].finished_at if jobs else None
        yield Because(first, code, f"Stage {name} has {', '.join(parts)}{_named(jobs)}.")


def _named(jobs: Sequence[JobRow]) -> str:
    names = [
        (f"record {job.record}" if job.record and not job.record.startswith("@") else f"job {job.id}")
        + (f" ({job.error.type}: {job.error.message})" if job.error else "")
        for job in jobs
    ]
    return f": {'; '.join(names)}" if names else ""


def _never(known: RunFacts) -> Iterator[Because]:
    """Tell which stages never began, as what they need has no result."""
    never = [node.name for node in known.net.of_run if not any(known.run.counts.get(node.name, {}).values())]
    if never:
        text = f"Nothing came of {', '.join(never)}, which {'needs' if len(never) == 1 else 'need'} it."
        yield Because(None, "run.stage_not_begun", text)
