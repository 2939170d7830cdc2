"""Whether the kernel ended a process for want of memory: it says KILL either way, and counts its own."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Final

_VMSTAT: Final = Path("/proc/vmstat")


class OomWatch:
    """
    Compares the kernel's count of out-of-memory kills with the last one seen. Thread-safe.

    Args:
        source: The kernel's counters; without `oom_kill` in them (before Linux 4.13) the answer is always no.
    """

    def __init__(self, source: Path = _VMSTAT) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._seen = self._count()

    def struck(self) -> bool:
        """Return whether the kernel has killed for want of memory since the last question."""
        with self._lock:
            before, self._seen = self._seen, self._count()
            return self._seen > before

    def _count(self) -> int:
        try:
            lines = self._source.read_text("ascii").splitlines()
        except OSError:
            return 0
        return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
