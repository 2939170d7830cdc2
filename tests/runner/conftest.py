"""Fixtures of the runner's tests."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from millrace.clock import SYSTEM
from millrace.define.load import load_jobs
from millrace.ledger.ledger import Ledger
from millrace.runner.children import Children
from millrace.runner.kit import Kit
from millrace.runner.policy import RunPolicy
from millrace.runner.running import Running
from tests.runner.rig import MEMORY, Rig, marked, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from millrace.events import Event


def descriptors() -> int:
    """Return how many files this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site with one file of jobs."""
    jobs = tmp_path / "site" / "jobs"
    jobs.mkdir(parents=True)
    shutil.copy(Path(__file__).parent / "site" / "tricks.py", jobs / "tricks.py")
    return jobs.parent


@pytest.fixture
def rig(site: Path, tmp_path: Path) -> Iterator[Rig]:
    """A rig over a fresh ledger; when it is taken down, no process, descriptor or scratch file may be left."""
    before = descriptors()
    mark = f"test-{tmp_path.name}-{os.getpid()}"
    events: list[Event] = []
    ledger = Ledger(tmp_path / "ledger.db", synchronous="normal")
    ledger.moves.daemon = "d1"
    children = Children(
        root=site,
        jobs="jobs",
        daemon_id="d1",
        ledger_mark=mark,
        scratch=tmp_path / "scratch",
        queues={"default", "small"},
        clock=SYSTEM,
        emit=events.append,
        moves=ledger.moves,
        grace_s=0.3,
        memory={"small": MEMORY},
    )
    kit = Kit(
        registry=load_jobs(site, "jobs", queues={"default", "small"}),
        moves=ledger.moves,
        reads=ledger.reads,
        clock=SYSTEM,
        emit=events.append,
        children=children,
        defaults=RunPolicy(timeout_s=30.0),
        settings_of=lambda client: {"threshold": 80} if client == "default" else {},
        random=Random(1),
    )
    yield Rig(kit, ledger, children, Running(SYSTEM), mark, site, events)
    children.close()
    ledger.close()
    until(lambda: not marked(mark))
    assert not (tmp_path / "scratch").exists()
    until(lambda: descriptors() <= before)


@pytest.fixture
def aside() -> Iterator[Callable[..., Future[Any]]]:
    """Run a call in another thread."""
    with ThreadPoolExecutor(8) as pool:
        yield pool.submit
