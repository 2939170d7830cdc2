"""Claims: their order, the fair share of clients, pauses and damage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from millrace.ledger import net
from millrace.ledger.claim import MOST_BYTES
from millrace.ledger.rows import NewJob
from tests.ledger.rig import LIMIT_S, Book, hold
from tests.ledger.runs_rig import LINE, Works

if TYPE_CHECKING:
    from collections.abc import Sequence

    from millrace.ledger.rows import Claim


def fill(book: Book, **clients: int) -> None:
    """Queue so many jobs of each client."""
    for client, count in clients.items():
        book.ledger.moves.accept([NewJob("add", "q", client=client) for _ in range(count)]).wait(LIMIT_S)


def shares(claims: Sequence[Claim]) -> dict[str, int]:
    """Return how many claims each client got."""
    clients = [held.client for held in claims]
    return {client: clients.count(client) for client in sorted(set(clients))}


def test_a_claim_carries_what_the_runner_needs(book: Book) -> None:
    """The runner looks nothing up."""
    book.accept(payload='{"a":1}', client="acme", max_attempts=3, correlation_id="c", run_id="r", stage="s", record="1")
    book.clock.advance(2)
    (held,) = book.claim()
    assert (held.task, held.queue, held.client, held.attempt, held.max_attempts) == ("add", "q", "acme", 1, 3)
    assert (held.payload, held.correlation_id, held.run_id, held.stage, held.record) == ('{"a":1}', "c", "r", "s", "1")
    assert held.started_at - held.queued_at == 2000
    row = book.row(held.job_id)
    assert (row.status, row.attempt, row.started_at) == ("running", 1, book.clock.ms)
    assert book.sql("SELECT daemon FROM job") == [("d1",)]


def test_priority_goes_first_then_age_then_id(book: Book) -> None:
    """Two of one millisecond are told apart by their ids, which rise."""
    old = book.accept()
    book.clock.advance(1)
    first, second = (one.id for one in book.ledger.moves.accept([NewJob("add", "q")] * 2).wait(LIMIT_S))
    urgent, meek = book.accept(priority=5), book.accept(priority=-1)
    assert [held.job_id for held in book.claim(10)] == [urgent, old, first, second, meek]


def test_a_claim_takes_no_more_than_its_slots_and_only_of_its_queue(book: Book) -> None:
    """What is claimed beyond the slots would wait in memory instead of in the ledger."""
    for _ in range(3):
        book.accept()
    book.accept(queue="other")
    assert len(book.claim(2)) == 2
    assert len(book.claim(2)) == 1
    assert book.claim(2) == []
    assert len(book.claim(2, queue="other")) == 1


def test_each_claim_raises_the_attempt(book: Book) -> None:
    """The fence must tell every claim from the one before."""
    held = book.one()
    for attempt in (2, 3):
        book.ledger.moves.release(held, "shutdown", duration_s=0.0).wait(LIMIT_S)
        (held,) = book.claim()
        assert held.attempt == attempt


def test_clients_of_equal_weight_share_equally(book: Book) -> None:
    """A client with a long backlog must not shut the others out."""
    fill(book, greedy=50, small=4)
    assert shares(book.claim(8)) == {"greedy": 4, "small": 4}
    assert shares(book.claim(8)) == {"greedy": 8}


def test_weights_set_the_share(book: Book) -> None:
    """A client of weight 3 is given three times as much, over claims of any size."""
    book.ledger.moves.weights["gold"] = 3.0
    fill(book, gold=60, base=60)
    claims = [held for _ in range(8) for held in book.claim(5)]
    assert shares(claims) == {"gold": 30, "base": 10}


def test_single_claims_take_turns(book: Book) -> None:
    """The share holds across claims, not only within one: virtual time is kept in the ledger."""
    fill(book, a=6, b=6)
    turns = [book.claim(1)[0].client for _ in range(6)]
    assert turns == ["a", "b", "a", "b", "a", "b"]


def test_an_idle_client_gets_no_hoarded_credit(book: Book) -> None:
    """Who was away while others shared the queue comes back to an equal share, not to the queue for itself."""
    fill(book, a=40, b=40, c=1)
    book.claim(29)
    fill(book, c=20)
    assert shares(book.claim(12)) == {"a": 4, "b": 4, "c": 4}


def test_a_client_that_is_new_to_an_idle_queue_does_not_shut_out_the_old_ones(book: Book) -> None:
    """A busy past must not count: old clients would wait until the new one had been given as much."""
    fill(book, a=30, b=30)
    for held in book.claim(60):
        book.ledger.moves.succeed(held, None, duration_s=0.0)
    fill(book, fresh=40)
    assert shares(book.claim(2)) == {"fresh": 2}
    fill(book, a=10)
    assert shares(book.claim(8)) == {"a": 4, "fresh": 4}


def test_a_client_alone_uses_up_no_share(book: Book) -> None:
    """Work that nobody else wanted at the time costs nothing when others come."""
    fill(book, a=60)
    book.claim(40)
    fill(book, b=20)
    assert shares(book.claim(10)) == {"a": 5, "b": 5}


def test_counts_that_are_wrong_by_hand_do_not_starve_others(book: Book) -> None:
    """A lane whose rows somebody deleted must not take the turn of every claim for ever."""
    fill(book, a=5, b=5)
    book.sql("DELETE FROM job WHERE client = 'a'")
    given = [len(book.claim(1)) for _ in range(4)]
    assert sum(given) == 2


def test_a_paused_queue_gives_nothing_until_it_is_resumed(book: Book) -> None:
    """Pausing is for the whole queue, and is no news the second time."""
    fill(book, a=2)
    moves = book.ledger.moves
    assert [moves.pause("q", actor="ann").wait(LIMIT_S) for _ in range(2)] == [True, False]
    assert book.claim() == []
    assert [moves.resume("q", actor="test").wait(LIMIT_S) for _ in range(2)] == [True, False]
    assert len(book.claim()) == 1


def test_a_damaged_payload_is_dead_and_never_runs(book: Book) -> None:
    """Work on data that nobody submitted is worse than no work; the letters behind it are still given out."""
    bad, good = book.accept(payload='{"a":1}'), book.accept()
    book.sql("UPDATE job SET payload = '{\"a\":9}' WHERE id = ?", (bad,))
    woken: list[set[str]] = []
    book.ledger.on_change.append(lambda changes: woken.append(changes.queued))
    assert book.claim(1) == []
    row = book.row(bad)
    assert row.status == "dead"
    assert row.error is not None
    assert row.error.type == "Damaged"
    assert [attempt.outcome for attempt in book.ledger.reads.attempts(bad)] == ["gave_up"]
    assert {"q"} in woken, "fewer claims than slots, and nobody would have asked again"
    assert [held.job_id for held in book.claim(1)] == [good]
    assert book.balanced()


@pytest.mark.parametrize("size", [1, 20_000])
def test_a_text_that_is_none_any_more_does_not_stop_the_others(book: Book, size: int) -> None:
    """A flipped bit costs the one job, and does not hide it either."""
    bad, good = book.accept(payload=f'{{"a":"{"x" * size}"}}'), book.accept()
    book.sql("UPDATE job SET payload = CAST(CAST(payload AS BLOB) || x'e1' AS TEXT) WHERE id = ?", (bad,))
    assert [held.job_id for held in book.claim(10)] == [good]
    row = book.row(bad)
    assert row.error is not None
    assert (row.status, row.error.type) == ("dead", "Damaged")
    assert row.as_json()["payload"] == {"$damaged": "what is on disk is not what was written"}
    assert book.balanced()


def test_a_run_whose_plan_is_damaged_does_not_stop_the_others(book: Book) -> None:
    """Its own jobs find it out when they are run."""
    works = Works(book)
    works.start(LINE)
    book.sql("UPDATE plan SET text = 'no plan'")
    net._NETS.clear()  # as in a daemon that has just started
    good = book.accept()
    assert good in [held.job_id for held in book.claim(10)]


def test_payloads_of_any_size_and_text_come_whole(book: Book) -> None:
    """Claims come out of SQLite as one text; a payload that is too large for it is fetched beside it."""
    payloads = [
        '{"a":"\\"\\\\ü\u2028\U0001f600\\u0000"}',
        *(f'{{"a":"{"ü" * size}"}}' for size in (0, 4_996, 4_997, 60_000)),
    ]
    ids = [book.accept(payload=payload) for payload in payloads]
    assert {held.job_id: held.payload for held in book.claim(10)} == dict(zip(ids, payloads, strict=True))


@pytest.mark.parametrize(("text", "most"), [("x" * 9_000, 116), ("ü" * 4_900, 106), ("x" * 300_000, 3)])
def test_a_claim_takes_as_many_bytes_as_the_lock_has_time_for(book: Book, text: str, most: int) -> None:
    """Each row is written with its payload: two hundred of 500 KB kept everybody else from writing for ten seconds."""
    ids = [one.id for one in book.ledger.moves.accept([NewJob("add", "q", f'"{text}"')] * (most + 2)).wait(LIMIT_S)]
    woken: list[set[str]] = []
    book.ledger.on_change.append(lambda changes: woken.append(changes.queued))
    first = book.claim(200)
    assert [held.job_id for held in first] == ids[:most]
    assert [held.job_id for held in book.claim(200)] == ids[most:]
    assert {"q"} in woken, "fewer claims than slots, and nobody would have asked again"
    assert book.balanced()


def test_a_payload_above_the_bound_of_a_claim_is_claimed_alone(book: Book) -> None:
    """A ledger that was written before the bound may have such rows: they must not wait for ever."""
    small, bad, last = book.accept(), book.accept(), book.accept()
    book.sql("UPDATE job SET payload = ? WHERE id = ?", (f'"{"x" * 2 * MOST_BYTES}"', bad))
    assert [held.job_id for held in book.claim(10)] == [small]
    assert book.claim(10) == []
    assert book.row(bad).status == "dead", "it was looked at"
    assert [held.job_id for held in book.claim(10)] == [last]


def test_clients_with_large_payloads_take_turns(book: Book) -> None:
    """Whoever had the room of one claim is behind the others at the next."""
    for client in ("a", "b"):
        job = NewJob("add", "q", f'"{"x" * 400_000}"', client=client)
        book.ledger.moves.accept([job] * 5).wait(LIMIT_S)
    claims = [shares(book.claim(10)) for _ in range(5)]
    assert claims == [{"a": 2}, {"b": 2}, {"a": 2}, {"b": 2}, {"a": 1, "b": 1}]
    assert book.balanced()


def test_a_claim_sees_what_was_accepted_in_its_own_batch(book: Book) -> None:
    """Lanes are read from counts, which are written late: before a claim they must be."""
    held = hold(book.ledger)
    accepted = book.ledger.moves.accept([NewJob("add", "q")])
    claimed = book.ledger.moves.claim("q", 1)
    again = book.ledger.moves.claim("q", 1)
    held.go()
    assert claimed.wait(LIMIT_S)[0].job_id == accepted.wait(LIMIT_S)[0].id
    assert again.wait(LIMIT_S) == []
    assert book.balanced()


@pytest.mark.parametrize("slots", [1, 3, 7, 100])
def test_claims_of_any_size_hand_out_every_job_once(book: Book, slots: int) -> None:
    """The arithmetic of shares must neither lose nor double a job."""
    fill(book, a=13, b=5, c=1)
    claims: list[Claim] = []
    while some := book.claim(slots):
        claims += some
    assert len(claims) == len({held.job_id for held in claims}) == 19
    assert book.balanced()
