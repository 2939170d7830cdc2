"""
Writes docs/reference/ from the code, so that nothing in it can be forgotten or go stale: `make docs`. What is written
depends on the code and the locked packages alone. A test fails when the files that are committed differ.
"""
# ruff: noqa: INP001 - scripts beside the pages that they write

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from docs.writers.commands import commands
from docs.writers.facts import all_events
from docs.writers.http import http
from docs.writers.metrics import metrics
from docs.writers.problems import all_errors
from docs.writers.settings import settings
from docs.writers.states import states

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT: Final = Path(__file__).resolve().parents[1]
REFERENCE: Final = ROOT / "docs" / "reference"
NOTE: Final = "<!-- Written by docs/generate.py from the code (`make docs`): change it there. -->\n"


def pages() -> dict[str, str]:
    """Return the text of each page of the reference, by file name."""
    made: dict[str, Callable[[], Iterator[str]]] = {
        "settings.md": settings,
        "commands.md": commands,
        "http.md": http,
        "events.md": all_events,
        "metrics.md": metrics,
        "states.md": states,
        "errors.md": all_errors,
    }
    return {name: NOTE + "\n" + "\n".join(page()).strip() + "\n" for name, page in made.items()}


def main() -> None:
    """Write the pages that differ, and name them."""
    REFERENCE.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        path = REFERENCE / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            sys.stderr.write(f"{path.relative_to(ROOT)}: written\n")


if __name__ == "__main__":
    main()
