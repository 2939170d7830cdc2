"""
Invitations: the pipeline of `millrace demo`. Each guest is looked up, gets a ticket, and is invited by mail, once.

The outside world is pretended: a register that knows the guests, and a mail service that sends whatever it is told,
twice if it is told twice, and can be asked what it has sent. `office` is its address.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from hashlib import pbkdf2_hmac
from typing import Final

import httpx
from pydantic import BaseModel

from millrace import Done, Pipeline, Results, once

HOST: Final = "host@mill.example"
ROUNDS: Final = 60_000  # some hundredths of a second of a processor

invitations = Pipeline("invitations", inputs={"guests": int, "office": str, "careful": (bool, True)}, queue="io")


class Guest(BaseModel, frozen=True):
    """Somebody who is to come."""

    number: int


@invitations.stage
def guest(guests: int) -> Iterator[Guest]:
    """One record for each guest."""
    for number in range(1, guests + 1):
        yield Guest(number=number)


@invitations.stage
def address(guest: Guest, office: str) -> str:
    """Ask the register where a guest can be reached."""
    found: str = http().get(f"{office}/guests/{guest.number}").raise_for_status().json()["mail"]
    return found


@invitations.stage(queue="default")
def ticket(guest: Guest) -> str:
    """Draw a ticket that nobody guesses: work for a processor, so it runs in a process that can be killed."""
    return pbkdf2_hmac("sha256", str(guest.number).encode(), b"mill", ROUNDS).hex()[:12]


@invitations.stage
def mail(guest: Guest, address: str, ticket: str, office: str, careful: bool) -> str:  # noqa: FBT001 - an input
    """Invite a guest: once, or, to see what that is for, without asking whether it was done before."""
    key, text = f"invitation-{guest.number}", f"Come to the mill. Your ticket: {ticket}"
    if not careful:
        return send(office, address, text, key)
    return once(key, send, office, address, text, verify=sent, not_done=httpx.ConnectError)


@invitations.collect
def invited(mail: Results[str]) -> int:
    """Count the guests who have their invitation."""
    return len(mail)


@invitations.stage
def report(invited: int, office: str) -> str:
    """Tell the host how many are to come."""
    text = f"{invited} guests are invited"
    return once("report", send, office, HOST, text, verify=sent, not_done=httpx.ConnectError)


def send(office: str, to: str, text: str, idempotency_key: str) -> str:
    """Give a mail to the service; return the number that it got there."""
    body, key = {"to": to, "text": text}, {"Idempotency-Key": idempotency_key}
    number: str = http().post(f"{office}/mails", json=body, headers=key).raise_for_status().json()["number"]
    return number


def sent(office: str, to: str, text: str, idempotency_key: str) -> Done[str] | None:  # noqa: ARG001 - called as send
    """Ask the service whether it has sent a mail."""
    answer = http().get(f"{office}/mails/{idempotency_key}")
    if answer.status_code == httpx.codes.NOT_FOUND:
        return None
    return Done(answer.raise_for_status().json()["number"])


@cache
def http() -> httpx.Client:
    """Return the client that all calls of this process share; a proxy of the machine has no business on loopback."""
    return httpx.Client(timeout=60, trust_env=False)
