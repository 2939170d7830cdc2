"""The pages that tell people what to type: every command in them is run as it stands, in a fresh copy of the site."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.docs.console import ROOT, Command, Reader, matches, parts_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "docs").glob("*/*.md"))]
TYPED = [page for page in PAGES if "```console" in page.read_text()]


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """Somebody with a fresh copy of the site, who ends what they started."""
    site = tmp_path / "site"
    site.mkdir()
    reader = Reader(site)
    yield reader
    reader.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", TYPED, ids=_name)
def test_what_a_page_has_its_reader_do_works_and_prints_what_it_shows(page: Path, reader: Reader) -> None:
    """A feature in the README that no test runs is a promise; a how-to that fails at 7 in the morning is worse."""
    if "curl " in page.read_text() and shutil.which("curl") is None:
        pytest.skip("its reader needs curl, which is not installed here; CI installs it")
    parts = list(parts_of(page))
    commands = 0
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        place = f"{_name(page)}:{part.line}: {part.text}" if isinstance(part, Command) else _name(page)
        problem = reader.follow(part)
        assert problem is None, f"{place}: {problem}"
        if isinstance(part, Command):
            commands += 1
            asked = isinstance(following, Command) and following.text == "echo $?"
            assert part.text == "make run" or asked or reader.code == 0, f"{place}: exit code {reader.code}"
    assert commands, f"{_name(page)} has its reader do nothing"


def test_the_readme_names_both_commands_and_make_knows_them() -> None:
    """They are all that a newcomer has to know, and CI runs the second one."""
    readme = (ROOT / "README.md").read_text()
    known = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S607
    for target in ("run", "test"):
        assert f"make {target}" in readme
        assert re.search(rf"make {target} ", known)


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_the_links_of_a_page_lead_somewhere(page: Path) -> None:
    """A dead link sends its reader away."""
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text()):
        path, _, anchor = target.partition("#")
        there = (page.parent / path) if path else page
        assert there.exists(), target
        if anchor:
            titles = re.findall(r"(?m)^#+ (.+)$", there.read_text())
            assert anchor in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}, target


def test_every_page_is_in_the_index() -> None:
    """A page that nobody can find is not there."""
    index = (ROOT / "docs" / "README.md").read_text()
    for page in PAGES:
        if page not in (ROOT / "README.md", ROOT / "docs" / "README.md"):
            assert f"({page.relative_to(ROOT / 'docs').as_posix()})" in index, _name(page)


@pytest.mark.parametrize(
    ("shown", "got", "same"),
    [
        (["a 12ms b"], ["a 3.4s  b"], True),
        (["up 3s"], ["up 1m"], True),
        (["first", "…", "last"], ["first", "x", "y", "last"], True),
        (["first", "…", "last"], ["first", "last"], True),
        (["first", "last"], ["first", "x", "last"], False),
        (["24 jobs added"], ["25 jobs added"], False),
        (["{…}"], ["{x}"], True),
        (["done"], [], False),
    ],
)
def test_outputs_are_compared_but_for_what_changes_from_run_to_run(
    shown: list[str], got: list[str], *, same: bool
) -> None:
    """A comparison that takes everything would make the other tests worthless."""
    assert matches(shown, got) is same
