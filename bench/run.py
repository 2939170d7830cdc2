"""
All figures, one script after the other, as one table. It always exits with 0: figures inform, tests decide.

    make bench                     all of them, within twenty-five minutes
    make bench ARGS=--quick        fewer rounds of less
    make bench ARGS="drain idle"   only these
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

from figure import Figure, Steal, table

SCRIPTS: Final = (
    "drain",
    "enqueue",
    "latency",
    "parallel",
    "backlog",
    "blobs",
    "idle",
    "schedules",
    "recovery",
    "proof",
    "pipeline",
)
LIMIT_S: Final = 240.0
LONG: Final = {"pipeline": 1500.0, "proof": 600.0}  # hundreds of thousands of records, twice; a million jobs


def taken(script: str, *, quick: bool) -> list[Figure]:
    """Return the figures of one script; one that fails is a line of the table too."""
    argv = [sys.executable, str(Path(__file__).with_name(f"{script}.py")), "--json", *(["--quick"] if quick else [])]
    try:
        done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, timeout=LONG.get(script, LIMIT_S), check=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        return [Figure(script, "", f"not taken: {type(error).__name__}", None, str(error))]
    return [Figure(**found) for found in json.loads(done.stdout.splitlines()[-1])]


def run() -> None:
    """Take the figures and print them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scripts", nargs="*", metavar="SCRIPT", help=", ".join(SCRIPTS))
    parser.add_argument("--quick", action="store_true", help="fewer rounds of less")
    options = parser.parse_args()
    if unknown := set(options.scripts) - set(SCRIPTS):
        parser.error(f"no figure {', '.join(sorted(unknown))}: there are {', '.join(SCRIPTS)}")
    steal, figures = Steal(), []
    for script in options.scripts or SCRIPTS:
        print(f"{script} …", file=sys.stderr, flush=True)
        figures += taken(script, quick=options.quick)
    print(table(figures))
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"\nPython {sys.version.split()[0]}, {os.cpu_count()} processors, load {load}; {steal.words()}")


if __name__ == "__main__":
    run()
