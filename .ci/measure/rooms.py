"""
Holds the rooms that nothing may be lost in to their share of covered branches: `python rooms.py coverage.json`.

The total of coverage.py mixes lines with branches, and there are many more lines: each is held to the bound by itself.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

ROOMS: Final = ("ledger", "queue", "runner")
LEAST: Final = 95.0  # per cent


def main(report: Path) -> int:
    """Print a line per room; return 1 if one is below the bound."""
    files = json.loads(report.read_text())["files"]
    low = False
    for room in ROOMS:
        found = [one["summary"] for path, one in files.items() if f"millrace/{room}/" in path]
        lines = _share(sum(one["covered_lines"] for one in found), sum(one["num_statements"] for one in found))
        branches = _share(sum(one["covered_branches"] for one in found), sum(one["num_branches"] for one in found))
        low = low or min(lines, branches) < LEAST
        print(f"{room:8} lines {lines:5.1f} %   branches {branches:5.1f} %   (at least {LEAST:g} % of each)")
    return int(low)


def _share(part: int, whole: int) -> float:
    return 100.0 * part / whole if whole else 0.0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
