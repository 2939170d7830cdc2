"""Jobs that misuse their way to the supervisor. Copied into a site of its own for each test."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

from millrace import Pipeline, context, step, task

if TYPE_CHECKING:
    from millrace.runner.line import SocketLine


def _line() -> SocketLine:
    line: Any = context().line
    return line  # type: ignore[no-any-return] # in a child it is none other


@task
def tell(word: str, body: dict[str, Any]) -> str:
    """Say something, and go on for ever."""
    _line().tell(word, body)
    threading.Event().wait()
    return "never"


@task
def ask(word: str, body: dict[str, Any]) -> object:
    """Ask something."""
    line = context().line
    assert line is not None
    return line.ask(word, body)


@task
def remark(word: str, body: dict[str, Any]) -> str:
    """Remark something, and do as if nothing was the matter."""
    line = context().line
    assert line is not None
    line.tell(word, body)
    return "done"


@task
def hang_up() -> str:
    """Close the connection, and go on for ever."""
    _line()._sock.shutdown(socket.SHUT_RDWR)
    threading.Event().wait()
    return "never"


@task
def flood_words(count: int) -> str:
    """Remark more than the socket holds."""
    for _ in range(count):
        _line().tell("progress", {"done": 1, "noise": "x" * 10_000})
    return "done"


@task
def large_step(size: int) -> int:
    """Keep a large checkpoint, fail, and read it the second time."""
    text = step("text", lambda: "é" * size)
    if context().attempt == 1:
        raise RuntimeError("after the step")
    return len(text)


class Sly:
    """Breaks while it is told."""

    def __str__(self) -> str:
        raise RuntimeError("no")


@task
def speechless() -> None:
    """Raise what cannot be put into words."""
    raise ValueError(Sly())


ways = Pipeline("ways", inputs={"n": int})


@ways.route
def way(n: int) -> Any:
    """Return what is no label."""
    return n


@way.to("left")
def left(n: int) -> int:
    """Stand behind it."""
    return n
