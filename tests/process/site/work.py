"""Jobs that tell what they do by files in the site's folder, and wait for files to go on."""

from __future__ import annotations

import hashlib
import os
import threading
from datetime import datetime
from pathlib import Path

from millrace import context, log, settings, task


def _pause() -> None:
    threading.Event().wait(0.01)


@task(timeout="60s")
def add(a: int, b: int) -> int:
    """Compute at once."""
    return a + b


@task
def greeting() -> str:
    """Say what the settings say."""
    return str(settings["greeting"]["word"])


@task
def offset() -> float:
    """Return by how many seconds local time is ahead of UTC in a process of its own."""
    return _offset()


@task(queue="io")
def offset_here() -> float:
    """Return it in the daemon's process."""
    return _offset()


def _offset() -> float:
    ahead = datetime.fromtimestamp(0).astimezone().utcoffset()
    return ahead.total_seconds() if ahead is not None else 0.0


@task(timeout="60s")
def hold(name: str) -> str:
    """Say that it runs, then wait until it may end; a second attempt notes its number."""
    Path(f"{name}.pid").write_text(str(os.getpid()))
    Path(f"{name}.running-{context().attempt}").touch()
    while not Path(f"{name}.go").exists():
        _pause()
    return name


@task(queue="io", timeout="60s")
def polite(name: str) -> str:
    """Hold a thread, but look every moment whether it should end: each `log` is such a point."""
    Path(f"{name}.running-{context().attempt}").touch()
    while not Path(f"{name}.go").exists():
        log("still here", level="debug")
        _pause()
    return name


@task(queue="io", timeout="60s")
def stubborn(name: str) -> str:
    """Hold a thread and never look."""
    return str(hold(name))


@task
def credential(name: str) -> str:
    """Return the SHA-256 of a secret that the manager of the service has laid ready."""
    return hashlib.sha256((Path(os.environ["CREDENTIALS_DIRECTORY"]) / name).read_bytes()).hexdigest()
