"""
What a job finds around it, beside its arguments: the environment, the folder, the locale, what decimals are rounded to.
As it was before the first job for each job of the process, since the one before may have been another client's.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # what `signal` is made of
import decimal
import locale
import os
import resource
import signal
import time
from typing import Any, Final

_LIMITS: Final = (
    resource.RLIMIT_AS,
    resource.RLIMIT_CPU,
    resource.RLIMIT_DATA,
    resource.RLIMIT_FSIZE,
    resource.RLIMIT_NOFILE,
)
# Among them what does the most harm unseen: where SIGCHLD is ignored, each program that a job starts seems to succeed.
_HANDLED: Final = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCHLD,
    signal.SIGPIPE,
)


class Surroundings:
    """
    Those of this process, as they are now.

    Args:
        root: The folder in which jobs work.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._environ = os.environ
        self._variables = self._now().copy()
        self._umask = os.umask(0)
        os.umask(self._umask)
        self._locale = locale.setlocale(locale.LC_ALL)
        self._decimals = decimal.getcontext().copy()
        self._handlers = [(number, handler(number)) for number in _HANDLED]
        self._bounds = _bounds()

    def intact(self) -> bool:
        """Whether what cannot be put back by everybody is as it was. If not, no other job may run here."""
        return _bounds() == self._bounds

    def restore(self) -> None:
        """
        Put back what a job has changed. Each job pays for this: what is the same is looked at and no more.

        Raises: OSError if the folder is gone; all else is put back by then.
        """
        os.umask(self._umask)
        decimal.setcontext(self._decimals.copy())
        if self._now() != self._variables:
            self._environ.clear()
            self._environ.update({os.fsdecode(name): os.fsdecode(value) for name, value in self._variables.items()})
            time.tzset()  # TZ may have been among them
        if locale.setlocale(locale.LC_ALL) != self._locale:
            locale.setlocale(locale.LC_ALL, self._locale)
        for number, handled in self._handlers:
            if handler(number) != handled:
                signal.signal(number, handled)
        os.chdir(self._root)

    def _now(self) -> dict[bytes, bytes]:
        # What lies below the mapping: to compare through it decodes each variable, and costs as much as a small job.
        variables: dict[bytes, bytes] = self._environ._data  # type: ignore[attr-defined]  # noqa: SLF001
        return variables


def handler(number: signal.Signals) -> Any:
    """Return what handles a signal: as `signal.getsignal`, which makes an enum of it, and thereby costs tenfold."""
    return _signal.getsignal(number)


def _bounds() -> list[Any]:
    """Return what a process may lower and not raise again, and the signals that it does not hear."""
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    return [blocked, os.getpriority(os.PRIO_PROCESS, 0), *map(resource.getrlimit, _LIMITS)]
