"""The doctor's look at the values of jobs: those in rows, and those in files beside the ledger."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from millrace.cli.checks import Check
from millrace.cli.output import plural
from millrace.config.sizes import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

    from millrace.cli.session import Session
    from millrace.ledger.reads import Reads

_NAMED: Final = 3


def check_values(reads: Reads) -> Iterator[Check]:
    """Whether the payloads and results in rows are what was written. Reads them all."""
    from millrace.ledger.seals import altered

    found = altered(reads)
    named = list(islice(found, _NAMED))
    more = sum(1 for _ in found)
    if named:
        text = (
            f"{plural(len(named) + more, 'value')} not as written: {', '.join(named)}{f' and {more} more' * bool(more)}"
        )
        yield Check(
            "values", "fail", text, "restore a backup that has them; what still waits ends as damaged when it runs"
        )
    else:
        yield Check("values", "ok", "payloads and results are what was written")


def check_files(session: Session, reads: Reads) -> Iterator[Check]:
    """Whether each large value has its file, whole, and each file its value. Reads them all."""
    from millrace.ledger import blob_rows
    from millrace.process.retention import STRAY_MS

    lost = blob_rows.damaged(reads)
    strays = len(blob_rows.strays(reads, session.clock.now_ms() - STRAY_MS))
    if lost:
        text = f"{plural(len(lost), 'large value')} lost: {'; '.join(islice(lost, _NAMED))}"
        yield Check(
            "files",
            "fail",
            text,
            "restore a backup that has them, or submit anew what dies of it as damaged",
        )
    if strays:
        text = f"{plural(strays, 'file')} that no value has, left by a kill"
        yield Check("files", "ok", f"{text}: removed with what is old, or now by `millrace prune`")
    if not lost and not strays:
        yield Check("files", "ok", f"large values in files: {format_size(blob_rows.total_bytes(reads))}")
