"""The reference is written from the code; what is committed is what the code says now."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import click
import pytest

from docs.generate import pages
from docs.writers.facts import event_classes
from docs.writers.problems import error_classes
from millrace import __all__ as for_job_authors
from millrace.cli.main import cli
from millrace.config.settings import Settings
from tests.docs.console import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REFERENCE = ROOT / "docs" / "reference"


@pytest.fixture(scope="module")
def made() -> dict[str, str]:
    """The pages as the code has them now."""
    return pages()


def test_the_reference_is_what_the_code_says(made: dict[str, str]) -> None:
    """A setting, command, event, metric, route or error that is changed without `make docs` fails here."""
    assert sorted(made) == sorted(path.name for path in REFERENCE.glob("*.md"))
    stale = [name for name, text in made.items() if (REFERENCE / name).read_text() != text]
    assert not stale, "run `make docs` and commit what it writes"


def test_the_generator_says_the_same_elsewhere(made: dict[str, str], tmp_path: Path) -> None:
    """Another folder, terminal, user, language and hash seed must not change a page, or CI would call it stale."""
    code = (
        f"import json, sys; sys.path.append({str(ROOT)!r}); from docs.generate import pages; print(json.dumps(pages()))"
    )
    strange = {"PATH": os.environ["PATH"], "COLUMNS": "40", "PYTHONHASHSEED": "7", "HOME": str(tmp_path), "LANG": "C"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=strange, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == made


def test_no_page_names_a_place_of_the_machine_that_wrote_it(made: dict[str, str]) -> None:
    """What is committed must be true on every machine."""
    for name, text in made.items():
        assert str(ROOT) not in text, name
        assert not re.search(r"/tmp/|/home/|/root/", text), name


def test_every_setting_has_a_line(made: dict[str, str]) -> None:
    """Nobody can use a key that is not described."""
    for section, field in Settings.model_fields.items():
        assert re.search(rf"(?m)^## \[{{1,2}}{section}[.\]]", made["settings.md"])
        for key in getattr(field.annotation, "model_fields", {}):
            assert f"| `{key}` |" in made["settings.md"]


def test_every_command_and_option_has_help_and_names_its_exit_codes() -> None:
    """Whoever writes a script needs both, and reads them in `--help`."""
    for path, command in _commands(cli, "millrace"):
        assert command.help, path
        if not isinstance(command, click.Group):
            assert re.search(r"Exit: 0 ", command.help), path
        for option in command.params:
            assert not isinstance(option, click.Option) or option.help, f"{path} {option.name}"


def _commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _commands(below, f"{path} {name}")


def test_every_event_and_error_says_what_it_means() -> None:
    """The docstring is the documentation; one without any would print an empty cell."""
    kinds: list[Any] = [*event_classes(), *error_classes()]
    names = [kind.EVENT for kind in event_classes()]
    assert len(kinds) > 40
    assert len(set(names)) == len(names)
    for kind in kinds:
        assert kind.__doc__, kind


def test_every_name_for_job_authors_is_explained() -> None:
    """They are the interface that sites are written against."""
    page = (ROOT / "docs" / "how-to" / "write-a-job.md").read_text()
    for name in set(for_job_authors) - {"__version__"}:
        assert f"`{name}" in page or f"`@{name}" in page, name
