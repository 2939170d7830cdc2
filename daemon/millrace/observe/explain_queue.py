"""Why a queue gives out work, or gives out none: its depth, its workers, who paused it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from millrace.clock import rfc3339
from millrace.observe.explain import NO_DAEMON, START, Around, Because, Change, Explanation, lasted, many
from millrace.observe.explain_disk import MAKE_ROOM
from millrace.observe.explain_waits import facts_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from millrace.ledger.place import Standing
    from millrace.ledger.rows import QueueRow

_CLIENTS: Final = 5


class QueueFacts(NamedTuple):
    """What the ledger says of a queue."""

    row: QueueRow
    line: Standing


def explain_queue(known: QueueFacts, around: Around) -> Explanation:
    """Return why a queue is as it is."""
    row, line = known.row, known.line
    settings = around.queues.get(row.name) if around.queues is not None else None
    because = [*_stopped(known, around), *_depth(known, around), *_workers(known, around)]
    change: list[Change] = [MAKE_ROOM] if around.disk is not None and (around.disk.full or around.disk.low) else []
    if line.paused_at is not None:
        change.append(Change("Let it give out work again:", f"millrace queues resume {row.name}"))
    if not around.served:
        change.append(START)
    if settings is not None and line.queued and line.running >= settings.max_workers:
        if around.full is None:  # else more workers would only have more to write
            change.append(
                Change(f"Give it more workers: [queues.{row.name}] workers in config.toml, then:", "millrace reload")
            )
        change.append(Change("See what runs:", f"millrace jobs list --status running --queue {row.name}"))
    if around.queues is not None and settings is None and row.queued:
        change.append(Change(f"Put [queues.{row.name}] back into config.toml, and start the daemon anew."))
    facts = {
        **facts_of(line, None),
        "oldest_queued_at": rfc3339(row.oldest_queued_at),
        "workers": settings.workers if settings else None,
        "max_workers": settings.max_workers if settings else None,
        "max_backlog": settings.max_backlog if settings else None,
        "daemon_running": around.served,
        **({"disk": around.disk.as_json()} if around.disk is not None else {}),
    }
    status = "paused" if line.paused_at is not None else "open"
    return Explanation("queue", row.name, row.name, status, because[0].code, because, change, facts)


def _stopped(known: QueueFacts, around: Around) -> Iterator[Because]:
    """Tell why it gives out nothing at all."""
    line = known.line
    if around.full is not None:
        yield around.full.because()
        if around.full.unrecorded:
            text = f"{many(len(around.full.unrecorded), 'attempt')} of all queues that ended could not be written down."
            yield Because(None, "queue.unrecorded", text)
    if line.paused_at is not None:
        text = f"It was paused by {line.paused_by}: what runs goes on, and nothing more is started."
        yield Because(line.paused_at, "queue.paused", text)
    if around.queues is not None and line.queue not in around.queues:
        yield Because(None, "queue.no_workers", "config.toml does not have it, so that it has no workers.")
    if not around.served:
        yield NO_DAEMON


def _depth(known: QueueFacts, around: Around) -> Iterator[Because]:
    row, line = known.row, known.line
    if not (line.queued or line.waiting or line.running):
        yield Because(None, "queue.idle", "Nothing is in it.")
        return
    text = f"{many(line.queued, 'job')} can start, {line.waiting:,} wait for a time or a cause, {line.running:,} run."
    yield Because(None, "queue.depth", text)
    if row.oldest_queued_at is not None:
        text = f"The oldest has been queued for {lasted(max(0, around.now_ms - row.oldest_queued_at))}."
        yield Because(row.oldest_queued_at, "queue.oldest", text)
    busy = [lane for lane in line.lanes if lane.queued]
    if len(busy) > 1:
        names = ", ".join(f"{lane.client} {lane.queued:,}" for lane in busy[:_CLIENTS])
        more = f" and {len(busy) - _CLIENTS} more" if len(busy) > _CLIENTS else ""
        text = f"{len(busy)} clients share it, {busy[0].client} is next: {names}{more}."
        yield Because(None, "queue.shared", text)


def _workers(known: QueueFacts, around: Around) -> Iterator[Because]:
    line = known.line
    settings = around.queues.get(line.queue) if around.queues is not None else None
    if settings is None:
        return
    open_now = line.queued + line.waiting + line.running
    if open_now >= settings.max_backlog:
        text = f"It is at its max_backlog of {settings.max_backlog:,} open jobs: more are refused."
        yield Because(None, "queue.backlog", text)
    if around.disk is not None and around.disk.low:
        yield around.disk.why_refused()
    full = line.running >= settings.max_workers
    text = f"{line.running:,} of its {many(settings.max_workers, 'worker')} are busy"
    if line.longest is None:
        yield Because(None, "queue.workers", f"{text}.")
        return
    job_id, task, since = line.longest
    text += f"; job {job_id} ({task}) has run the longest."
    yield Because(since, "queue.limit" if full else "queue.workers", text)
