"""`millrace serve`: the daemon in the foreground, as systemd and people start it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from millrace.clock import SYSTEM, Clock, be_in_utc
from millrace.observe.bus import Bus
from millrace.observe.library import catch_library_logs
from millrace.observe.log import Log
from millrace.process.daemon import Daemon

if TYPE_CHECKING:
    from millrace.config.load import Site


def serve(site: Site, *, clock: Clock = SYSTEM) -> int:
    """
    Serve a site until TERM or INT.

    Returns: The exit code: 0 after a stop in order, 1 after a failure.
    Raises: AlreadyRunning, LedgerForeign, SettingsError and others of `errors`, before work has begun.
    """
    be_in_utc()
    os.chdir(site.places.root)  # as the children of process queues do: a relative path is one of the site, for all
    log = Log(sys.stderr, clock=clock)
    bus = Bus((log,))
    catch_library_logs(bus.emit)
    try:
        return Daemon(site, clock=clock, bus=bus).run()
    finally:
        log.close()
