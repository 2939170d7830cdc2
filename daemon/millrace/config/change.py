"""What a new config.toml changes for a daemon that runs: what holds at once, and what waits for its next start."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from millrace.config.settings import QueueSettings, Settings

# Sections that are read when they are needed. Of the others the daemon has made something at its start: a socket, a
# database, threads.
_AT_ONCE: Final = ("defaults", "clients", "settings", "rules", "schedules", "storage", "retention", "backup")
_OF_A_QUEUE: Final = ("workers", "max_backlog", "memory", "max_wait")


@dataclass(frozen=True, slots=True)
class Change:
    """
    A change of settings.

    Args:
        settings: What holds from now on: valid as a whole, the new values that can hold and the old ones of the rest.
        applied: Dotted keys whose new value holds, such as "defaults.retries".
        at_next_start: Dotted keys whose new value holds after a restart.
    """

    settings: Settings
    applied: tuple[str, ...]
    at_next_start: tuple[str, ...]

    def __bool__(self) -> bool:
        """Return whether anything differs."""
        return bool(self.applied or self.at_next_start)


def version_of(settings: Settings) -> str:
    """Return what tells settings from others, 16 hex digits: the same for the same values, wherever they come from."""
    text = json.dumps(settings.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def change(old: Settings, new: Settings) -> Change:
    """Return what changes when a daemon that runs with `old` is given `new`."""
    fresh: dict[str, Any] = {name: getattr(new, name) for name in _AT_ONCE if name in type(new).model_fields}
    fresh["queues"] = {name: _queue(queue, new.queues.get(name, queue)) for name, queue in old.queues.items()}
    fresh["site"] = old.site.model_copy(update={"name": new.site.name})
    fresh["web"] = old.web.model_copy(update={"max_body": new.web.max_body})
    effective = old.model_copy(update=fresh)
    return Change(effective, tuple(_different(old, effective)), tuple(_different(effective, new)))


def _queue(old: QueueSettings, new: QueueSettings) -> QueueSettings:
    if new.kind != old.kind:
        return old
    update = {name: getattr(new, name) for name in _OF_A_QUEUE}
    return old.model_copy(update={**update, "workers": min(new.workers, old.max_workers)})


def _different(old: Settings, new: Settings) -> Iterator[str]:
    yield from sorted(_differences(old.model_dump(), new.model_dump()))


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Yield the dotted keys whose values differ; a table that one side lacks is named as a whole."""
    for key in {*old, *new}:
        before, after = old.get(key), new.get(key)
        if key in old and key in new and isinstance(before, dict) and isinstance(after, dict):
            yield from _differences(before, after, f"{path}{key}.")
        elif key not in old or key not in new or before != after:
            yield f"{path}{key}"
