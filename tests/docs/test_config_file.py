"""The config.toml that every new site begins with: what its comments offer must be true."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from millrace.config.load import load_site
from millrace.config.settings import Settings
from millrace.triggers.schedule import schedules_of
from tests.docs.console import ROOT

if TYPE_CHECKING:
    from pathlib import Path

TEXT = (ROOT / "config.toml").read_text()


def test_what_stands_in_comments_is_valid_once_it_is_uncommented(tmp_path: Path) -> None:
    """Somebody takes the "#" away, and must not learn that the example was never tried."""
    config = tmp_path / "config.toml"
    offered = re.sub(r'(?m)^# (?=\[|[a-z_.]+ = ("[^"]*"|[0-9.]+)\s*(#|$))', "", TEXT)
    assert offered != TEXT
    config.write_text(offered)

    settings = load_site(config, {}).settings
    assert settings.clients["acme"].weight == 2
    assert settings.for_client("acme")["leads"]["threshold"] == 70
    assert settings.for_client("default")["leads"]["threshold"] == 80
    assert [row.then for row in settings.rules["segment"]] == ["enterprise", "ask", "welcome"]
    assert schedules_of(settings)["cleanup"].timing.zone == "Europe/London"
    assert settings.for_client("default")["everyday"] == {"folder": "files", "database": "shop.db"}


def test_the_file_speaks_of_nothing_that_is_still_to_come() -> None:
    """A newcomer who reads of webhooks looks for them."""
    sections = set(re.findall(r"(?m)^(?:# )?\[\[?([a-z]+)", TEXT))
    assert sections == set(Settings.model_fields)
    assert not re.search(r"webhook|alert|dashboard", TEXT)
