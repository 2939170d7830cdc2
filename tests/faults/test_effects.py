"""
`once` under `kill -9`: of the child and of the daemon, between the intent, the call and its outcome.

The outside world is a file that keeps each touch with fsync. Proved: whatever dies when, each effect is there exactly
once, if the other side can be asked (`verify`) or knows its callers' idempotency keys (`repeat`); where it cannot, the
job waits for a person, who is told once and settles it.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from millrace.clock import SYSTEM
from tests.faults.conftest import CONFIG
from tests.process.scratch import Scratch, until

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterator

OUTSIDE = Path(__file__).parents[1] / "runner" / "site" / "outside.py"
MOMENTS = ("before", "within", "after", "beyond")
WAYS = ("verify", "repeat")
ORDERS = [(way, moment) for way in WAYS for moment in MOMENTS]
# Once the outcome is known, the way out of a doubt makes no difference: a start of the daemon less for each.
FEW = [order for order in ORDERS if order not in {("repeat", "after"), ("verify", "beyond")}]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Scratch]:
    """A site whose jobs touch the outside world."""
    with Scratch(tmp_path / "site", [OUTSIDE], CONFIG) as site:
        yield site


def lines(site: Scratch, name: str = "effects") -> list[str]:
    """Return what the outside world has kept."""
    path = site.root / name
    return path.read_text().splitlines() if path.exists() else []


def once_each(site: Scratch, orders: set[str], name: str = "effects") -> None:
    """Check that there is one effect for each order, and no other."""
    assert Counter(line.split()[0] for line in lines(site, name)) == dict.fromkeys(orders, 1)


def judge(site: Scratch, jobs: dict[str, str]) -> None:
    """Check the effects of orders that are called by their way and the moment of the death."""
    for order, job in jobs.items():
        row = site.await_final(job, limit_s=60)
        assert (row.status, row.result) == ("succeeded", f'{{"order":"{order}"}}'), (order, row.error)
    once_each(site, set(jobs))
    once_each(site, set(jobs), "ends")
    assert Counter(lines(site, "deaths")) == Counter(order.split("-")[1] for order in jobs), "not all died as told"
    asked = {line.split()[0] for line in lines(site, "asked")}
    assert asked == {"verify-before", "verify-within"}, "only what is in doubt is asked about"
    keys = Counter(lines(site, "calls")).values()
    calls = sum(order.startswith("repeat") for order in jobs)
    assert sorted(keys) == [*[1] * (calls - 1), 2], "what was cut off within the call is sent again under the same key"
    assert site.reads.effect_counts() == (0, 0)
    assert {row.status for row in site.reads.effects(limit=1000)} == {"done"}


def test_a_child_that_dies_at_any_moment_leaves_one_effect(world: Scratch) -> None:
    """Four moments, two ways out of a doubt."""
    world.serve()
    judge(world, {f"{way}-{at}": world.submit("pay", order=f"{way}-{at}", way=way, at=at) for way, at in ORDERS})


@pytest.mark.parametrize("queue", ["default", "io"])
def test_a_daemon_that_dies_at_any_moment_leaves_one_effect(world: Scratch, queue: str) -> None:
    """In a thread the caller dies with it; a process of its own is ended by the next daemon, or by its parent's end."""
    jobs: dict[str, str] = {}
    for way, at in FEW:
        daemon = world.serve()
        for job in jobs.values():  # each dies at its own moment, and not when another one ends the daemon
            world.await_final(job)
        order = f"{way}-{at}"
        jobs[order] = world.submit("pay", queue=queue, order=order, way=way, at=at, victim=daemon.pid)
        daemon.end()
    world.serve()
    judge(world, jobs)
    assert {world.reads.job(job).failures for job in jobs.values()} == {0}, "the daemon's death is not the job's"


def test_a_doubt_that_nobody_can_clear_up_waits_for_a_person(world: Scratch) -> None:
    """They are told once, and what they say is done: the result of one, the call of the other."""
    daemon = world.serve()
    sent, unsent = (world.submit("pay", order=at, way="park", at=at) for at in ("within", "before"))
    for job in (sent, unsent):
        assert world.await_status(job, "waiting").reason in ("backoff", "doubt")
        until(lambda: world.reads.job(job).reason == "doubt", f"{job} to park")  # noqa: B023 - called at once
    until(lambda: len(daemon.events("effect.in_doubt")) == len(MOMENTS) // 2, "both to be told")
    listed = json.loads(world.run("effects", "list", "--doubt", "--json").stdout)
    assert {row["key"]: row["job_id"] for row in listed} == {"send-within": sent, "send-before": unsent}
    health = world.ask("GET", "/health").json()["checks"]["effects"]
    assert (health["status"], health["for_a_person"]) == ("warn", 2)
    world.run("effects", "settle", "send-within", "--done", '{"order": "said"}')
    world.run("effects", "settle", "send-before", "--not-done")
    assert world.await_final(sent).result == '{"order":"said"}'
    assert world.await_final(unsent).result == '{"order":"before"}'
    once_each(world, {"within", "before"})
    assert {world.reads.job(job).failures for job in (sent, unsent)} == {1}, "waiting costs nothing"
    assert len(daemon.events("effect.in_doubt")) == len(MOMENTS) // 2
    assert world.ask("GET", "/health").json()["checks"]["effects"]["status"] == "pass"


@pytest.mark.parametrize("queue", ["default", "io"])
def test_random_kills_of_the_daemon_double_and_lose_no_effect(
    world: Scratch, dice: random.Random, rounds: Callable[[int], int], queue: str
) -> None:
    """Each order is asked for by two jobs; the kill comes at a moment that nobody chose."""
    orders: set[str] = set()
    jobs: list[str] = []
    for number in range(rounds(3)):
        daemon = world.serve()
        fresh = [f"{number}-{place}" for place in range(40)]
        orders |= set(fresh)
        jobs += [
            world.submit("pay", queue=queue, order=order, way=WAYS[place % 2])
            for place, order in enumerate(fresh)
            for _ in range(2)
        ]
        SYSTEM.wait(threading.Event(), dice.uniform(0, 0.5))  # the moment is the point: any will do
        daemon.kill()
    world.serve()
    rows = [world.await_final(job, limit_s=60) for job in jobs]
    assert {(row.status, row.failures) for row in rows} == {("succeeded", 0)}
    once_each(world, orders)
    assert world.reads.balance(count_rows=True).difference == 0
