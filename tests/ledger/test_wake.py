"""Pokes between processes: fast when they arrive, harmless when they do not."""

from __future__ import annotations

import stat
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from millrace.clock import SYSTEM
from millrace.ledger.wake import SOCKET_NAME, Listener, Poker, ask, poke

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIMIT_S = 20.0


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[Listener]:
    """A daemon's end in a folder of its own."""
    listener = Listener(tmp_path)
    yield listener
    listener.close()


def test_a_poke_ends_the_wait(listener: Listener, tmp_path: Path) -> None:
    """From another thread, while it waits."""
    threading.Thread(target=poke, args=(tmp_path,)).start()
    began = SYSTEM.monotonic()
    assert listener.wait(LIMIT_S)
    assert SYSTEM.monotonic() - began < LIMIT_S


def test_a_poke_from_another_process_ends_the_wait(listener: Listener, tmp_path: Path) -> None:
    """That is whom it is for."""
    script = "import sys, pathlib; from millrace.ledger.wake import poke; sys.exit(not poke(pathlib.Path(sys.argv[1])))"
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True, timeout=LIMIT_S)
    assert listener.wait(LIMIT_S)


def test_the_daemon_answers_what_stands_in_no_ledger(tmp_path: Path) -> None:
    """What it cannot write it can only say; a question is no news of a write."""
    assert ask(tmp_path) is None
    listener = Listener(tmp_path, lambda: "no room")
    answers: list[str | None] = []
    asker = threading.Thread(target=lambda: answers.append(ask(tmp_path, LIMIT_S)))
    asker.start()
    assert not listener.wait(LIMIT_S)
    asker.join(LIMIT_S)
    assert answers == ["no room"]
    assert ask(tmp_path, 0.01) is None, "a daemon that hangs is not waited for"
    poke(tmp_path)
    assert listener.wait(LIMIT_S), "whoever asked and went keeps no poke from being heard"
    listener.close()


def test_many_pokes_are_one(listener: Listener, tmp_path: Path) -> None:
    """A thousand submissions wake the daemon once; also when the buffer is full nobody waits."""
    assert all(poke(tmp_path) for _ in range(1000))
    assert listener.wait(LIMIT_S)
    assert not listener.wait(0.001)


def test_a_poke_that_nobody_hears_is_no_error(tmp_path: Path) -> None:
    """The command line works while the daemon is down, with and without what it left behind."""
    assert not poke(tmp_path / "missing")
    assert not poke(tmp_path)
    Listener(tmp_path).close()
    assert not (tmp_path / SOCKET_NAME).exists()
    dead = Listener(tmp_path)
    dead._socket.close()  # as after a kill: the file stays
    assert not poke(tmp_path)
    again = Listener(tmp_path)
    assert poke(tmp_path)
    again.close()


def test_a_folder_deeper_than_an_address_is_long_works(tmp_path: Path) -> None:
    """The kernel takes 107 bytes; a site may lie deeper."""
    deep = tmp_path / ("x" * 100) / ("ü" * 60)
    deep.mkdir(parents=True)
    listener = Listener(deep)
    assert poke(deep)
    assert listener.wait(LIMIT_S)
    listener.close()
    assert list(deep.iterdir()) == []


def test_the_socket_is_for_its_owner_alone(listener: Listener, tmp_path: Path) -> None:
    """Others could keep the daemon busy."""
    assert stat.S_IMODE((tmp_path / SOCKET_NAME).stat().st_mode) == 0o600


def test_one_who_pokes_often_finds_the_daemon_that_came_after(tmp_path: Path) -> None:
    """It keeps its socket, and lets go of it when nobody is behind it any more."""
    poker = Poker(tmp_path)
    for _ in range(2):
        listener = Listener(tmp_path)
        assert poker.poke()
        assert poker.poke()
        assert listener.wait(LIMIT_S)
        listener.close()
        assert not poker.poke()
    poker.close()
