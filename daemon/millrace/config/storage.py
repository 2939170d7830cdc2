"""What `[backup]`, `[retention]` and `[storage]` may say: what is kept, for how long, and how much room is left."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from millrace.config.kinds import Text, Whole, duration

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
