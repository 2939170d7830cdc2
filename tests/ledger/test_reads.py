"""All looks at the ledger: pages, prefixes, filters, depths, connections."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import apsw
import pytest

from millrace.clock import rfc3339
from millrace.errors import LedgerError, LedgerForeign, NotFound
from millrace.ledger import reads as reads_module
from millrace.ledger.reads import Reads
from millrace.ledger.rows import JobError, JobFilter, NewJob
from millrace.ledger.seals import altered
from millrace.ledger.states import Status
from tests.ledger.rig import LIMIT_S, START_MS, Book

if TYPE_CHECKING:
    from pathlib import Path


def descriptors() -> int:
    """Return how many files this process has open."""
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - one call, no objects


def test_a_job_is_found_by_any_unique_prefix(book: Book) -> None:
    """People copy the first digits, with dashes or without, in any case, with a space behind."""
    job_id = book.accept()
    plain = job_id.replace("-", "")
    for text in (job_id, plain, job_id.upper(), f" {job_id} ", job_id[:20], plain[:18], job_id[:9], job_id[:3]):
        assert book.row(text).id == job_id, text


def test_an_ambiguous_prefix_names_the_candidates(book: Book) -> None:
    """Ids of one moment begin alike; taking the first would act on the wrong job."""
    jobs = [book.accept() for _ in range(2)]
    with pytest.raises(NotFound, match="could be any of") as refused:
        book.row(jobs[0][:8])
    assert all(job in str(refused.value) for job in jobs)


@pytest.mark.parametrize("text", ["", "zz", "0' OR 1=1", "é", "0" * 33, "-", "%"])
def test_what_cannot_be_an_id_is_no_job(book: Book, text: str) -> None:
    """Said at once, in words; it is not searched for."""
    book.accept()
    with pytest.raises(NotFound, match="is not the id of a job"):
        book.row(text)


def test_an_unknown_id_is_no_job(book: Book) -> None:
    """Well-formed, but not there."""
    with pytest.raises(NotFound, match='no job "ffff"'):
        book.row("ffff")


def test_pages_show_every_job_once_newest_first(book: Book) -> None:
    """Keyset pages: what is added meanwhile does not shift what was not yet shown."""
    jobs = [accepted.id for accepted in book.ledger.moves.accept([NewJob("add", "q")] * 23).wait(LIMIT_S)]
    shown: list[str] = []
    after = None
    while True:
        page = book.ledger.reads.jobs(JobFilter(limit=5, after=after))
        shown += [row.id for row in page.jobs]
        book.accept()
        after = page.next
        if after is None:
            break
        assert after == shown[-1]
    assert shown == jobs[::-1]


def test_a_page_that_ends_exactly_has_no_next(book: Book) -> None:
    """A next page that is empty would be a question too many."""
    for _ in range(4):
        book.accept()
    reads = book.ledger.reads
    assert reads.jobs(JobFilter(limit=4)).next is None
    assert reads.jobs(JobFilter(limit=3)).next is not None
    assert reads.jobs(JobFilter(task="none")).jobs == []


def test_filters_narrow_the_list(book: Book) -> None:
    """Alone and together."""
    one = book.accept("add", client="acme", run_id="r1", stage="s")
    two = book.accept("sub", queue="r")

    def found(**given: str) -> list[str]:
        return [row.id for row in book.ledger.reads.jobs(JobFilter(**given)).jobs]  # type: ignore[arg-type]

    assert found(task="add") == found(client="acme") == found(run="r1") == found(queue="q") == [one]
    assert found(task="sub") == found(queue="r") == found(queue="r", task="sub") == [two]
    assert found(queue="r", task="add") == []


def test_a_walk_ends_with_the_last_job_of_a_name(book: Book) -> None:
    """By the counters, in steps of the driver: a million rows behind the last one were read to find nothing."""
    book.ledger.moves.accept([NewJob("add", "q")] * 5000).wait(LIMIT_S)
    rare = [book.accept("sub", client="acme") for _ in range(2)][::-1]
    reads = book.ledger.reads
    steps = 0

    def count() -> bool:
        nonlocal steps
        steps += 1
        return False

    reads.connection().set_progress_handler(count, 1000)
    for given in ({"task": "sub"}, {"client": "acme"}, {"status": "queued", "client": "acme"}):
        assert [row.id for row in reads.jobs(JobFilter(**given)).jobs] == rare  # type: ignore[arg-type]
    for given in ({"task": "none"}, {"status": "dead", "task": "sub"}, {"queue": "q", "client": "none"}):
        assert reads.jobs(JobFilter(**given)).jobs == []  # type: ignore[arg-type]
    assert steps < 6
    assert reads.jobs(JobFilter(task="sub", after=rare[1])).jobs == []
    assert reads.jobs(JobFilter(task="sub", limit=1)).next == rare[0]


def test_since_shows_what_was_accepted_from_then_on(book: Book) -> None:
    """The bound itself is included; a clock that went back hides nothing."""
    book.accept()
    book.clock.advance(10)
    second = book.accept()
    book.clock.advance(10)
    third = book.accept()
    book.clock.advance(-15)
    book.accept()  # its id is newer than the third's, its time is not

    def since(ms: int) -> list[str]:
        return [row.id for row in book.ledger.reads.jobs(JobFilter(since=ms)).jobs]

    assert since(START_MS + 10_000) == [third, second]
    assert since(START_MS + 10_001) == [third]
    assert len(since(START_MS)) == 4
    assert since(START_MS + 20_001) == []


def test_jobs_of_each_status_are_listed(book: Book) -> None:
    """Newest first, page by page, whichever index serves the status."""
    moves = book.ledger.moves
    expected: dict[str, list[str]] = {}
    for _ in range(3):
        expected.setdefault("succeeded", []).append((held := book.one()).job_id)
        moves.succeed(held, None, duration_s=0.0).wait(LIMIT_S)
        expected.setdefault("dead", []).append((held := book.one()).job_id)
        moves.give_up(held, JobError("E", "m"), duration_s=0.0, cause="gave up").wait(LIMIT_S)
        expected.setdefault("waiting", []).append(book.accept(due_at=START_MS + 9))
        expected.setdefault("cancelled", []).append(job := book.accept())
        moves.cancel(job, actor="ann").wait(LIMIT_S)
        expected.setdefault("running", []).append(book.one().job_id)
    expected["queued"] = [book.accept() for _ in range(3)]
    assert set(expected) == set(Status)
    for status, jobs in expected.items():
        first = book.ledger.reads.jobs(JobFilter(status=status, limit=2))
        rest = book.ledger.reads.jobs(JobFilter(status=status, limit=2, after=first.next, since=START_MS))
        assert [row.id for row in first.jobs + rest.jobs] == jobs[::-1], status


def test_status_counts_come_from_the_counters(book: Book) -> None:
    """All statuses, zero included: a missing key would be a missing line of a metric."""
    nothing: dict[str, int] = dict.fromkeys(Status, 0)
    assert book.ledger.reads.status_counts() == nothing
    book.accept()
    assert book.ledger.reads.status_counts() == {**nothing, "queued": 1}


def test_queues_show_their_depths_pauses_and_ages(book: Book) -> None:
    """The oldest is the oldest of all clients and priorities, not the next to be claimed."""
    book.accept(client="acme", priority=-5)
    book.clock.advance(10)
    book.accept(client="acme", priority=9)
    book.clock.advance(10)
    book.accept(client="beta")
    book.accept(client="beta", due_at=START_MS + 60_000)
    book.one(queue="r")
    book.ledger.moves.pause("paused only", actor="ann").wait(LIMIT_S)
    book.ledger.moves.pause("q", actor="ann").wait(LIMIT_S)
    only, q, r = book.ledger.reads.queues()
    assert (only.name, only.paused, only.queued, only.oldest_queued_at) == ("paused only", True, 0, None)
    assert (q.name, q.paused, q.waiting, q.queued, q.running, q.oldest_queued_at) == ("q", True, 1, 3, 0, START_MS)
    assert (r.name, r.paused, r.running, r.oldest_queued_at) == ("r", False, 1, None)
    assert q.as_json(START_MS + 20_000)["oldest_queued_s"] == 20.0
    assert r.as_json(START_MS)["oldest_queued_s"] is None
    assert (book.ledger.reads.depth("q"), book.ledger.reads.depth("none")) == (4, 0)


def test_the_oldest_is_found_among_few_of_many_priorities(book: Book) -> None:
    """A client that numbers its priorities must not turn a look into a scan: it is bounded."""
    jobs = [NewJob("add", "q", priority=number) for number in range(reads_module._MOST_PRIORITIES + 10)]
    book.ledger.moves.accept(jobs).wait(LIMIT_S)
    assert book.ledger.reads.queues()[0].oldest_queued_at == START_MS


def test_next_due_is_the_earliest_time(book: Book) -> None:
    """Upkeep sleeps until then."""
    assert book.ledger.reads.next_due() is None
    for ms in (9_000, 3_000, 6_000):
        book.accept(due_at=START_MS + ms)
    assert book.ledger.reads.next_due() == START_MS + 3_000


def test_a_job_has_the_contracts_form(book: Book) -> None:
    """Names and shapes of the contract: payload and result as JSON, times in RFC 3339, durations in seconds."""
    held = book.one(payload='{"a":1}', key="k", max_attempts=2)
    book.ledger.moves.retry(held, JobError("E", "m"), due_at=START_MS, duration_s=0.25).wait(LIMIT_S)
    told = book.row(held.job_id).as_json()
    assert (told["payload"], told["result"], told["key"], told["attempt"], told["max_attempts"]) == (
        {"a": 1},
        None,
        "k",
        1,
        2,
    )
    assert told["error"] == {"type": "E", "message": "m", "traceback": None}
    assert (told["created_at"], told["finished_at"], told["duration_s"]) == (rfc3339(START_MS), None, 0.25)
    assert told["source"] == {"kind": "api", "name": ""}
    book.ledger.moves.promote_due().wait(LIMIT_S)
    book.ledger.moves.succeed(book.claim()[0], "[1]", duration_s=0.0).wait(LIMIT_S)
    assert book.row(held.job_id).as_json()["result"] == [1]
    attempts = [attempt.as_json() for attempt in book.ledger.reads.attempts(held.job_id)]
    assert [(one["outcome"], one["error"] and one["error"]["type"]) for one in attempts] == [
        ("retried", "E"),
        ("succeeded", None),
    ]
    book.ledger.moves.pause("q", actor="x").wait(LIMIT_S)
    cancelled = book.accept()
    book.ledger.moves.cancel(cancelled, actor="ann").wait(LIMIT_S)
    (event,) = book.ledger.reads.events(cancelled)
    assert event.as_json() == {"at": rfc3339(START_MS), "event": "cancel", "reason": None, "actor": "ann", "facts": {}}


def test_the_data_version_changes_with_the_commits_of_others(book: Book) -> None:
    """The fallback for a lost poke."""
    reads = book.ledger.reads
    before = reads.data_version()
    assert reads.data_version() == before
    book.accept()
    assert reads.data_version() != before


def test_the_ledger_keeps_its_id(book: Book) -> None:
    """The mark of the daemon's children."""
    assert book.ledger.reads.ledger_id() == Reads.open(book.path).ledger_id()


def test_a_thread_that_ends_leaves_no_connection_behind(book: Book) -> None:
    """Each cancel, each web request of a short-lived thread would otherwise cost two descriptors for good."""
    reads = book.ledger.reads
    reads.depth("q")
    before = descriptors()
    for _ in range(30):
        thread = threading.Thread(target=reads.depth, args=("q",))
        thread.start()
        thread.join(LIMIT_S)
    assert descriptors() <= before + 3


def test_threads_look_side_by_side(book: Book) -> None:
    """Each has a connection of its own."""
    book.accept()
    found: list[int] = []
    ready = threading.Barrier(4)

    def look() -> None:
        ready.wait(LIMIT_S)
        found.extend(book.ledger.reads.depth("q") for _ in range(50))

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    assert found == [1] * 200


def test_after_the_close_a_look_is_refused(book: Book) -> None:
    """It would open a connection that nobody closes."""
    reads = Reads.open(book.path)
    assert reads.depth("q") == 0
    reads.close()
    for look in (reads.next_due, reads.tallies, lambda: reads.balance(count_rows=True)):
        with pytest.raises(LedgerError, match="closed"):
            look()


def test_there_must_be_a_ledger_to_read(tmp_path: Path) -> None:
    """A reading command makes no file; one that is something else is named."""
    path = tmp_path / "l.db"
    with pytest.raises(NotFound, match="no ledger at"):
        Reads.open(path)
    assert not path.exists()
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE x (y)")
    connection.close()
    with pytest.raises(LedgerForeign, match="not a ledger of Millrace"):
        Reads.open(path)
    path.write_bytes(b"no database at all, but long enough to have a header" * 50)
    with pytest.raises(LedgerForeign, match="not a database"):
        Reads.open(path)


def test_a_value_that_was_changed_on_disk_is_never_shown_as_the_truth(book: Book) -> None:
    """SQLite does not notice a changed digit of a text; nobody may take it for what was written."""
    held = book.one(payload='{"a":1}')
    book.ledger.moves.succeed(held, '{"total":77}', duration_s=0.0).wait(LIMIT_S)
    other = book.accept(payload='{"a":1}')
    reads = book.ledger.reads
    assert list(altered(reads)) == []
    book.sql("UPDATE job SET result = '{\"total\":66}' WHERE id = ?", (held.job_id,))
    book.sql("UPDATE job SET payload = CAST(x'7b2261223aff7d' AS TEXT) WHERE id = ?", (other,))
    assert "$damaged" in (book.row(held.job_id).result or "")
    assert book.row(held.job_id).payload == '{"a":1}'
    page = reads.jobs(JobFilter(), whole=True)
    assert ["$damaged" in (job.result or "") + job.payload for job in page.jobs] == [True, True]
    assert list(altered(reads)) == [f"result of {held.job_id}", f"payload of {other}"]


@pytest.mark.parametrize(
    "damage", ["replace(CAST({0} AS TEXT), '\":', '\";')", "CAST(CAST({0} AS BLOB) || x'e1' AS TEXT)"]
)
def test_a_damaged_error_or_fact_hides_neither_its_job_nor_the_others(book: Book, damage: str) -> None:
    """One flipped bit must not take the list of all jobs from whoever looks for what went wrong."""
    held = book.one()
    why = JobError("ValueError", "no")
    book.ledger.moves.give_up(held, why, duration_s=0.0, cause="retries", facts={"pid": 7}).wait(LIMIT_S)
    book.ledger.moves.requeue(held.job_id, actor="ann").wait(LIMIT_S)
    book.sql('UPDATE event SET facts = \'{"via":"slack"}\'')
    (again,) = book.claim()
    book.ledger.moves.give_up(again, why, duration_s=0.0, cause="retries").wait(LIMIT_S)
    other = book.accept()
    for table, column in (("job", "error"), ("attempt", "error"), ("attempt", "facts"), ("event", "facts")):
        book.sql(f"UPDATE {table} SET {column} = {damage.format(column)}")  # noqa: S608 - our own text
    reads = book.ledger.reads
    assert [job.id for job in reads.jobs(JobFilter()).jobs] == [other, held.job_id]
    damaged = {"type": "Damaged", "message": "what is on disk is not what was written", "traceback": None}
    assert book.row(held.job_id).as_json()["error"] == damaged
    first, second = (one.as_json() for one in reads.attempts(held.job_id))
    assert (first["error"], second["error"]) == (damaged, damaged)
    assert first["facts"] == {"$damaged": damaged["message"]}
    assert [one.as_json()["facts"] for one in reads.events(held.job_id)] == [{"$damaged": damaged["message"]}]


def test_a_key_of_an_error_that_is_none_any_more_is_told_as_damage(book: Book) -> None:
    """The text is JSON all the same."""
    held = book.one()
    book.ledger.moves.give_up(held, JobError("ValueError", "no"), duration_s=0.0, cause="retries").wait(LIMIT_S)
    for text in ('{"typf":"ValueError","message":"no"}', "[1]", "7"):
        book.sql("UPDATE job SET error = ?", (text,))
        assert (book.row(held.job_id).error or JobError("", "")).type == "Damaged"


def test_a_ledger_that_is_damaged_says_so(book: Book) -> None:
    """The driver's errors leave the room as ours, also in the middle of a balance."""
    book.accept()
    book.sql("DROP TABLE tally")
    with pytest.raises(LedgerError, match="no such table"):
        book.ledger.reads.balance(count_rows=True)
    assert book.ledger.reads.depth("q") == 1, "the connection is usable afterwards"


def test_a_look_changes_nothing(book: Book) -> None:
    """Readers cannot write, whatever the statement says."""
    with pytest.raises(apsw.ReadOnlyError):
        book.ledger.reads.connection().execute("DELETE FROM job")
