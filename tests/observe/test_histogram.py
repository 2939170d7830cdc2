"""Our own histogram, beside the one of the library whose place it takes."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import prometheus_client
import pytest
from prometheus_client import CollectorRegistry, disable_created_metrics, generate_latest

from millrace.observe.histogram import Histogram

BOUNDS = (0.005, 0.5, 1, 14400)
VALUES = (0.0, 0.005, 0.0051, 0.4, 1, 1.5, 14400, 14401, 10**9)


@pytest.fixture(autouse=True)
def _no_created() -> None:
    """Leave out the series that the daemon leaves out."""
    disable_created_metrics()  # type: ignore[no-untyped-call] # the library types nearly all others


def text(ours: Histogram) -> str:
    """What a scrape shows of it."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ours)
    return generate_latest(registry).decode()


def test_its_text_is_that_of_the_librarys_own() -> None:
    """Dashboards read buckets, count and sum by name and label: not a character may differ."""
    registry = CollectorRegistry(auto_describe=False)
    theirs = prometheus_client.Histogram("seconds", "How long", ("task", "queue"), buckets=BOUNDS, registry=registry)
    ours = Histogram("seconds", "How long", ("task", "queue"), BOUNDS)
    assert text(ours) == generate_latest(registry).decode()
    for labels in (("add", "io"), ('a "name"\n', "cpu")):
        for value in VALUES:
            theirs.labels(*labels).observe(value)
            ours.observe(labels, value)
    assert text(ours) == generate_latest(registry).decode()


def test_a_value_on_a_bound_belongs_below_it() -> None:
    """Prometheus's bounds are inclusive; what lies above all of them is in +Inf."""
    ours = Histogram("seconds", "How long", (), BOUNDS)
    ours.observe((), 0.5)
    ours.observe((), math.inf)
    lines = text(ours).splitlines()
    assert 'seconds_bucket{le="0.005"} 0.0' in lines
    assert 'seconds_bucket{le="0.5"} 1.0' in lines
    assert 'seconds_bucket{le="+Inf"} 2.0' in lines


def test_threads_that_observe_at_once_are_all_counted() -> None:
    """Workers and the ledger's writer observe at the same time: a count that lost one would never be right again."""
    ours = Histogram("seconds", "How long", ("queue",), BOUNDS)
    threads, each = 4, 5_000

    def observe() -> None:
        for _ in range(each):
            ours.observe(("io",), 0.25)

    with ThreadPoolExecutor(threads) as pool:
        for _ in range(threads):
            pool.submit(observe)
    assert f'seconds_count{{queue="io"}} {float(threads * each)}' in text(ours)
    assert f'seconds_sum{{queue="io"}} {threads * each / 4}' in text(ours)
