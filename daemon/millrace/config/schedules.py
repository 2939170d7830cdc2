"""`[schedules.NAME]`: what runs when. Times are checked when config.toml is read, not when they should come."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from millrace.clock import format_duration, parse_duration
from millrace.config.kinds import Text, Values, Zone, duration

DAY_S: Final = 86400.0
ALL_CLIENTS: Final = "*"
_TIMES: Final = ("cron", "every", "at")
_MOST_AT_ONCE: Final = 10_000
_YEARS: Final = range(1970, 2200)
_TIME_OF_DAY: Final = re.compile(r"([01]\d|2[0-3]):[0-5]\d", re.ASCII)


def _cron(value: object) -> str:
    from millrace.config.cronline import read_cron  # cronsim is not loaded for a site without schedules

    if not isinstance(value, str):
        raise ValueError('must be a line of cron in quotes, such as "30 2 * * *"')  # noqa: TRY004 - see kinds
    return read_cron(value).text


def _at(value: object) -> str:
    if isinstance(value, datetime | date):  # TOML has times of its own
        value = value.isoformat()
    try:
        moment = datetime.fromisoformat(str(value).strip())
    except ValueError:
        raise ValueError('is not a time: write for example "2026-12-01T06:00"') from None
    if moment.year not in _YEARS:
        raise ValueError(f"its year must be {_YEARS[0]} to {_YEARS[-1]}")
    return str(value).strip()


def _done_by(value: object) -> str:
    if isinstance(value, str) and _TIME_OF_DAY.fullmatch(value):
        return value
    try:
        seconds = parse_duration(value) if isinstance(value, str) else 0.0
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 31 * DAY_S:
        raise ValueError(
            'must be a time of day such as "08:00", or a duration after the due time such as "2h" (1s to 31d)'
        )
    return str(value)


class ScheduleSettings(BaseModel):
    """
    `[schedules.NAME]`: a task or a pipeline, and when it runs: one of `cron`, `every` and `at`.

    `timezone` is that of the client, or the site's, unless it is given. What was missed while the daemon was down is
    made up for as `catch_up` says, as far back as `catch_up_window`: what is older is noted as missed. `overlap` says
    what happens when the run before is not over. All in seconds; `every` is counted in real time.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    task: Text | None = None
    pipeline: Text | None = None
    payload: Values = Field(default_factory=dict)
    inputs: Values = Field(default_factory=dict)
    cron: Annotated[str, BeforeValidator(_cron)] | None = None
    every: Annotated[float, duration(1.0, 366 * DAY_S)] | None = None
    at: Annotated[str, BeforeValidator(_at)] | None = None
    timezone: Zone | None = None
    catch_up: Literal["none", "latest", "all"] = "latest"
    # A day covers a night's outage; what is older is seldom wanted unasked, and `backfill` makes up for it when it is.
    catch_up_window: Annotated[float, duration(60.0, 366 * DAY_S)] = DAY_S
    overlap: Literal["skip", "queue", "allow"] = "skip"
    done_by: Annotated[str, BeforeValidator(_done_by)] | None = None
    jitter: Annotated[float, duration(0.0, DAY_S)] = 0.0
    clients: Annotated[tuple[Text, ...], Field(min_length=1)] = ("default",)
    enabled: bool = True

    @model_validator(mode="after")
    def _says_what(self) -> Self:
        if (self.task is None) == (self.pipeline is None):
            raise ValueError('needs one of task and pipeline: write task = "NAME" or pipeline = "NAME"')
        if self.task is not None and self.inputs:
            raise ValueError("inputs are a pipeline's: write payload for a task")
        if self.pipeline is not None and self.payload:
            raise ValueError("a payload is a task's: write inputs for a pipeline")
        return self

    @model_validator(mode="after")
    def _says_when(self) -> Self:
        given = [key for key in _TIMES if getattr(self, key) is not None]
        if len(given) != 1:
            has = f", not {' and '.join(given)}" if given else ""
            raise ValueError(f'needs one of cron, every and at{has}: write for example cron = "30 2 * * *"')
        if self.every is not None and self.jitter >= self.every:
            raise ValueError(f"jitter must be shorter than every ({format_duration(self.every)})")
        return self

    @model_validator(mode="after")
    def _makes_no_storm(self) -> Self:
        if self.catch_up == "all" and self.cron is not None:
            _check_storm(self.catch_up_window / DAY_S * _runs_a_day(self.cron))
        elif self.catch_up == "all" and self.every is not None:
            _check_storm(self.catch_up_window / self.every)
        return self


def _runs_a_day(cron: str) -> int:
    from millrace.config.cronline import read_cron

    return len(read_cron(cron).minutes)


def _check_storm(runs: float) -> None:
    if runs > _MOST_AT_ONCE:
        raise ValueError(
            f'catch_up = "all" would run it up to {round(runs):,} times at once after an outage, and {_MOST_AT_ONCE:,} '
            'is the most: write catch_up = "latest" or a shorter catch_up_window'
        )


def check_clients(schedules: dict[str, ScheduleSettings], known: frozenset[str]) -> None:
    """
    Check that each schedule names clients that are there.

    Raises: ValueError with a suggestion, if one does not.
    """
    from millrace.errors import did_you_mean

    for name, schedule in schedules.items():
        for client in schedule.clients:
            if client != ALL_CLIENTS and client not in known:
                raise ValueError(f'{name}: there is no client "{client}".{did_you_mean(client, known)}')
        if ALL_CLIENTS in schedule.clients and len(schedule.clients) > 1:
            raise ValueError(f'{name}: clients = ["{ALL_CLIENTS}"] is all of them; leave the others out')
