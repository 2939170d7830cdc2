"""Why a schedule did not fire, fired late, or was passed over, and what would change that. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from millrace.clock import MS, parse_time
from millrace.observe.explain import NO_DAEMON, START, Because, Change, Explanation, clock_time, many

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from millrace.ledger.fire_rows import FireRow, Missed
    from millrace.observe.explain import Around

_BAD: Final = frozenset({"dead", "failed", "partial", "cancelled"})
_HANDS: Final = {"clock": "", "hand": ", by hand", "backfill": ", made up for"}


class ScheduleFacts(NamedTuple):
    """
    A schedule, for one client.

    Args:
        row: As `schedules list --json` has it: key, words, next times, pause, problem.
        fires: Its newest due times, newest first.
        missed: What was missed in the last week, or since the oldest of these, and not made up for; newest first.
    """

    row: Mapping[str, Any]
    fires: Sequence[FireRow]
    missed: Sequence[Missed] = ()


def explain_schedule(name: str, known: Sequence[ScheduleFacts], around: Around) -> Explanation:
    """
    Return why a schedule is as it is, for all its clients.

    Args:
        known: At least one.
    """
    because: list[Because] = [] if around.served else [NO_DAEMON]
    change: dict[Change, None] = {} if around.served else {START: None}
    for one in known:
        of = f"For client {one.row['client']}: " if len(known) > 1 else ""
        told = [*_stopped(one), *_undecided(one), *_fires(one, around), *_missed(one), *_ahead(one), *_next(one)]
        because += [reason._replace(text=of + reason.text) for reason in told]
        change |= dict.fromkeys(_cures(one))
    paused = any(one.row["paused"] for one in known)
    facts = {
        "schedules": [dict(one.row) for one in known],
        "fires": [fire.as_json() for one in known for fire in one.fires],
        "daemon_running": around.served,
    }
    status = "paused" if paused else "on" if all(one.row["enabled"] for one in known) else "off"
    return Explanation("schedule", name, name, status, because[0].code, because, list(change), facts)


def backfill_command(name: str, since: int, due_at: int) -> str:
    """Return the command that makes up for the due times of a schedule from one to another, both epoch ms."""
    last = -(-due_at // MS) * MS  # it is told to the second, and must not end before it
    return f"millrace backfill {name} --from {clock_time(since)} --to {clock_time(last)}"


def _stopped(one: ScheduleFacts) -> Iterator[Because]:
    """Tell why nothing of it will run."""
    row = one.row
    if row["problem"]:
        yield Because(None, "schedule.problem", f"It cannot run: {row['problem']}.")
    if row["paused"]:
        at = parse_time(row["paused_at"]) if row["paused_at"] else None
        yield Because(at, "schedule.paused", f"It was paused by {row['paused_by']}: its times are kept as skipped.")
    if not row["enabled"]:
        yield Because(None, "schedule.off", "It says enabled = false: its times are kept as skipped.")


def _undecided(one: ScheduleFacts) -> Iterator[Because]:
    """Tell what no daemon has looked at: it becomes late or missed when one does."""
    passed = one.row["undecided"]
    if passed:
        span = _span(passed["count"], parse_time(passed["since"]), parse_time(passed["due_at"]))
        text = f"Nobody has decided {span}: the daemon is not running, or is behind; catch_up says what becomes of it."
        yield Because(None, "schedule.undecided", text)


def ahead_text(ahead: Mapping[str, Any]) -> str:
    """Return what is to be said of times to come that do not come again, without a full stop."""
    span = _span(ahead["count"], parse_time(ahead["since"]), parse_time(ahead["due_at"]))
    is_ = "is" if ahead["count"] == 1 else "are"
    return f"{span} {is_} decided already, by a clock that was ahead: what it came to stands, and it does not run again"


def _ahead(one: ScheduleFacts) -> Iterator[Because]:
    """Tell which times to come are decided."""
    if one.row["ahead"]:
        yield Because(None, "schedule.ahead", f"{ahead_text(one.row['ahead'])}.")


def _missed(one: ScheduleFacts) -> Iterator[Because]:
    """Tell what was missed, where the newest times do not tell all of it."""
    told = Counter[str]()
    for fire in one.fires:
        if (fire.how, fire.outcome) == ("clock", "missed"):
            told[fire.why] += fire.count
    for missed in one.missed:
        if missed.number > told[missed.why]:
            span = _span(missed.number, missed.since, missed.due_at)
            text = f"It missed {span}: {missed.why}. That was not made up for."
            yield Because(missed.due_at, "fire.missed", text)


def _span(count: int, since: int, due_at: int) -> str:
    due = clock_time(due_at)
    return f"{many(count, 'time')} from {clock_time(since)} to {due}" if count > 1 else due


def _fires(one: ScheduleFacts, around: Around) -> Iterator[Because]:
    """Tell the newest of what was not as it should be, newest first, and the newest in any case."""
    wrong = [fire for fire in one.fires if fire.outcome != "on_time" or fire.status in _BAD or fire.state == "pending"]
    for fire in dict.fromkeys((*one.fires[:1], *wrong)):
        yield _fire(fire, around)
    if not one.fires:
        yield Because(None, "schedule.never", "None of its times has passed since the daemon knows it.")


def _fire(fire: FireRow, around: Around) -> Because:
    due, how, why = clock_time(fire.due_at), _HANDS.get(fire.how, ""), f": {fire.why}" if fire.why else ""
    if fire.state == "pending":
        text = f"Its time {due}{how} waits for its turn: the one before is not over."
        return Because(fire.decided_at, "fire.pending", text)
    if fire.outcome in {"missed", "skipped"}:
        span = _span(fire.count, fire.since, fire.due_at)
        return Because(fire.decided_at, f"fire.{fire.outcome}", f"It {fire.outcome} {span}{how}{why}.")
    what = f"run {fire.run_id}" if fire.run_id else f"job {fire.job_id}"
    is_now = f"{what} is {fire.status or 'no longer kept'}"
    overdue = fire.expected_by is not None and (fire.finished_at or around.now_ms) > fire.expected_by
    tail = f"; it should have been done by {clock_time(fire.expected_by)}" if overdue else ""
    late = f" ({fire.why})" if fire.why else ""
    code = "fire.failed" if fire.status in _BAD else "fire.overdue" if overdue else f"fire.{fire.outcome}"
    return Because(fire.decided_at, code, f"It fired for {due}{how}{late}: {is_now}{tail}.")


def _next(one: ScheduleFacts) -> Iterator[Because]:
    times = one.row["next"]
    if times:
        yield Because(None, "schedule.next", f"It runs {one.row['words']}; the next time is {times[0]['at']}.")
    else:
        yield Because(None, "schedule.no_next", f"It runs {one.row['words']}, and no time of it is left.")


def _cures(one: ScheduleFacts) -> Iterator[Change]:
    row, name = one.row, one.row["schedule"]
    if row["problem"]:
        yield Change("Correct it in config.toml (beside the task: and restart the daemon), then:", "millrace reload")
    if row["paused"]:
        yield Change("Let it fire again:", f"millrace schedules resume {name}")
    if not row["enabled"]:
        yield Change("Set enabled = true in config.toml, then:", "millrace reload")
    skipped = [fire for fire in one.fires if fire.outcome == "skipped"]
    lost: list[FireRow | Missed] = [*skipped, *one.missed]
    if any("overlap" in fire.why for fire in skipped):
        yield Change('Let times wait for the run before: overlap = "queue" in config.toml, then:', "millrace reload")
    if lost:
        command = backfill_command(name, min(fire.since for fire in lost), max(fire.due_at for fire in lost))
        yield Change("Make up for what did not run:", command)
    failed = next((fire for fire in one.fires if fire.status in _BAD), None)
    if failed is not None:
        yield Change("See why its work failed:", f"millrace explain {failed.run_id or failed.job_id}")
