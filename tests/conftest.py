"""What tests of several rooms share: a clean environment, a config.toml, and waiting with a limit."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Protocol, TypeVar

import hypothesis
import pytest

from millrace.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

T = TypeVar("T")
# A machine that others share may pause in any example: how long one took says nothing.
hypothesis.settings.register_profile("millrace", deadline=None)
hypothesis.settings.load_profile("millrace")


class Until(Protocol):
    """Wait for a condition: `until(lambda: queue.empty())` returns what the condition returned."""

    def __call__(self, condition: Callable[[], T], limit_s: float = 20.0) -> T: ...


@pytest.fixture(autouse=True, scope="session")
def clean_environment() -> Iterator[None]:
    """What the tester's shell says about a site must not reach the sites of the tests, nor their child processes."""
    ours = {name: value for name, value in os.environ.items() if name.startswith("MILLRACE_")}
    ours |= {name: os.environ[name] for name in ("STATE_DIRECTORY", "NOTIFY_SOCKET") if name in os.environ}
    for name in ours:
        del os.environ[name]
    yield
    os.environ.update(ours)


@pytest.fixture
def config(tmp_path: Path) -> Callable[[str], Path]:
    """Write a config.toml into the test's own folder and return its path."""

    def write(text: str = "") -> Path:
        path = tmp_path / "config.toml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def until() -> Until:
    """Look every few milliseconds until a condition holds; a test that waits in vain fails and says for what."""

    def wait(condition: Callable[[], T], limit_s: float = 20.0) -> T:
        deadline = SYSTEM.monotonic() + limit_s
        while not (found := condition()):
            if SYSTEM.monotonic() > deadline:
                pytest.fail(f"waited {limit_s} s in vain for {condition.__qualname__}")
            SYSTEM.wait(threading.Event(), 0.005)
        return found

    return wait
