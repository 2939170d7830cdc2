"""The ledger as a Huey storage, and the hooks of Huey that the consumer leans on."""

from __future__ import annotations

import inspect
import logging
import signal
import threading
from typing import TYPE_CHECKING, Any

import pytest
from huey.api import Huey
from huey.constants import EmptyData
from huey.consumer import Consumer, Scheduler, Worker
from huey.registry import Message
from huey.storage import BaseStorage

from millrace.errors import PayloadError, UnknownTask
from millrace.ledger.rows import JobFilter, Source
from millrace.queue.consumer import IdleScheduler, PoolConsumer, make_huey
from millrace.queue.storage import LedgerStorage
from tests.queue.rig import LIMIT_S, House

if TYPE_CHECKING:
    from collections.abc import Callable

    from millrace.ledger.rows import Claim
    from tests.conftest import Until


def huey_of(house: House, run: Callable[[Claim], None] = lambda _held: None) -> Huey:
    """Return the Huey of the default queue, with an intake that the test works off."""

    def submit(task: str, payload: Any, priority: int) -> None:
        house.submit(task, payload=payload, priority=priority, source=Source("api", "huey"))

    return make_huey(house.intake(), run, submit, lambda: house.ledger.reads.depth("default"))


# ---- what we lean on: a new Huey that changes one of these must fail here, not in the field


def test_hueys_consumer_has_the_hooks_that_are_used() -> None:
    """Private ones too: named in the module, pinned here."""
    for name in ("start", "stop", "check_worker_health", "_create_worker", "_create_process", "_set_signal_handlers"):
        assert callable(getattr(Consumer, name)), name
    parameters = inspect.signature(Consumer.__init__).parameters
    assert {"huey", "workers", "periodic", "worker_type", "check_worker_health"} <= set(parameters)
    assert list(inspect.signature(Consumer._create_process).parameters) == ["self", "process", "name"]
    assert "graceful" in inspect.signature(Consumer.stop).parameters
    assert "_set_signal_handlers" in inspect.getsource(Consumer.start), "start sets the handlers through the hook"
    assert "scheduler_class" in inspect.getsource(Consumer._create_scheduler)
    assert "stop_flag.is_set" in inspect.getsource(Consumer._create_process), "a worker ends at the stop flag"
    assert "storage.blocking" in inspect.getsource(Worker.loop), "a blocking storage is asked again without a pause"
    assert "except Exception" in inspect.getsource(Worker.loop), "an error of a task does not end its worker"
    assert "scheduler" in inspect.getsource(Consumer.check_worker_health)


def test_hueys_api_has_the_hooks_that_are_used() -> None:
    """The message of the one registered task is made and taken apart by these."""
    huey = Huey("q", results=False, storage_class=LedgerStorage, intake=None, submit=None, depth=None)

    def run_claim(key: str) -> None: ...

    task = huey.task(name="run_claim")(run_claim)
    assert huey._registry.task_to_string(task.task_class).endswith("run_claim")
    assert Message._fields[:2] == ("id", "name")
    assert {"args", "kwargs"} <= set(Message._fields)
    for name in ("dequeue", "execute", "enqueue", "serialize_task", "deserialize_task"):
        assert callable(getattr(Huey, name)), name
    assert {"pre_execute", "signal"} <= set(dir(huey))


def test_every_method_of_hueys_storage_is_answered_or_refused(house: House) -> None:
    """A storage method that Huey adds or calls must not fall through to a default that keeps a second truth."""
    storage = huey_of(house).storage
    ours = {name for name in dir(LedgerStorage) if not name.startswith("_")}
    theirs = {name for name, _ in inspect.getmembers(BaseStorage, inspect.isfunction) if not name.startswith("_")}
    inherited = {name for name in theirs if getattr(LedgerStorage, name) is getattr(BaseStorage, name)}
    assert inherited == {"close"}, "there is nothing to close: the ledger is the daemon's"
    assert theirs <= ours
    assert isinstance(storage, BaseStorage)
    assert storage.blocking


@pytest.mark.parametrize(
    "name",
    [
        "add_to_schedule", "put_data", "put_if_empty", "incr", "delete_counter", "flush_counters", "flush_queue",
        "flush_schedule", "flush_results", "flush_all", "wait_result",
    ],
)  # fmt: skip
def test_every_other_writer_is_refused(house: House, name: str) -> None:
    """There is one truth about a job, and it is not in Huey's storage."""
    with pytest.raises(NotImplementedError, match="no second truth"):
        getattr(huey_of(house).storage, name)("x", b"y")


def test_what_huey_asks_for_beside_the_queue_is_empty(house: House) -> None:
    """Revocations, schedules and results: the ledger keeps them itself."""
    storage = huey_of(house).storage
    assert storage.peek_many(["r:1"]) == {}
    assert storage.peek_data("r:1") is EmptyData
    assert storage.pop_data("r:1") is EmptyData
    assert storage.delete_data("r:1") is False
    assert storage.has_data_for_key("r:1") is False
    assert storage.read_schedule(None) == storage.scheduled_items() == storage.enqueued_items() == []
    assert (storage.schedule_size(), storage.result_store_size(), storage.result_items()) == (0, 0, {})
    assert storage.queue_size() == 0
    house.submit()
    assert storage.queue_size() == 1


# ---- the way of a claim through Huey


def test_a_claim_goes_through_huey_and_leaves_nothing_behind(house: House) -> None:
    """Dequeued, executed, gone from the map: what stays there would be a leak of one claim per job."""
    ran: list[Claim] = []
    huey = huey_of(house, ran.append)
    job = house.submit(payload={"n": 1})
    task = huey.dequeue()
    assert len(huey.storage.claims) == 1
    huey.execute(task)
    assert [held.job_id for held in ran] == [job]
    assert huey.storage.claims == {}
    assert huey.dequeue() is None, "an empty queue answers after half a second, so that the stop flag is looked at"


def test_an_error_of_the_runner_does_not_shrink_the_pool(house: House, until: Until) -> None:
    """The runner promises to raise nothing; if it does, or exits, the pool must outlive it."""
    errors: list[BaseException] = [RuntimeError("the runner's own"), SystemExit(3)]
    ran: list[str] = []
    failed: list[Claim] = []

    def run(held: Claim) -> None:
        if errors:
            failed.append(held)
            raise errors.pop(0)
        ran.append(held.job_id)

    jobs = [house.submit() for _ in range(3)]
    consumer = PoolConsumer(huey_of(house, run), 1)
    consumer.start()
    until(lambda: consumer.alive() == 0)
    assert errors == [], "the first error left the worker alive, the exit did not"
    consumer.check_worker_health()
    for held in failed:
        consumer.huey.storage._intake.done(held, 0.0)  # as the pool does whatever happens
    until(lambda: ran == jobs[2:])
    consumer.finish()
    until(lambda: consumer.alive() == 0)


# ---- huey.enqueue is a door


@pytest.mark.parametrize("call", ["args", "kwargs", "bare"])
def test_huey_enqueue_is_a_door_into_the_ledger(house: House, call: str) -> None:
    """The message of the registered task names a task of the site and its payload."""
    huey = huey_of(house)
    run_claim = next(iter(huey._registry._registry.values()))
    arguments = {"args": (("add", {"n": 3}), {}), "kwargs": (("add",), {"n": 3}), "bare": (("add",), {})}[call]
    huey.enqueue(run_claim(*arguments, priority=4))
    (row,) = house.ledger.reads.jobs(JobFilter()).jobs
    assert (row.task, row.payload, row.priority) == ("add", "{}" if call == "bare" else '{"n":3}', 4)
    assert row.source == Source("api", "huey")


def test_the_door_refuses_what_does_not_fit(house: House) -> None:
    """The same checks as at every other door; nothing is queued."""
    huey = huey_of(house)
    run_claim = next(iter(huey._registry._registry.values()))
    with pytest.raises(UnknownTask):
        huey.enqueue(run_claim(("ad", {}), {}))
    with pytest.raises(PayloadError):
        huey.enqueue(run_claim(("add", {"n": "x"}), {}))
    with pytest.raises((TypeError, ValueError)):
        huey.enqueue(run_claim(("add", {"n": float("nan")}), {}))
    with pytest.raises(IndexError):
        huey.enqueue(run_claim((), {}))
    assert house.ledger.reads.status_counts()["queued"] == 0


# ---- the consumer


def test_the_consumer_sets_no_signal_handlers(house: House) -> None:
    """Signals belong to the daemon."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    consumer = PoolConsumer(huey_of(house), 1)
    consumer.start()
    assert [signal.getsignal(number) for number in numbers] == before
    consumer.finish()
    for _, thread in consumer.worker_threads:
        thread.join(LIMIT_S)
    consumer.scheduler.join(LIMIT_S)
    assert not consumer.scheduler.is_alive()


def test_the_scheduler_only_waits_for_the_end(house: House) -> None:
    """It reads no schedule, and costs nothing while idle."""
    assert PoolConsumer.scheduler_class is IdleScheduler
    assert issubclass(IdleScheduler, Scheduler)
    flag = threading.Event()
    scheduler = IdleScheduler(huey_of(house), flag, 1, periodic=False)
    thread = threading.Thread(target=scheduler.loop)
    thread.start()
    assert thread.is_alive()
    flag.set()
    thread.join(LIMIT_S)
    assert not thread.is_alive()


def test_a_dead_worker_is_replaced_and_the_pool_can_grow(house: House, until: Until) -> None:
    """A thread that is lost must not shrink the pool for ever; a stuck one gets a deputy."""
    consumer = PoolConsumer(huey_of(house), 2)
    consumer.start()
    assert consumer.alive() == 2
    consumer.grow(3)
    consumer.grow(2)  # never shrinks
    assert consumer.alive() == len(consumer.worker_threads) == 3
    dead = threading.Thread(target=lambda: None)
    dead.start()
    dead.join()
    consumer.worker_threads[0] = (consumer.worker_threads[0][0], dead)
    orphan = [thread for _, thread in consumer.worker_threads[1:]]
    assert consumer.alive() == 2
    consumer.check_worker_health()
    assert consumer.alive() == 3
    consumer.finish()
    until(lambda: consumer.alive() == 0)
    assert not any(thread.is_alive() for thread in orphan)


def test_huey_says_nothing_of_its_own_daily_business() -> None:
    """Its log lines would tell of messages and keys; warnings go through."""
    assert logging.getLogger("huey").level == logging.getLogger("huey.consumer").level == logging.WARNING
