"""Times as people say and write them."""

from __future__ import annotations

from typing import Any, Final

import click

from millrace.clock import MS, SYSTEM, format_duration, parse_duration, parse_time

_SOON_MS: Final = 1000


def ago(ms: int | None, now_ms: int) -> str:
    """Return a moment as seen from now: "3m ago", "in 5m", "now"; "" for None."""
    if ms is None:
        return ""
    distance = now_ms - ms
    if abs(distance) < _SOON_MS:
        return "now"
    words = _coarse(abs(distance) / MS)
    return f"{words} ago" if distance > 0 else f"in {words}"


def age(seconds: float | None) -> str:
    """Return how long something has lasted, coarsely; "" for None."""
    return "" if seconds is None else _coarse(seconds)


def briefly(seconds: float | None) -> str:
    """Return how long something took by its largest unit, as a column has room for; "" for None."""
    return age(seconds) if seconds is None or seconds >= 1 else format_duration(seconds)


def took(seconds: float | None) -> str:
    """Return how long something took; "" for None."""
    return "" if seconds is None else format_duration(seconds)


def _coarse(seconds: float) -> str:
    """Return a duration by its largest unit: nobody needs the seconds of yesterday."""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"


class Duration(click.ParamType):  # type: ignore[type-arg] # older clicks know no argument here
    """A duration such as 5m; seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """See click."""
        if isinstance(value, int | float):
            return float(value)
        try:
            return parse_duration(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Since(click.ParamType):  # type: ignore[type-arg] # older clicks know no argument here
    """A moment, or how long ago it was; epoch milliseconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """See click."""
        if isinstance(value, int):
            return value
        try:
            return SYSTEM.now_ms() - round(parse_duration(value) * MS)
        except ValueError:
            pass
        try:
            return parse_time(value)
        except ValueError:
            self.fail(
                f'"{value}" is neither a duration such as "2h" nor a time such as "2026-12-01T06:00:00Z"', param, ctx
            )
