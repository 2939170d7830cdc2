"""What a reload may change under a daemon that runs, and what it must leave for the next start."""

from __future__ import annotations

from typing import Any

import pytest

from millrace.config.change import change
from millrace.config.settings import Settings

OLD: dict[str, Any] = {
    "queues": {"io": {"kind": "thread", "workers": 2, "max_workers": 4}},
    "settings": {"leads": {"threshold": 80}},
}


def changed(**new: Any) -> tuple[list[str], list[str], Settings]:
    """Return what holds at once and what holds later, by dotted keys."""
    found = change(Settings(**OLD), Settings(**{**OLD, **new}))
    return list(found.applied), list(found.at_next_start), found.settings


def test_the_same_settings_change_nothing() -> None:
    """A file that was only touched is no event."""
    assert not change(Settings(**OLD), Settings(**OLD))


@pytest.mark.parametrize(
    ("new", "key"),
    [
        ({"settings": {"leads": {"threshold": 70}}}, "settings.leads.threshold"),
        ({"settings": {}}, "settings.leads"),
        ({"defaults": {"retries": 5}}, "defaults.retries"),
        ({"clients": {"acme": {"weight": 2}}}, "clients.acme"),
        ({"queues": {"io": {**OLD["queues"]["io"], "workers": 3}}}, "queues.io.workers"),
        ({"queues": {"io": {**OLD["queues"]["io"], "max_backlog": 9}}}, "queues.io.max_backlog"),
        ({"web": {"max_body": "2MB"}}, "web.max_body"),
    ],
)
def test_what_is_read_when_it_is_needed_holds_at_once(new: dict[str, Any], key: str) -> None:
    """A threshold or a limit must not cost a restart."""
    applied, later, _ = changed(**new)
    assert key in applied
    assert later == []


@pytest.mark.parametrize(
    ("new", "key"),
    [
        ({"web": {"listen": "127.0.0.1:9000"}}, "web.listen"),
        ({"database": {"synchronous": "extra"}}, "database.synchronous"),
        ({"site": {"state": "elsewhere"}}, "site.state"),
        ({"queues": {"io": {**OLD["queues"]["io"], "max_workers": 9}}}, "queues.io.max_workers"),
        ({"queues": {"io": {"workers": 2, "max_workers": 4}}}, "queues.io.kind"),
        ({"queues": {**OLD["queues"], "mail": {}}}, "queues.mail"),
        ({"queues": {}}, "queues.io"),
    ],
)
def test_what_was_made_at_the_start_waits_for_the_next(new: dict[str, Any], key: str) -> None:
    """A queue that takes jobs and has no workers would swallow them: the old settings hold for it."""
    applied, later, settings = changed(**new)
    assert key in later
    assert applied == []
    assert settings == Settings(**OLD)


def test_a_pool_does_not_grow_beyond_its_threads() -> None:
    """`workers` above the `max_workers` of the start holds as far as it can."""
    _, later, settings = changed(queues={"io": {"kind": "thread", "workers": 9, "max_workers": 9}})
    assert settings.queues["io"].workers == 4
    assert later == ["queues.io.max_workers", "queues.io.workers"]
