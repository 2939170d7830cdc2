"""The messages whose keepers come with later rooms pass through the same desk, from a real child and from a thread."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import pytest

from millrace.errors import Parked

if TYPE_CHECKING:
    from millrace.ledger.rows import Claim
    from millrace.runner.running import Kind
    from tests.runner.rig import Rig

KINDS: list[Kind] = ["thread", "process"]


class Keeper:
    """A journal that remembers."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, dict[str, Any]]] = []

    def answer(self, held: Claim, kind: str, body: dict[str, Any]) -> Any:
        self.heard.append((kind, body))
        assert held.attempt == 1
        raise Parked("breaker:crm", 7)

    def remark(self, held: Claim, kind: str, body: dict[str, Any]) -> None:  # noqa: ARG002 - see Journal
        self.heard.append((kind, body))


@pytest.mark.parametrize("kind", KINDS)
def test_what_nobody_keeps_yet_is_a_clear_error(rig: Rig, kind: Kind) -> None:
    """A job that asks for it fails with a reason, it does not hang."""
    job = rig.run("asks", kind=kind, question="permit")

    assert job.error is not None
    assert (job.error.type, "keeps no journal" in job.error.message) == ("Unsupported", True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_permit_parks_the_job(rig: Rig, kind: Kind) -> None:
    """An open breaker costs no attempt."""
    keeper = Keeper()
    rig.kit = dataclasses.replace(rig.kit, journal=keeper)
    job = rig.run("asks", kind=kind, question="permit")

    assert keeper.heard == [("called", {"done": 1}), ("permit", {"key": "k"})]

    assert (job.status, job.reason, job.failures) == ("waiting", "breaker:crm", 0)
