"""Where the daemon listens: what it bound at its start, which config.toml may have changed since."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from millrace.config.address import listen_text
from millrace.ledger.notes import LISTEN

if TYPE_CHECKING:
    from millrace.config.find import Places
    from millrace.ledger.reads import Reads
    from millrace.ledger.rows import DaemonRow


class Listening(NamedTuple):
    """Host and port where the daemon listens, or will; `later` are those of config.toml, if they are others."""

    host: str
    port: int
    later: tuple[str, int] | None = None

    @property
    def text(self) -> str:
        """The address, as config.toml has it."""
        return listen_text(self.host, self.port)

    @property
    def later_words(self) -> str:
        """What holds from the next start on; empty if it is the same."""
        return f"config.toml says {listen_text(*self.later)}, from the next start on" if self.later else ""


def listening(places: Places, reads: Reads | None, daemon: DaemonRow | None) -> Listening:
    """
    Return where the daemon listens.

    Args:
        reads: The ledger; None if there is none.
        daemon: The one that runs; None if none does, or it has not yet said.
    """
    configured = Listening(*places.listen)
    text = reads.note(LISTEN) if reads is not None and daemon is not None else None
    found = json.loads(text) if text else {}
    if daemon is None or found.get("daemon") != daemon.id:  # of an older program, which left no such note
        return configured
    bound = Listening(found["host"], found["port"])
    same = configured.host == bound.host and configured.port in (bound.port, 0)
    return bound if same else bound._replace(later=places.listen)
