"""The doctor's look at the backups that the daemon makes by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from millrace.cli.checks import Check
from millrace.cli.times import age
from millrace.clock import MS
from millrace.errors import MillraceError
from millrace.ledger.notes import BACKUP, BACKUP_FAILED, RESTORE_TEST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from millrace.cli.session import Session
    from millrace.ledger.reads import Reads

_LOG = "look at the daemon's log, then: millrace backup"


def check_backup(session: Session, reads: Reads) -> Iterator[Check]:
    """Whether the last backup, and the last rehearsal of one, went well."""
    from millrace.observe.health import LATE_BACKUPS

    try:
        every_s = session.site_or_defaults().settings.backup.every
    except MillraceError:
        return  # an earlier check has told
    good, failed, tested = (reads.noted(name) for name in (BACKUP, BACKUP_FAILED, RESTORE_TEST))
    age_s = None if good is None else (session.clock.now_ms() - good["at"]) / MS
    if failed is not None and (good is None or failed["at"] > good["at"]):
        yield Check("backup", "fail" if every_s else "warn", f"the last backup failed: {failed['reason']}", _LOG)
    elif tested is not None and tested["problems"]:
        yield Check("backup", "fail", f"a backup could not be relied on: {tested['problems'][0]}", _LOG)
    elif every_s is None:
        text = "none is made by itself" + ("" if age_s is None else f"; the last is {age(age_s)} old")
        yield Check("backup", "ok", f"{text}: see [backup] every")
    elif age_s is None:
        yield Check("backup", "ok", "the daemon has made none yet")
    elif age_s > LATE_BACKUPS * every_s:
        yield Check("backup", "warn", f"the last good backup is {age(age_s)} old", _LOG)
    else:
        yield Check("backup", "ok", f"the last is {age(age_s)} old")
