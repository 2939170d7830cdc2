"""`millrace status`: one screen of health, from the ledger and the daemon's lock."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import click

from millrace.cli.filters import dead_table
from millrace.cli.listening import listening
from millrace.cli.output import as_json, colored, echo_json, plural
from millrace.cli.queues import all_queues, queue_table
from millrace.cli.session import Session, pass_session, tell
from millrace.cli.times import age
from millrace.clock import MS, rfc3339
from millrace.config.address import listen_text
from millrace.errors import NotFound
from millrace.ledger.notes import PROOF
from millrace.ledger.rows import Balance, JobFilter

if TYPE_CHECKING:
    from millrace.cli.listening import Listening
    from millrace.ledger.reads import Reads
    from millrace.ledger.rows import DaemonRow, JobRow

NOT_RUNNING: Final = 3
_LAST: Final = 5


@click.command("status")
@as_json
@pass_session
def status(session: Session, *, as_json: bool) -> int:
    r"""
    One screen of health.

    \b
    Exit: 0 the daemon is running; 3 it is not; 77 not permitted;
    78 bad configuration.
    """
    pid = session.daemon_pid()
    daemon: DaemonRow | None = None
    balance = Balance(0, {}, 0, 0)
    failures: list[JobRow] = []
    runs = 0
    where = listening(session.places, None, None)
    try:
        with session.reads() as reads:
            daemon, balance, failures = _looked_up(reads)
            runs = reads.open_runs()
            daemon = daemon if pid is not None and daemon is not None and daemon.pid == pid else None
            where = listening(session.places, reads, daemon)
    except NotFound:
        tell(f"No ledger yet at {session.places.ledger}: the first `millrace serve` or `millrace submit` makes it.")
    facts = {**_facts(session, pid, daemon, balance, failures), "open_runs": runs}
    facts |= {"listen": where.text, "listen_later": listen_text(*where.later) if where.later else None}
    if as_json:
        echo_json(facts)
    else:
        click.echo(_text(session, facts, where, balance, failures))
    return NOT_RUNNING if pid is None else 0


def _looked_up(reads: Reads) -> tuple[DaemonRow | None, Balance, list[JobRow]]:
    failures = reads.jobs(JobFilter(status="dead", limit=_LAST)).jobs
    return reads.daemon(), _proved(reads), failures


def _proved(reads: Reads) -> Balance:
    """Return the balance by the counters, with what the daemon found when it counted the rows last."""
    balance, note = reads.balance(count_rows=False), reads.note(PROOF)
    found: dict[str, Any] = json.loads(note) if note else {"difference": 0}
    if found["difference"] <= balance.difference:
        return balance
    return replace(balance, difference=found["difference"], details=found["details"])


def _facts(
    session: Session, pid: int | None, alive: DaemonRow | None, balance: Balance, failures: list[JobRow]
) -> dict[str, Any]:
    now_ms = session.clock.now_ms()
    return {
        "running": pid is not None,
        "pid": pid or None,
        "version": alive.version if alive else None,
        "started_at": rfc3339(alive.started_at) if alive else None,
        "uptime_s": max(0, now_ms - alive.started_at) / MS if alive else None,
        "ledger": str(session.places.ledger),
        "queues": [row.as_json(now_ms) for row in all_queues(session)],
        "jobs": balance.by_status,
        "cut_off": balance.by_status.get("running", 0) if pid is None else 0,
        "dead_letters": balance.by_status.get("dead", 0),
        "conservation": balance.as_json(),
        "failures": [_failure(job) for job in failures],
    }


def _failure(job: JobRow) -> dict[str, Any]:
    return {
        "id": job.id,
        "task": job.task,
        "client": job.client,
        "finished_at": rfc3339(job.finished_at),
        "error": job.error.as_json() if job.error else None,
    }


def _text(session: Session, facts: dict[str, Any], where: Listening, balance: Balance, failures: list[JobRow]) -> str:
    parts = [
        _daemon_words(facts),
        *([f"         {where.later_words}"] if where.later else []),
        f"Ledger   {facts['ledger']}",
        "",
        queue_table(facts["queues"]),
        "",
        _job_words(balance),
        *([f"Runs     {runs:,} open (millrace runs list --status running)"] if (runs := facts["open_runs"]) else []),
        *_cut_off_words(facts["cut_off"]),
        _balance_words(balance),
    ]
    if failures:
        parts += ["", f"Dead letters, {plural(facts['dead_letters'], 'job')} (millrace dead list):"]
        parts.append(dead_table(failures, session.clock.now_ms()))
    return "\n".join(parts)


def _daemon_words(facts: dict[str, Any]) -> str:
    if not facts["running"]:
        return f"Daemon   {colored('not running', 'fail')} (millrace serve)"
    words = [f"pid {facts['pid']}"] if facts["pid"] else []
    words += [f"version {facts['version']}", f"up {age(facts['uptime_s'])}"] if facts["version"] else ["starting"]
    return f"Daemon   {colored('running', 'ok')}: {', '.join(words)}, http://{facts['listen']}"


def _job_words(balance: Balance) -> str:
    counts = [f"{count:,} {colored(status)}" for status, count in balance.by_status.items() if count]
    nothing = f"none kept; {balance.pruned:,} pruned" if balance.pruned else "none yet"
    return f"Jobs     {', '.join(counts) or nothing}"


def _cut_off_words(count: int) -> list[str]:
    """Say what "running" means while nobody runs anything: jobs that nobody has taken back yet."""
    if not count:
        return []
    one = count == 1
    subject = "The running job was" if one else f"The {count:,} running jobs were"
    alarm = colored(f"{subject} cut off when the daemon died", "warn")
    return [f"         {alarm}:", f"         its next start takes {'it' if one else 'them'} back (millrace serve)"]


def _balance_words(balance: Balance) -> str:
    if not balance.difference:
        return f"Balance  {colored('ok')}: each of {plural(balance.accepted, 'accepted job')} is accounted for"
    alarm = colored(f"DIFFERENCE OF {balance.difference}", "fail")
    return "\n".join(
        [f"Balance  {alarm}: jobs vanished or doubled (millrace doctor)", *(f"  {line}" for line in balance.details)]
    )
