"""Put the starter site into the wheel. An editable install gets none: it finds the site at the repository's root."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class StarterSite(BuildHookInterface):  # type: ignore[type-arg]
    """Maps files, too, which the `sources` of pyproject.toml cannot: those rewrite folders only."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add jobs/, systemd/ and config.toml beside the engine."""
        if version != "editable":
            build_data["force_include"].update({name: f"millrace/starter/{name}" for name in self.config["paths"]})
