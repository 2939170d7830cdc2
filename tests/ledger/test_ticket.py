"""Tickets: results after the commit, callbacks exactly once."""

from __future__ import annotations

import threading

import pytest

from millrace.errors import LedgerBusy
from millrace.ledger.ticket import Ticket
from tests.ledger.rig import LIMIT_S


def test_a_ticket_gives_its_result_as_often_as_it_is_asked() -> None:
    """Several callers may wait for one commit."""
    ticket: Ticket[int] = Ticket()
    threading.Thread(target=lambda: ticket.settle(7, None)).start()
    assert [ticket.wait(LIMIT_S), ticket.wait(), ticket.wait(0)] == [7, 7, 7]
    assert ticket.done


def test_a_ticket_raises_its_error() -> None:
    """What the unit raised is raised where it is waited for."""
    ticket: Ticket[int] = Ticket()
    ticket.settle(None, ValueError("mine"))
    with pytest.raises(ValueError, match="mine"):
        ticket.wait()


def test_a_ticket_says_when_the_time_is_up() -> None:
    """The unit may still be committed; the caller learns that it does not know."""
    ticket: Ticket[int] = Ticket()
    with pytest.raises(LedgerBusy, match="did not commit within 0"):
        ticket.wait(0)
    assert not ticket.done


def test_callbacks_come_before_and_after_the_settling() -> None:
    """Who asks late is told at once."""
    told: list[str] = []
    ticket: Ticket[int] = Ticket()
    ticket.then(lambda done: told.append(f"early {done.wait(0)}"))
    ticket.settle(7, None)
    ticket.then(lambda done: told.append(f"late {done.wait(0)}"))
    assert told == ["early 7", "late 7"]


def test_a_callback_that_races_with_the_settling_is_called_once() -> None:
    """Lost, a worker would wait for ever; twice, a job would be taken up twice."""
    for _ in range(300):
        ticket: Ticket[int] = Ticket()
        told: list[int] = []
        ready = threading.Barrier(3)

        def ask(ticket: Ticket[int] = ticket, told: list[int] = told, ready: threading.Barrier = ready) -> None:
            ready.wait(LIMIT_S)
            ticket.then(lambda done: told.append(done.wait(0)))

        threads = [threading.Thread(target=ask) for _ in range(2)]
        for thread in threads:
            thread.start()
        ready.wait(LIMIT_S)
        ticket.settle(1, None)
        for thread in threads:
            thread.join(LIMIT_S)
        assert told == [1, 1]
