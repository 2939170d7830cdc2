"""What a type checker says of a site's pipelines: a decorated stage is called with its own signature."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

# The first part is right; each line of the second is wrong in one way.
SITE: Final = """\
from collections.abc import Iterator
from typing import assert_type
from millrace import Pipeline, Results

p = Pipeline("p", inputs={"path": str}, queue="io", retries=3)

@p.stage
def row(path: str) -> Iterator[int]:
    yield len(path)

@p.stage(queue="cpu", retries=1, timeout="5m", needs=["crm"])
def points(row: int, *, factor: int = 1) -> int:
    return row * factor

@p.route
def way(points: int) -> str:
    return "large" if points > 5 else "small"

@way.to("large", queue="io")
def call(row: int) -> str:
    return str(row)

@way.otherwise
def mail(row: int) -> None: ...

@way.otherwise(queue="io")
def letter(row: int) -> None: ...

@p.collect(timeout=60)
def total(points: Results[int]) -> int:
    return sum(points)

assert_type(points(1, factor=2), int)
assert_type(row("x"), Iterator[int])
assert_type(way(1), str)
assert_type(call(1), str)
assert_type(total(Results.of([1, 2])), int)
"""
WRONG: Final = """\
points("x")
call(row=1, more=2)
total([1])
p.stage(quue="cpu")
way.to(5)
p.stage(retries="3")
way.otherwise(queue=5)
p.route(total)
"""


def test_a_type_checker_follows_the_decorators(tmp_path: Path) -> None:
    """A stage that became `Any`, or lost its parameters, would hide the site's own mistakes."""
    (tmp_path / "site.py").write_text(SITE + WRONG, encoding="utf-8")
    (tmp_path / "mypy.ini").write_text("[mypy]\nstrict = true\n", encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--no-error-summary", "--cache-dir", str(tmp_path / "cache"), "site.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=110)

    found = sorted({int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line})
    first = len(SITE.splitlines()) + 1
    assert found == list(range(first, first + len(WRONG.splitlines()))), done.stdout
