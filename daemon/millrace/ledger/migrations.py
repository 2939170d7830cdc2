"""
Creates a fresh ledger and brings an older one up to date. A migration is a numbered function that runs, with the
change of the version number, in one transaction: a kill at any point leaves the old version or the new one.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from peewee import SchemaManager

from millrace.errors import LedgerForeign, LedgerNewer
from millrace.ledger import models
from millrace.ledger.database import APPLICATION_ID, VERSION, newer
from millrace.ledger.held import refuse_if_served
from millrace.ledger.ids import new_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from playhouse.apsw_ext import APSWDatabase


def migrate(database: APSWDatabase, *, now_ms: int) -> None:
    """
    Create the tables of a fresh file, or apply the migrations that an older ledger lacks.

    Not under another process that serves it: an older daemon would write on, by rules that do not hold any more.

    Raises: LedgerForeign if the file belongs to another program or to a newer Millrace, LedgerBusy if an older one is
        served; it is left untouched.
    """
    if identify(database) == VERSION:
        return
    with database.atomic("IMMEDIATE"):
        version = identify(database)  # again: another process may have been first
        if version == 0:
            _create(database, now_ms)
        else:
            behind = f"this ledger has version {version}, and would have to be brought to {VERSION}"
            refuse_if_served(Path(database.database), behind)
            for number in range(version + 1, VERSION + 1):
                MIGRATIONS[number](database)
        database.execute_sql(f"PRAGMA user_version = {VERSION}")


def identify(database: APSWDatabase) -> int:
    """
    Return the version of a ledger, 0 for an empty file; writes nothing.

    Raises: LedgerForeign if the file belongs to another program or to a newer Millrace.
    """
    # In one transaction: if another process made the ledger between two looks, it would look like a foreign one.
    with database.atomic():
        tables = database.execute_sql("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        application, version = (
            int(database.execute_sql(f"PRAGMA {name}").fetchone()[0]) for name in ("application_id", "user_version")
        )
    _check(application, version, empty=not tables)
    return version


def _check(application: int, version: int, *, empty: bool) -> None:
    if application != APPLICATION_ID and not (empty and application == 0):
        msg = "this database belongs to another program; point [database] url at a file of Millrace's own"
        raise LedgerForeign(msg)
    if version > VERSION:
        raise LedgerNewer(newer(version))


def _create(database: APSWDatabase, now_ms: int) -> None:
    database.execute_sql(f"PRAGMA application_id = {APPLICATION_ID}")
    with database.bind_ctx(models.TABLES, bind_refs=False, bind_backrefs=False):
        database.create_tables(models.TABLES, safe=True)
        models.Meta.insert(key="ledger", value=new_id(now_ms)).execute()


def _runs_and_audit(database: APSWDatabase) -> None:
    """Version 2: runs of pipelines, the audit log, and schedules."""
    with database.bind_ctx((models.Job, *models.IN_2), bind_refs=False, bind_backrefs=False):
        database.create_tables(models.IN_2, safe=True)
        SchemaManager(models.Job).create_indexes(safe=True)  # those that are missing


def _blobs(database: APSWDatabase) -> None:
    """Version 3: large values in files. An older Millrace would take the reference to one for the value."""
    with database.bind_ctx(models.IN_3, bind_refs=False, bind_backrefs=False):
        database.create_tables(models.IN_3, safe=True)


# The number of a migration is the version that it leads to; a fresh ledger is made by `models` as the newest.
MIGRATIONS: Final[dict[int, Callable[[APSWDatabase], None]]] = {2: _runs_and_audit, 3: _blobs}
