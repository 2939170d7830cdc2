"""
Takes down what ended and has nobody else to do it. A daemon is the reaper of all that its jobs leave behind: what a job
in a thread starts in the background comes to the daemon when its own parent ends, and would stay a zombie for ever.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from millrace.runner import tree

if TYPE_CHECKING:
    from collections.abc import Collection

    from millrace.clock import Clock

PATIENCE_S: Final = 60.0


class Adopted:
    """
    The processes that came to this one when their parents ended.

    A subprocess that a job has started itself must be left to it, or it would never learn the exit code. The kernel
    tells the two apart: what a thread starts is that thread's child, and what is adopted is the main thread's, which
    starts nothing. Who started something in a thread that is over is given some time to ask.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._since: dict[tuple[int, int], float] = {}  # zombies, by pid and start: when each was seen first

    def take_down(self, keep: Collection[int | None] = ()) -> int:
        """Take down those that have ended for long, but not the pids of `keep`; return how many."""
        now = self._clock.monotonic()
        ended = [p for p in map(tree.look, _of_main_thread()) if p is not None and p.zombie and p.pid not in keep]
        self._since = {(p.pid, p.start_ticks): self._since.get((p.pid, p.start_ticks), now) for p in ended}
        over = [pid for (pid, _), since in self._since.items() if now - since >= PATIENCE_S]
        for pid in over:
            with suppress(ChildProcessError):  # somebody was quicker
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
        return len(over)


def _of_main_thread() -> list[int]:
    here = os.getpid()
    try:
        return [int(pid) for pid in Path(f"/proc/{here}/task/{here}/children").read_text().split()]
    except OSError:  # a kernel that does not tell
        return []
