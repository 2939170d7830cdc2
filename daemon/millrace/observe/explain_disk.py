"""Why the ledger takes nothing: its disk is full; and what has ended and could not be written down for that. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from millrace.config.sizes import format_size
from millrace.observe.explain import Because, Change
from millrace.queue.room import Level

if TYPE_CHECKING:
    from collections.abc import Mapping

LEAST: Final = 100_000  # bytes: with less, hardly any commit finds room
MAKE_ROOM: Final = Change("Make room on the disk of the ledger. All goes on by itself then; no restart is needed.")


class Unrecorded(NamedTuple):
    """An attempt that has ended, and of which the ledger does not take what it came to."""

    attempt: int
    why: str


class Disk(NamedTuple):
    """
    The ledger's disk, and what the daemon could not write on it.

    Args:
        free, kept: Bytes; see `queue.room.Level`.
        full: Whether what is to be written finds no room.
        unrecorded: By job.
    """

    free: int
    kept: int
    full: bool
    unrecorded: Mapping[str, Unrecorded]

    @property
    def low(self) -> bool:
        """Whether no work is taken in."""
        return self.free < self.kept

    def as_json(self) -> dict[str, Any]:
        """Return the disk among the facts of an explanation."""
        return {"free_bytes": self.free, "kept_bytes": self.kept, "full": self.full, "unrecorded": len(self.unrecorded)}

    def because(self) -> Because:
        """Say that it is full."""
        text = (
            f"The disk of the ledger is full: {format_size(self.free)} are left. What starts or ends cannot be written."
        )
        return Because(None, "disk_full", text)

    def why_refused(self) -> Because:
        """Say that no work is taken in, while what was accepted goes on."""
        text = (
            f"More is refused, as the disk is nearly full: {format_size(self.free)} are left and "
            f"{format_size(self.kept)} are kept for what was accepted, which goes on."
        )
        return Because(None, "disk_low", text)


def disk_of(level: Level | None, troubles: Mapping[str, Any]) -> Disk | None:
    """
    Return what is known of the disk; None if nothing is.

    Args:
        level: As it looks from here; what the daemon says of it counts for more.
        troubles: What the daemon says; see `process.engine.Engine.troubles`. Empty if none answers.
    """
    level = Level(*said) if (said := troubles.get("level")) is not None else level
    if level is None:
        return None
    unrecorded = {job_id: Unrecorded(*known) for job_id, known in troubles.get("unrecorded", {}).items()}
    return Disk(level.free, level.kept, bool(troubles.get("full")) or level.free < LEAST, unrecorded)
