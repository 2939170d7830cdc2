"""UUID version 7: well-formed, unique, and in the order of their making."""

from __future__ import annotations

import threading
import uuid

from millrace.ledger import ids
from millrace.ledger.ids import new_id, new_ids
from tests.ledger.rig import LIMIT_S

FAR_MS = 3_000_000_000_000  # beyond any time that another test has used: ids never go back within a process


def test_an_id_is_a_uuid_of_version_7_with_its_time() -> None:
    """Other programs read them."""
    found = uuid.UUID(new_id(FAR_MS))
    assert (found.version, found.variant) == (7, uuid.RFC_4122)
    assert found.int >> 80 == FAR_MS
    assert str(found) == str(uuid.UUID(str(found)))


def test_ids_rise_within_one_millisecond() -> None:
    """The order of acceptance is the order of the queue."""
    made = [new_id(FAR_MS + 1) for _ in range(5000)]
    assert made == sorted(set(made))


def test_ids_made_together_are_as_good_as_single_ones() -> None:
    """A chunk of lines gets its ids at once; those before and after it keep their order."""
    before, many, after = new_id(FAR_MS + 2), new_ids(FAR_MS + 2, 5000), new_id(FAR_MS + 2)
    made = [before, *many, after]
    assert made == sorted(set(made))
    assert {uuid.UUID(one).version for one in many} == {7}
    assert {uuid.UUID(one).variant for one in many} == {uuid.RFC_4122}
    assert {uuid.UUID(one).int >> 80 for one in many} == {FAR_MS + 2}
    assert len({one[-8:] for one in many}) > 4900, "the last 32 bits are random"
    assert new_ids(FAR_MS + 2, 0) == []


def test_the_counter_carries_into_its_upper_part() -> None:
    """Its 42 bits stand in two places of an id: the order holds where one runs over into the other."""
    new_id(FAR_MS + 3)
    ids._Last.counter = (5 << 30) - 3
    made = new_ids(FAR_MS + 3, 6)
    assert made == sorted(made)
    assert [uuid.UUID(one).int >> 64 & 0xFFF for one in made] == [4, 4, 5, 5, 5, 5]


def test_ids_rise_though_the_clock_goes_back() -> None:
    """A correction of the clock must not push new jobs in front of old ones."""
    before = new_id(FAR_MS + 10)
    assert new_id(FAR_MS + 5) > before
    assert new_id(0) > before


def test_ids_of_many_threads_are_unique() -> None:
    """All of a process share one counter."""
    made: list[str] = []
    ready = threading.Barrier(4)

    def make() -> None:
        ready.wait(LIMIT_S)
        made.extend([new_id(FAR_MS + 20) for _ in range(2000)])

    threads = [threading.Thread(target=make) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    assert len(set(made)) == 8000


def test_a_counter_that_runs_over_borrows_from_the_future() -> None:
    """After 2**42 ids in a millisecond; the order holds."""
    before = new_id(FAR_MS + 30)
    kept = ids._Last.counter
    ids._Last.counter = (1 << 42) - 1
    after = new_id(FAR_MS + 30)
    assert after > before
    assert uuid.UUID(after).int >> 80 == FAR_MS + 31
    assert uuid.UUID(after).version == 7
    assert kept < 1 << 41, "a fresh millisecond starts in the lower half, so that there is room to count"
