"""What `[backup]`, `[retention]` and `[storage]` may say: what is kept, for how long, and how much room is left."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from millrace.config.kinds import Text, Whole, duration, size

_MINUTE = 60.0
_DAY = 86_400.0
_YEAR = 365 * _DAY


class BackupSettings(BaseModel):
    """
    `[backup]`: how often the running daemon backs the site up, and how many backups are kept.

    Without `every` it makes none. The newest one is unpacked and examined each `test_every`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    every: Annotated[float, duration(_MINUTE, _YEAR)] | None = None
    keep: Annotated[Whole, Field(ge=1, le=10_000)] = 7
    folder: Text = "backups"
    test_every: Annotated[float, duration(_MINUTE, _YEAR)] = 7 * _DAY


class RetentionSettings(BaseModel):
    """
    `[retention]`: for how long what is over is kept, from its end on. What has no time is kept for ever.

    `succeeded`, `cancelled` and `dead` are for jobs by themselves. A run is kept or removed as a whole, with all of its
    jobs: after `runs`, and one with dead jobs not before `dead`. With them go their keys, which are free again.
    Above `max_size` the oldest that succeeded or was cancelled goes earlier; dead letters never do.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    succeeded: Annotated[float, duration(_MINUTE, 100 * _YEAR)] | None = None
    cancelled: Annotated[float, duration(_MINUTE, 100 * _YEAR)] | None = None
    dead: Annotated[float, duration(_MINUTE, 100 * _YEAR)] | None = None
    runs: Annotated[float, duration(_MINUTE, 100 * _YEAR)] | None = None
    audit: Annotated[float, duration(_DAY, 100 * _YEAR)] | None = None
    max_size: Annotated[int, size(10**6, 10**15)] | None = None


class StorageSettings(BaseModel):
    """
    `[storage]`: how much of the disk is kept for the work that was accepted.

    With less than `reserve` free, no work is taken in from outside. Without it, it is 50 MB, or half of a smaller disk.
    The write-ahead log is kept free besides, and 5 kB for each open job if that is more.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    reserve: Annotated[int, size(0, 10**13)] | None = None
