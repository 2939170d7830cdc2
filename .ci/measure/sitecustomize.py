"""
Read by every Python that `make coverage` starts: has the child processes of the daemon measured too.

The daemon kills a child that is of no more use, so that nothing that descends from it is left; coverage.py saves what
it has seen when a process ends by itself. So a child saves each time before it wakes its supervisor, which alone can
decide to end it: what a job did up to its last word is in the figures, and nothing hangs on a moment.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any


def _save_before_the_bell() -> None:
    tray = sys.modules.get("millrace.runner.tray")  # imported from here, it would not be measured itself
    if tray is None or "coverage" not in sys.modules:
        return
    ring = tray.Orders.ring

    def saved_and_rung(self: Any) -> None:
        _save()
        ring(self)

    tray.Orders.ring = saved_and_rung


def _save() -> None:
    from coverage import Coverage

    measuring = Coverage.current()
    if measuring is not None:
        with contextlib.suppress(Exception):  # the disk is full, say: the job goes on as it would without us
            measuring.save()
            measuring.get_data().close(force=True)  # a job may close every descriptor that it did not open


os.register_at_fork(after_in_child=_save_before_the_bell)
