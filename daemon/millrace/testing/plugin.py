"""
The fixtures for a site's own tests. pytest finds them by itself where Millrace is installed; it must not make other
tests slower, so everything of weight is imported when a fixture is asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from millrace.define.rules import Ruled
    from millrace.testing import FakeClock, PretendedJob, PretendedServices

Rows = Mapping[str, list[dict[str, Any]]]


def pytest_configure(config: pytest.Config) -> None:
    """Let tests import the job files of the site in whose folder pytest was called, as the daemon does."""
    folder = config.invocation_params.dir
    if (folder / "config.toml").is_file() and str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


@pytest.fixture
def millrace_clock() -> FakeClock:
    """A clock that stands still until the test says `millrace_clock.advance("5m")`."""
    from millrace.testing import FakeClock

    return FakeClock()


@pytest.fixture
def millrace_settings() -> Iterator[Callable[..., None]]:
    """
    Say what `settings` holds for the rest of the test: `millrace_settings({"leads": {"threshold": 80}})`, or
    `millrace_settings("config.toml", client="acme")` for those of a file.
    """
    from millrace.config.load import load_site
    from millrace.runner.context import Context, Entered

    with ExitStack() as stack:

        def enter(source: Mapping[str, Any] | str | Path, *, client: str = "default") -> None:
            if isinstance(source, str | Path):
                source = load_site(Path(source)).settings.for_client(client)
            stack.enter_context(Entered(Context(client=client, settings=source)))

        yield enter


@pytest.fixture
def site_rules() -> Iterator[Callable[..., Ruled]]:
    """
    Say which decision tables hold for the rest of the test: `site_rules({"segment": [{"then": "x"}]})`, or
    `site_rules("config.toml")` for those of a file. What it returns has `.decisions`.
    """
    from millrace.config.load import load_site
    from millrace.define.rules import Ruled, Tables
    from millrace.testing.job import tables_of

    with ExitStack() as stack:

        def enter(source: Rows | str | Path) -> Ruled:
            if isinstance(source, str | Path):
                return stack.enter_context(Ruled(Tables(load_site(Path(source)).settings.rule_tables())))
            return stack.enter_context(Ruled(tables_of(source)))

        yield enter


@pytest.fixture
def millrace_job(millrace_clock: FakeClock) -> Callable[..., PretendedJob]:
    """
    Pretend a job, for what runs inside of its `with`.

    There, `context()`, `step`, `log` and `track` do what they do in one; each `with` of the same job is one attempt.
    """
    from millrace.testing import PretendedJob

    def make(**options: Any) -> PretendedJob:
        return PretendedJob(millrace_clock, **options)

    return make


@pytest.fixture
def pretend() -> Iterator[PretendedServices]:
    """
    Pretend outside systems: `pretend("GET", "https://api.crm.example/leads", json=[])`, and hand job code
    `pretend.client("https://api.crm.example")`. Any other call fails the test.
    """
    from millrace.testing import PretendedServices

    services = PretendedServices()
    yield services
    services.close()
