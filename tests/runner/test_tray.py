"""The tray: an order has one owner, whoever reaches for it at the same time."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from millrace.runner.tray import LARGEST, MOST, Orders, Tray

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

import pytest


@pytest.fixture
def tray() -> Iterator[Tray]:
    """An empty tray."""
    tray = Tray()
    yield tray
    tray.close()


@pytest.fixture
def orders(tray: Tray) -> Iterator[Orders]:
    """The child's side of it, as it comes out of the fork."""
    with socket.socket(fileno=tray.theirs.dup().detach()) as sock:
        yield Orders(sock)


def test_orders_come_in_the_order_in_which_they_were_put(tray: Tray, orders: Orders) -> None:
    """And what is taken back is what was put last."""
    assert all(tray.put(b"%d" % n) for n in range(MOST))
    assert (orders.take(), orders.take()) == (b"0", b"1")
    assert tray.recall() == MOST - 2
    assert orders.take() is None


def test_a_tray_that_is_full_says_so(tray: Tray) -> None:
    """The worker must not wait for a child: the rest is for others."""
    while tray.put(b"x" * LARGEST):
        pass
    assert tray.recall() >= MOST


def test_an_order_has_one_owner(tray: Tray, orders: Orders, aside: Callable[..., Future[Any]]) -> None:
    """Both sides reach for it at once, over and over; the child has those that were put first."""
    for _ in range(300):
        put = [b"%d" % n for n in range(MOST)]
        assert all(map(tray.put, put))
        taking = aside(lambda: list(iter(orders.take, None)))
        count = tray.recall()
        assert taking.result(20) == put[: MOST - count]


def test_a_child_that_takes_in_the_middle_of_a_recall_begins_nothing(tray: Tray, orders: Orders) -> None:
    """What it has stays what was put first: who counts how many came back knows which."""
    taken: list[bytes] = []

    class Slow:
        """The daemon's duplicate, where the child comes first after each read."""

        def recv(self, size: int, flags: int) -> bytes:
            data = theirs.recv(size, flags)
            taken.extend(iter(orders.take, None))
            return data

    theirs = tray.theirs
    assert all(tray.put(b"%d" % n) for n in range(5))
    assert orders.take() == b"0"
    tray.theirs = Slow()  # type: ignore[assignment]
    count = tray.recall()
    tray.theirs = theirs

    assert (count, taken) == (4, [])
    assert tray.put(b"next")
    assert orders.take() == b"next"


def test_orders_outlive_the_death_of_the_child(tray: Tray, orders: Orders) -> None:
    """What it has not taken is still there, so that nobody has to guess what it had begun."""
    tray.put(b"a")
    tray.put(b"b")
    assert orders.take() == b"a"
    orders._sock.close()
    assert tray.recall() == 1


def test_a_bell_that_nobody_answers_blocks_nobody(tray: Tray, orders: Orders) -> None:
    """The supervisor may be busy for long, and the child has work to do."""
    for _ in range(1000):
        orders.ring()
    tray.answer_bell()


def test_the_child_sees_the_daemon_go(tray: Tray, orders: Orders) -> None:
    """An empty order is the end."""
    tray._ours.close()
    orders.ring()
    assert orders.wait() == b""
