"""What was asked by signals, however many come and whenever they do."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

# As the daemon's main thread waits: it must come to an end whatever comes in between.
WAITS: Final = """
import sys
from millrace.process.signals import Signals
signals = Signals()
signals.listen()
print("listens", flush=True)
while not signals.stop:
    signals.news.wait(0.05)
    signals.news.clear()
    if signals.dump:
        signals.dump = False
        print("dump", flush=True)
print(signals.why, signals.reload, signals.hurry.wait(20))
"""
PAIRS: Final = 1000


@pytest.fixture
def waits() -> Iterator[subprocess.Popen[str]]:
    """Start a process that waits for signals."""
    with subprocess.Popen(
        [sys.executable, "-c", WAITS], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "listens\n"
        yield process
        process.kill()


def test_signals_close_upon_each_other_stop_nobody(waits: subprocess.Popen[str]) -> None:
    """The one may come just where the main thread heeds the other, and holds what it needs for that."""
    assert waits.stdout is not None
    rng = random.Random(7)
    for _ in range(PAIRS):
        waits.send_signal(signal.SIGUSR1)
        for _ in range(rng.randrange(400)):
            pass
        waits.send_signal(signal.SIGHUP)
        assert waits.stdout.readline() == "dump\n"
    waits.send_signal(signal.SIGTERM)
    waits.send_signal(signal.SIGINT)
    assert waits.wait(30) == 0
    assert waits.stdout.read().splitlines()[-1] == "SIGTERM True True"
