"""
The due time in what a schedule submits: `{due:%Y-%m}` in a payload is the month that it was due in, in the schedule's
zone. So what is made up for later is made up for the right period.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from millrace.clock import MS, parse_duration
from millrace.errors import PayloadError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

_DUE: Final = re.compile(r"\{due(?:(?P<sign>[+-])(?P<span>[0-9a-z]+))?(?::(?P<form>[^{}]*))?\}", re.ASCII)


def filled(payload: Mapping[str, Any], due_at: int, zone: str) -> dict[str, Any]:
    """
    Return a payload with the due time in place of `{due}`, `{due:FORM}` and `{due-1d:FORM}`, at any depth.

    FORM is that of `strftime`; without one it is ISO 8601 with its offset. Whole days are days of the calendar.

    Args:
        due_at: Epoch ms.
        zone: The zone in which it is told, an IANA name.
    Raises: PayloadError if a span or a form is none.
    """
    moment = datetime.fromtimestamp(due_at / MS, ZoneInfo(zone))
    try:
        return {name: _filled(value, moment) for name, value in payload.items()}
    except (ValueError, OverflowError) as error:
        raise PayloadError([Problem("payload", f"{{due}}: {error}", 'such as "{due-1d:%Y-%m}"')]) from error


def _filled(value: Any, moment: datetime) -> Any:
    match value:
        case str():
            return _DUE.sub(lambda found: _text(found, moment), value) if "{due" in value else value
        case dict():
            return {name: _filled(one, moment) for name, one in value.items()}
        case list() | tuple():
            return [_filled(one, moment) for one in value]
        case _:
            return value


def _text(found: re.Match[str], moment: datetime) -> str:
    if found["span"]:
        span = timedelta(seconds=parse_duration(found["span"]))
        moment = moment + span if found["sign"] == "+" else moment - span  # on the wall clock: a day is a day
    return moment.strftime(found["form"]) if found["form"] else moment.isoformat(timespec="seconds")
