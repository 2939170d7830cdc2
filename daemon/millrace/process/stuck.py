"""Leaves word of jobs in threads that run beyond their time: only the daemon knows of them."""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Final

from millrace.clock import MS
from millrace.events import ThreadStuck
from millrace.ledger.notes import STUCK

if TYPE_CHECKING:
    from collections.abc import Callable

    from millrace.clock import Clock
    from millrace.events import Event

MOST: Final = 50  # the newest; who reads it looks which of them still run


class StuckNotes:
    """
    Listens to the events of a daemon.

    Args:
        daemon: Its id.
        note: Keeps a text under a name where commands can read it.
    """

    def __init__(self, daemon: str, note: Callable[[str, str], object], clock: Clock) -> None:
        self._daemon = daemon
        self._note = note
        self._clock = clock
        self._jobs: deque[dict[str, str | int]] = deque(maxlen=MOST)

    def __call__(self, event: Event) -> None:
        """Keep what an event says, if it is about such a job."""
        if isinstance(event, ThreadStuck):
            since = self._clock.now_ms() - round(event.over_s * MS)
            self._jobs.append({"id": event.job_id, "since": since})
            self._note(STUCK, json.dumps({"daemon": self._daemon, "jobs": list(self._jobs)}))
