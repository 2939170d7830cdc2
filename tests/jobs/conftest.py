"""The jobs of this repository, loaded as the daemon loads them, working in a folder of the test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from millrace.define.load import load_jobs
from millrace.runner.context import Context, Entered

if TYPE_CHECKING:
    from collections.abc import Iterator

    from millrace.define.registry import Registry

ROOT: Final = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def jobs() -> Registry:
    """The tasks and pipelines of the repository's own site."""
    registry = load_jobs(ROOT, "jobs", queues={"default", "io"})
    assert registry.problems == []
    return registry


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """The folder of the everyday jobs, set as a site sets it: by [settings.everyday] of config.toml."""
    folder = tmp_path / "everyday"
    folder.mkdir()
    with Entered(Context(settings={"everyday": {"folder": str(folder)}})):
        yield folder
