"""Fixtures of the tests that run the real daemon."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from tests.process.scratch import Scratch

if TYPE_CHECKING:
    from collections.abc import Iterator

JOBS = Path(__file__).parent / "site" / "work.py"
CONFIG = """
[defaults]
backoff = "10ms"
grace = "500ms"
drain = "{drain}"
[queues.io]
kind = "thread"
workers = 2
"""


class MakeSite(Protocol):
    """Make a scratch site; `config` is added to the usual one, `drain` is how long running jobs may go on."""

    def __call__(self, config: str = "", drain: str = "30s") -> Scratch: ...


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[MakeSite]:
    """Make sites whose daemons end with the test."""
    with ExitStack() as stack:

        def make(config: str = "", drain: str = "30s") -> Scratch:
            return stack.enter_context(Scratch(tmp_path / "site", [JOBS], CONFIG.format(drain=drain) + config))

        yield make


@pytest.fixture
def site(make_site: MakeSite) -> Scratch:
    """A site with a process queue (default) and a thread queue (io)."""
    return make_site()
