"""The order to stop, as it arrives in job code: no `Exception`, so that a broad `except` does not swallow it."""

from __future__ import annotations

from typing import Final

TIMEOUT: Final = "timeout"
CANCELLED: Final = "cancelled"
INTERRUPTED: Final = "interrupted"
WHYS: Final = frozenset({TIMEOUT, CANCELLED, INTERRUPTED})


class StopJob(BaseException):
    """The attempt shall end: its time is up, it was cancelled, or the daemon goes down."""

    def __init__(self, why: str) -> None:
        super().__init__(f"this attempt was asked to stop: {why}")
        self.why = why
