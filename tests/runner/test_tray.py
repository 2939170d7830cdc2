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
    """Both sides reach for it at once, over and over."""

    def take_all() -> int:
        count = 0
        while orders.take() is not None:
            count += 1
        return count

    for _ in range(300):
        assert all(tray.put(b"x") for _ in range(MOST))
        taking = aside(take_all)
        assert tray.recall() + taking.result(20) == MOST


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
