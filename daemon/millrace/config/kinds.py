"""The kinds of value that config.toml knows: durations, sizes, names, zones. Each says what would be right."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Final
from zoneinfo import available_timezones

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_settings import NoDecode

from millrace.clock import format_duration, parse_duration, parse_range
from millrace.config.sizes import format_size, parse_size
from millrace.errors import did_you_mean

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}", re.ASCII)
_PACKAGE: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def _whole(value: object) -> object:
    # TOML's `workers = true` would count as 1, and 2.0 as 2; from the environment everything comes as text.
    if isinstance(value, bool | float):
        raise ValueError("must be a whole number, such as 2")  # noqa: TRY004 - pydantic wants a ValueError
    return value


Whole = Annotated[int, BeforeValidator(_whole)]


def _number(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("must be a number, such as 10 or -2.5")
    return value


Number = Annotated[int | float, BeforeValidator(_number)]


def duration(at_least_s: float, at_most_s: float) -> BeforeValidator:
    """Return the check of a duration between two bounds, both in seconds; config.toml has it as text such as "5m"."""

    def check(value: object) -> float:
        if not isinstance(value, str):
            raise ValueError('must be a duration in quotes, such as "90s", "5m" or "1h30m"')  # noqa: TRY004 - see above
        seconds = parse_duration(value)
        if not at_least_s <= seconds <= at_most_s:
            raise ValueError(f"must be {_span(at_least_s)} to {_span(at_most_s)}")
        return seconds

    return BeforeValidator(check)


def _span(seconds: float) -> str:
    return format_duration(seconds) if seconds else "0s"


def size(at_least: int, at_most: int) -> BeforeValidator:
    """Return the check of a size between two bounds, both in bytes; config.toml has it as text such as "10MB"."""

    def check(value: object) -> int:
        if not isinstance(value, str):
            raise ValueError('must be a size in quotes, such as "500kB" or "1GiB"')  # noqa: TRY004 - see above
        count = parse_size(value)
        if not at_least <= count <= at_most:
            raise ValueError(f"must be {format_size(at_least)} to {format_size(at_most)}")
        return count

    return BeforeValidator(check)


def _backoff(value: object) -> tuple[float, float]:
    if not isinstance(value, str):
        raise ValueError('must be a range of durations in quotes, such as "10s..15m"')  # noqa: TRY004 - see above
    return parse_range(value)


Backoff = Annotated[tuple[float, float], NoDecode, BeforeValidator(_backoff)]  # from a variable it comes as text too


def _zone(value: object) -> str:
    # The list and not the file system decides: ZoneInfo would take "../../etc/localtime" and names of folders.
    known = available_timezones()
    if not isinstance(value, str) or value not in known:
        close = did_you_mean(str(value), known) if _looks_like_a_zone(value) else ""
        raise ValueError(f'is not a time zone: write for example "Europe/London" or "UTC".{close}')
    return value


def _looks_like_a_zone(value: object) -> bool:
    return isinstance(value, str) and "/" in value


Zone = Annotated[str, BeforeValidator(_zone)]


def _name(value: object) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError("a name is 1 to 63 lower-case letters, digits, - and _, and begins with a letter or digit")
    return value


Name = Annotated[str, BeforeValidator(_name)]


def _package(value: object) -> str:
    if not isinstance(value, str) or not _PACKAGE.fullmatch(value):
        raise ValueError('must be the name of a folder that Python can import, such as "jobs"')
    return value


Package = Annotated[str, BeforeValidator(_package)]
Text = Annotated[str, Field(min_length=1, max_length=200)]


def _plain(value: Any, path: str = "") -> Any:
    # Child processes are handed the settings as JSON, which knows neither dates nor inf and nan.
    where = f"{path}: " if path else ""
    if isinstance(value, dict):
        return {key: _plain(item, f"{path}.{key}" if path else key) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item, f"{path}[{index}]") for index, item in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where}must be a finite number")
    if not isinstance(value, str | int | float):
        raise ValueError(f"{where}write dates and times in quotes; jobs are handed text")  # noqa: TRY004 - see above
    return value


# What jobs may read: text, numbers, true and false, lists, tables.
Values = Annotated[dict[str, Any], AfterValidator(_plain)]
Value = Annotated[Any, AfterValidator(_plain)]  # one of these
