"""
What config.toml may say: one class per section, each value typed and bounded, no other keys. Durations are held as
seconds, sizes as bytes. Which sources are read, and in which order, is decided in `load`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from millrace.config.address import parse_listen
from millrace.config.find import (
    DEFAULT_JOBS,
    DEFAULT_LISTEN,
    DEFAULT_MAX_BODY,
    DEFAULT_STATE,
    DEFAULT_URL,
    NESTED,
    PREFIX,
    ledger_path,
)
from millrace.config.kinds import Backoff, Name, Package, Text, Values, Whole, Zone, duration, size
from millrace.config.rules import RuleTable
from millrace.config.schedules import ScheduleSettings, check_clients
from millrace.config.sizes import parse_size
from millrace.config.storage import BackupSettings, RetentionSettings, StorageSettings

DEFAULT: Final = "default"  # the queue and the client that are always there
MINUTE: Final = 60.0
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR
MAX_WORKERS: Final = 256


class Section(BaseModel):
    """What all sections share: no unknown keys, no change after loading."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SiteSettings(Section):
    """`[site]`: name, time zone, the package of job modules, and the folder that the daemon writes to."""

    name: Text = "Millrace"
    timezone: Zone = "UTC"
    jobs: Package = DEFAULT_JOBS
    state: Text = DEFAULT_STATE


class WebSettings(Section):
    """`[web]`: the address of the HTTP interface, and the bytes that a request or a payload may have."""

    listen: str = DEFAULT_LISTEN
    max_body: Annotated[int, size(1000, 10**9)] = parse_size(DEFAULT_MAX_BODY)

    @field_validator("listen")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        parse_listen(value)
        return value


class DatabaseSettings(Section):
    """
    `[database]`: where the ledger is, and what a commit withstands.

    `full` and `extra` withstand a power cut; `normal` may lose the last moments to one, and nothing to a crash.
    """

    url: str = DEFAULT_URL
    synchronous: Literal["normal", "full", "extra"] = "full"

    @field_validator("url")
    @classmethod
    def _names_a_file(cls, value: str) -> str:
        ledger_path(value, Path())
        return value


class DefaultsSettings(Section):
    """
    `[defaults]`: for tasks that do not say otherwise, and how long things may take to stop.

    `grace` lies between asking a child process to end and killing it, `drain` between the daemon's TERM and handing
    running jobs back; a child without work ends after `child_idle`. All in seconds; `backoff` is (first, longest).
    A fan-out pauses when `fan_out` jobs of its records are open, and goes on below half of that.
    """

    retries: Annotated[Whole, Field(ge=0, le=100)] = 3
    backoff: Backoff = (10.0, 15 * MINUTE)
    timeout: Annotated[float, duration(0.01, 30 * DAY)] = 10 * MINUTE
    grace: Annotated[float, duration(0.0, 10 * MINUTE)] = 5.0
    drain: Annotated[float, duration(0.0, HOUR)] = 30.0
    child_idle: Annotated[float, duration(0.0, DAY)] = MINUTE
    fan_out: Annotated[Whole, Field(ge=100, le=10**7)] = 50_000


class QueueSettings(Section):
    """
    `[queues.NAME]`: a lane and its worker pool.

    `process` workers can be killed and use all cores, `thread` workers suit many short calls to other systems. The
    pool grows from `workers` to `max_workers` with the backlog; beyond `max_backlog` submissions are refused. `memory`
    bounds one child process, in bytes; `max_wait` is how long a job should wait at most, in seconds.
    """

    kind: Literal["process", "thread"] = "process"
    workers: Annotated[Whole, Field(ge=1, le=MAX_WORKERS)] = 2
    max_workers: Annotated[Whole, Field(ge=1, le=MAX_WORKERS)] = 2  # as many as `workers`, unless it is given
    max_backlog: Annotated[Whole, Field(ge=1, le=10**9)] = 10**6
    memory: Annotated[int, size(32 * 10**6, 10**13)] | None = None
    max_wait: Annotated[float, duration(0.01, 30 * DAY)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _max_workers_follow(cls, data: Any) -> Any:
        workers = data.get("workers") if isinstance(data, dict) else None
        if not _counts(workers) or "max_workers" in data:  # what is wrong with `workers` is told once
            return data
        return {**data, "max_workers": workers}

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.max_workers < self.workers:
            raise ValueError(f"max_workers ({self.max_workers}) must be at least workers ({self.workers})")
        if self.memory is not None and self.kind == "thread":
            raise ValueError('memory bounds a child process; a queue of kind "thread" has none')
        return self


def _counts(workers: object) -> bool:
    return isinstance(workers, int | str) and str(workers).isdecimal() and 1 <= int(workers) <= MAX_WORKERS


class ClientSettings(Section):
    """
    `[clients.NAME]`: somebody the work is done for.

    `weight` is the client's share of a busy queue against the others' (1), `settings` overlays `[settings.*]`.
    """

    name: Text | None = None
    timezone: Zone | None = None
    weight: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = 1.0
    settings: Values = Field(default_factory=dict)


class Settings(BaseSettings):
    """config.toml as a whole. An empty one is valid."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=PREFIX,
        env_nested_delimiter=NESTED,
    )

    site: SiteSettings = SiteSettings()
    web: WebSettings = WebSettings()
    database: DatabaseSettings = DatabaseSettings()
    defaults: DefaultsSettings = DefaultsSettings()
    queues: dict[Name, QueueSettings] = Field(default_factory=dict)
    clients: dict[Name, ClientSettings] = Field(default_factory=dict)
    settings: Values = Field(default_factory=dict)
    rules: dict[Name, RuleTable] = Field(default_factory=dict)
    schedules: dict[Name, ScheduleSettings] = Field(default_factory=dict)
    storage: StorageSettings = StorageSettings()
    retention: RetentionSettings = RetentionSettings()
    backup: BackupSettings = BackupSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what `load` hands over and nothing else: it reads the environment it was given, not the process's."""
        return (init_settings,)

    @field_validator("queues", mode="after")
    @classmethod
    def _default_is_there(cls, value: dict[str, QueueSettings]) -> dict[str, QueueSettings]:
        return value if DEFAULT in value else {DEFAULT: QueueSettings(), **value}

    @field_validator("schedules", mode="after")
    @classmethod
    def _clients_are_there(
        cls, value: dict[str, ScheduleSettings], info: ValidationInfo
    ) -> dict[str, ScheduleSettings]:
        if "clients" in info.data:  # else something is wrong with them, and is told there
            check_clients(value, frozenset({DEFAULT, *info.data["clients"]}))
        return value

    def client_names(self) -> frozenset[str]:
        """Return the clients that work may be submitted for; `default` is always one."""
        return frozenset({DEFAULT, *self.clients})

    def rule_tables(self) -> dict[str, list[dict[str, Any]]]:
        """Return `[[rules.*]]` as plain JSON values: what `define.rules` reads, and a child process is handed."""
        return {
            name: [row.model_dump(exclude_none=True) for row in rows]  # a row without `when` gets an empty one
            for name, rows in self.rules.items()
        }

    def for_client(self, client: str) -> dict[str, Any]:
        """
        Return `[settings.*]` overlaid by `[clients.NAME.settings.*]`, table by table.

        A client that left config.toml while its jobs waited gets the site's values.
        """
        own = self.clients.get(client)
        return overlaid(self.settings, own.settings if own else {})


def overlaid(base: dict[str, Any], top: dict[str, Any]) -> dict[str, Any]:
    """Return a new dict with the keys of both; where both have a table, the same holds for it, else `top` wins."""
    merged = {key: overlaid(value, {}) if isinstance(value, dict) else value for key, value in base.items()}
    for key, value in top.items():
        below = merged.get(key)
        merged[key] = overlaid(below if isinstance(below, dict) else {}, value) if isinstance(value, dict) else value
    return merged
