"""The doctor's look at the files of large values beside the ledger."""

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
