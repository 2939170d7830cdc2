"""
New settings for a daemon that runs: all of them or none. A file that is wrong changes nothing, and whoever wrote it
hears where.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from millrace.config.change import change, version_of
from millrace.config.load import load_site
from millrace.errors import MillraceError
from millrace.events import SettingsRefused, SettingsReloaded

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from millrace.clock import Clock
    from millrace.config.load import Site
    from millrace.config.settings import Settings
    from millrace.events import Emit

# Where the outcome of the last reload stands in the ledger, for `millrace reload` to read.
NOTE: Final = "reload"
# And there, which settings held last: other ones at a start are news too.
VERSION: Final = "settings"
SETTLE_S: Final = 1.0  # a file that was just saved may not be whole yet


class Reloader:
    """
    Watches the site's files and reads its settings again.

    Args:
        site: What the daemon was started with.
        daemon: Its id.
        apply: Lets new settings hold in all rooms; they are valid.
        note: Keeps the outcome where commands can read it.
        audit: Writes who did what: actor, action, subject, facts.
        environ: The environment of the process, which wins over the file.
    """

    def __init__(
        self,
        site: Site,
        *,
        daemon: str,
        apply: Callable[[Settings], None],
        note: Callable[[str, str], object],
        audit: Callable[[str, str, str, dict[str, Any]], object],
        emit: Emit,
        clock: Clock,
        environ: Mapping[str, str],
    ) -> None:
        self._config = site.places.config
        self._jobs = site.places.root / site.places.jobs
        self._settings = site.settings
        self._daemon = daemon
        self._apply = apply
        self._note = note
        self._audit = audit
        self._emit = emit
        self._clock = clock
        self._environ = environ
        self._jobs_at_start = self._job_files()
        self._seen = _mark(self._config)
        self._changed_at: float | None = None

    def begin(self, known: str | None) -> None:
        """Write into the audit log which settings hold from this start on, unless `known` is their version."""
        version = version_of(self._settings)
        if version != known:
            self._audit("daemon", "settings.start", str(self._config), {"version": version, "before": known})
            self._note(VERSION, version)

    def watch(self) -> None:
        """Reload once a config.toml that was changed has been left alone for a second."""
        mark, now_s = _mark(self._config), self._clock.monotonic()
        if mark != self._seen:
            self._seen, self._changed_at = mark, now_s
        elif self._changed_at is not None and now_s - self._changed_at >= SETTLE_S:
            self._changed_at = None
            self.reload("config.toml was changed")

    def reload(self, why: str) -> None:
        """Read the settings again; say what holds now, or what is wrong."""
        self._seen, self._changed_at = _mark(self._config), None
        try:
            found = change(self._settings, load_site(self._config, self._environ).settings)
        except MillraceError as error:
            self._emit(SettingsRefused(why, str(error)))
            self._keep(ok=False, why=why, reason=str(error))
            return
        self._apply(found.settings)
        self._settings = found.settings
        jobs = self._changed_jobs()
        self._emit(SettingsReloaded(why, ", ".join(found.applied), ", ".join(found.at_next_start), ", ".join(jobs)))
        if found:
            version = version_of(found.settings)
            facts = {"why": why, "applied": found.applied, "at_next_start": found.at_next_start, "version": version}
            self._audit("daemon", "settings.reload", str(self._config), facts)
            self._note(VERSION, version)
        self._keep(ok=True, why=why, applied=found.applied, at_next_start=found.at_next_start, jobs_changed=jobs)

    def _keep(self, **facts: object) -> None:
        self._note(NOTE, json.dumps({"at": self._clock.now_ms(), "daemon": self._daemon, **facts}))

    def _changed_jobs(self) -> list[str]:
        """Return the job files that differ from those that run: code is read at the start alone."""
        now = self._job_files()
        return sorted(name for name in {*now, *self._jobs_at_start} if now.get(name) != self._jobs_at_start.get(name))

    def _job_files(self) -> dict[str, tuple[int, int, int] | None]:
        return {f"{self._jobs.name}/{path.name}": _mark(path) for path in sorted(self._jobs.glob("*.py"))}


def _mark(path: Path | None) -> tuple[int, int, int] | None:
    """Return what differs when a file was written again, None while it is not there."""
    try:
        stat = path.stat() if path is not None else None
    except OSError:
        return None
    return (stat.st_mtime_ns, stat.st_size, stat.st_ino) if stat is not None else None
