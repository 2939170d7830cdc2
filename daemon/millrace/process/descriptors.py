"""
How many files this process may have open. Connections of clients are files too: they get what the daemon itself and its
workers leave, so that whoever connects and says nothing takes none from a job or from the ledger.
"""

from __future__ import annotations

import resource
from typing import Final

from millrace.errors import SettingsError
from millrace.web.server import MOST

ENOUGH: Final = 65_536
FEWEST_CONNECTIONS: Final = 32
OWN: Final = 96  # log, sockets, the ledger in about ten threads
PER_WORKER: Final = 8  # pipes to a child or a connection to the ledger, and some for the job


def allow_files(workers: int) -> int:
    """
    Raise the limit as far as this user may, and return for how many connections it has room.

    Args:
        workers: The most that may work at once, in all queues together.
    Raises: SettingsError if there is no room for the daemon itself.
    """
    soft, hard = (ENOUGH if limit == resource.RLIM_INFINITY else limit for limit in _limits())
    if soft < min(hard, ENOUGH):
        soft = min(hard, ENOUGH)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, _limits()[1]))
    return connections(soft, workers)


def connections(files: int, workers: int) -> int:
    """
    Return how many connections there may be beside all else, of so many files.

    Raises: SettingsError if there is no room for the daemon itself.
    """
    own = OWN + PER_WORKER * workers
    need = own + FEWEST_CONNECTIONS
    if files < need:
        raise SettingsError(
            f"only {files} files may be open at once, and {need} are needed for {workers} workers: raise the limit "
            "(`ulimit -n`, LimitNOFILE= of a unit), or lower max_workers of [queues]"
        )
    return min(MOST, files - own)


def _limits() -> tuple[int, int]:
    return resource.getrlimit(resource.RLIMIT_NOFILE)
