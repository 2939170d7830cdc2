"""Events and the ledger as metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from millrace.clock import SYSTEM
from millrace.config.settings import Settings
from millrace.define.registry import LoadProblem, Registry
from millrace.events import AttemptEnded, AttemptStarted, ConservationBroken, RunEnded
from millrace.ledger.ledger import Ledger
from millrace.ledger.rows import JobError, JobFilter, NewJob
from millrace.observe.conservation import ConservationCheck
from millrace.observe.facts import Facts
from millrace.observe.health import Health
from millrace.observe.metrics import Metrics
from millrace.observe.storage import Storage, storage_of
from millrace.queue.pool import PoolState
from millrace.queue.room import Level

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path

    from millrace.events import Event

SETTINGS = Settings.model_validate(
    {"queues": {"io": {"kind": "thread", "workers": 2, "max_workers": 8, "max_wait": "1s"}}}
)
CONTRACT = {
    "millrace_jobs_total",
    "millrace_jobs_accepted_total",
    "millrace_job_duration_seconds",
    "millrace_queue_wait_seconds",
    "millrace_queue_depth",
    "millrace_oldest_queued_seconds",
    "millrace_workers",
    "millrace_retries_total",
    "millrace_runs_total",
    "millrace_dead_letters",
    "millrace_conservation_difference",
    "millrace_database_bytes",
    "millrace_wal_bytes",
    "millrace_disk_free_bytes",
    "millrace_build_info",
}


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A fresh ledger."""
    with Ledger(tmp_path / "millrace.db") as opened:
        opened.moves.daemon = "test"
        yield opened


@pytest.fixture
def facts(ledger: Ledger) -> Facts:
    """The daemon as an onlooker sees it: one thread pool, one busy and one stuck."""
    return Facts(
        ledger=ledger.path,
        reads=ledger.reads,
        writer_alive=lambda: ledger.writer.alive,
        pools=lambda: [PoolState("io", "thread", 2, 8, 4, 2, 1, 8)],
        ages=dict,
        accepting=lambda: True,
        registry=Registry(),
        settings=SETTINGS,
        conservation=ConservationCheck(ledger.reads),
        clock=SYSTEM,
    )


def scraped(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """All samples: the name and the label values, to the value."""
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def ended(status: str, outcome: str, duration_s: float = 0.5) -> AttemptEnded:
    """The event of one attempt."""
    return AttemptEnded("0199", "add", "io", "default", 1, outcome, status, None, None, duration_s, "c")


def finish(ledger: Ledger, *, dead: bool) -> None:
    """Accept, claim and end one job."""
    ledger.moves.accept([NewJob("add", "io")]).wait()
    (held,) = ledger.moves.claim("io", 1).wait()
    if dead:
        ledger.moves.give_up(held, JobError("ValueError", "no"), duration_s=0.1, cause="gave up").wait()
    else:
        ledger.moves.succeed(held, "1", duration_s=0.1).wait()


def test_every_metric_of_the_contract_is_there(facts: Facts) -> None:
    """Dashboards and alerts hold on to these names; each is there from the first scrape."""
    metrics = Metrics(version="1.2.3")
    metrics.watch(facts)
    text = metrics.text().decode()
    assert {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE millrace_")} >= CONTRACT
    assert 'version="1.2.3"' in text


def test_attempts_are_counted_by_their_events() -> None:
    """Durations for all outcomes, waits at the start, retries where one follows."""
    metrics = Metrics(version="1")
    metrics(AttemptStarted("0199", "add", "io", "default", 1, 0.25, "c"))
    metrics(ended("waiting", "retried", 2.0))
    metrics(ended("succeeded", "succeeded", 0.01))
    found = scraped(metrics)
    assert found["millrace_job_duration_seconds_count", "io", "add"] == 2
    assert found["millrace_job_duration_seconds_sum", "io", "add"] == pytest.approx(2.01)
    assert found["millrace_job_duration_seconds_bucket", "0.02", "io", "add"] == 1
    assert found["millrace_queue_wait_seconds_count", "io"] == 1
    assert found["millrace_retries_total", "add"] == 1


def test_runs_are_counted_by_what_they_came_to() -> None:
    """An alert on failed and partial runs needs no look at the ledger."""
    metrics = Metrics(version="1")
    for status in ("succeeded", "partial", "succeeded"):
        metrics(RunEnded("0199", "leads", "default", status, 1, 2.5, "c"))
    found = scraped(metrics)
    assert (found["millrace_runs_total", "leads", "succeeded"], found["millrace_runs_total", "leads", "partial"]) == (
        2,
        1,
    )


def test_each_job_counts_once_and_no_series_is_for_nobody(ledger: Ledger, facts: Facts) -> None:
    """`sum(millrace_jobs_total)` is the jobs that are over; `_created` would be a fifth of all series."""
    for dead in (False, False, True):
        finish(ledger, dead=dead)
    metrics = Metrics(version="1")
    metrics.watch(facts)
    metrics(AttemptStarted("0199", "add", "io", "default", 1, 0.25, "c"))
    metrics(ended("dead", "gave_up"))
    metrics(ended("waiting", "retried"))
    found = scraped(metrics)
    assert sum(value for labels, value in found.items() if labels[0] == "millrace_jobs_total") == 3
    assert found["millrace_jobs_accepted_total", "io", "add"] == 3
    assert "_created" not in metrics.text().decode()


def test_counters_of_the_ledger_survive_a_restart_and_never_fall(ledger: Ledger, facts: Facts) -> None:
    """A counter that falls is taken for a restart, and everything is counted anew: so putting back lowers none."""
    for dead in (False, False, True):
        finish(ledger, dead=dead)
    before, after_restart = Metrics(version="1"), Metrics(version="1")
    before.watch(facts)
    before(ended("dead", "gave_up"))
    assert scraped(before)["millrace_jobs_total", "io", "dead", "add"] == 1

    (dead_job,) = [job.id for job in ledger.reads.jobs(JobFilter()).jobs if job.status == "dead"]
    ledger.moves.requeue(dead_job, actor="test").wait()
    after_restart.watch(facts)
    assert scraped(before)["millrace_jobs_total", "io", "dead", "add"] == 1
    found = scraped(after_restart)
    assert found["millrace_jobs_accepted_total", "io", "add"] == 3
    assert found["millrace_jobs_total", "io", "succeeded", "add"] == 2
    assert found["millrace_jobs_total", "io", "dead", "add"] == 0


def test_depth_age_and_workers_are_looked_up(ledger: Ledger, facts: Facts) -> None:
    """Also for a queue that never had work, so that a panel does not show a hole where there is a zero."""
    ledger.moves.accept([NewJob("add", "io"), NewJob("add", "io"), NewJob("add", "io", due_at=2**42)]).wait()
    ledger.moves.pause("io", actor="test").wait()
    finish_dead = NewJob("add", "default")
    ledger.moves.accept([finish_dead]).wait()
    (held,) = ledger.moves.claim("default", 1).wait()
    ledger.moves.give_up(held, JobError("E", "m"), duration_s=0.0, cause="gave up").wait()
    metrics = Metrics(version="1")
    metrics.watch(facts)
    found = scraped(metrics)
    assert (found["millrace_queue_depth", "io"], found["millrace_queue_depth", "default"]) == (2, 0)
    assert (found["millrace_queue_waiting", "io"], found["millrace_queue_paused", "io"]) == (1, 1)
    assert found["millrace_oldest_queued_seconds", "io"] >= 0
    assert found["millrace_workers", "io", "busy"] == 1
    assert found["millrace_workers", "io", "idle"] == 3
    assert found["millrace_workers", "io", "stuck"] == 1
    assert found["millrace_dead_letters",] == 1
    assert found["millrace_conservation_difference",] == 0
    assert found["millrace_database_bytes",] > 0
    assert found["millrace_wal_bytes",] > 0


def lose_a_row(ledger: Ledger) -> None:
    """Break the ledger behind its back, as a person with a SQLite shell would."""
    ledger.writer.submit(lambda tx: tx.run("DELETE FROM job WHERE id = (SELECT min(id) FROM job)")).wait()


def test_a_row_that_vanished_is_found_shown_and_told_once(ledger: Ledger, facts: Facts) -> None:
    """The counters alone would still balance; reading the rows in the background finds it."""
    events: list[Event] = []
    check = ConservationCheck(ledger.reads, emit=events.append)
    ledger.moves.accept([NewJob("add", "io"), NewJob("add", "io")]).wait()
    assert check.refresh().difference == 0
    lose_a_row(ledger)
    assert check.figures()["difference"] == 0  # not looked at yet
    check.refresh()
    check.refresh()
    assert check.difference() == check.figures()["difference"] == 1
    assert "io/default/add: 2 queued by the counter, 1 rows" in check.figures()["rows"]["details"]
    assert [type(event) for event in events] == [ConservationBroken]


def test_health_fails_when_jobs_are_unaccounted_for(ledger: Ledger, facts: Facts) -> None:
    """Of all checks, this is the one that the daemon exists for."""
    ledger.moves.accept([NewJob("add", "io")]).wait()
    lose_a_row(ledger)
    facts.conservation.refresh()
    report = Health(facts).report()
    assert report["status"] == "fail"
    assert report["checks"]["conservation"]["why"].startswith("1 accepted jobs are not accounted for")


def test_health_names_what_did_not_load_and_what_waits_too_long(ledger: Ledger, facts: Facts) -> None:
    """Both are warnings: the daemon works, somebody should look."""
    facts.registry.problems.append(LoadProblem("jobs/bad.py", 3, "invalid syntax"))
    ledger.moves.accept([NewJob("add", "io")]).wait()
    health = Health(Facts(**{**vars(facts), "clock": Later()}))
    checks = health.report()["checks"]
    assert checks["jobs"]["problems"] == ["jobs/bad.py:3: invalid syntax"]
    assert (checks["queues"]["status"], checks["queues"]["late"]) == ("warn", ["io"])
    ledger.moves.pause("io", actor="test").wait()
    assert health.report()["checks"]["queues"]["status"] == "pass"  # somebody wanted it so


def test_a_check_that_cannot_look_has_failed(ledger: Ledger, facts: Facts) -> None:
    """A ledger that was deleted must not end in an error page."""
    ledger.path.unlink()
    report = Health(facts).report()
    assert report["checks"]["storage"]["status"] == "fail"
    assert "could not be looked at" in report["checks"]["storage"]["why"]
    assert Health(facts).unfit() is not None


@pytest.mark.parametrize(
    ("free", "total", "low"),
    [
        (400 * 10**6, 10**12, True),
        (600 * 10**6, 10**12, False),
        (7 * 10**6, 8 * 10**6, False),  # a small disk that is nearly empty
        (10**5, 8 * 10**6, True),
    ],
)
def test_room_is_judged_by_bytes_and_by_share(free: int, total: int, *, low: bool) -> None:
    """A fixed bound alone would call every small disk full."""
    assert Storage(0, 0, free, total, None).low == low


def test_health_fails_for_the_reason_for_which_work_is_refused(facts: Facts) -> None:
    """One truth: whoever asks for readiness must not send what is then refused."""
    facts.level = lambda: Level(free=5_000_000, kept=4_000_000)
    assert Health(facts).report()["checks"]["storage"]["disk_kept_bytes"] == 4_000_000
    assert Health(facts).unfit() is None
    facts.level = lambda: Level(free=3_999_999, kept=4_000_000)
    assert "no work is taken in" in str(Health(facts).unfit())


def test_storage_is_that_of_the_ledger(ledger: Ledger) -> None:
    """Database, log, and the disk that they are on."""
    found = storage_of(ledger.path)
    assert found.database_bytes == ledger.path.stat().st_size
    assert 0 < found.disk_free_bytes <= found.disk_total_bytes
    assert found.files_free is None or found.files_free > 0


class Later:
    """A clock that is a minute ahead."""

    def now_ms(self) -> int:
        return SYSTEM.now_ms() + 60_000

    def monotonic(self) -> float:
        return SYSTEM.monotonic()

    def wait(self, event: threading.Event, timeout_s: float | None) -> bool:
        return SYSTEM.wait(event, timeout_s)
