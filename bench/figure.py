"""
What all figures share: how they are taken, told and judged. Figures are never tests: the machine is shared, so that
each run prints how much of it was stolen, and rivals are measured in turns within the same run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROUNDS: Final = 5
QUICK_ROUNDS: Final = 2
CHILD_S: Final = 120.0  # no single measurement takes longer
_STEAL: Final = 7  # the place of stolen time among the fields of /proc/stat


@dataclass(frozen=True, slots=True)
class Figure:
    """
    One line of the table.

    Args:
        name: What was measured.
        target: What was promised, in words; empty for a figure that only gives the scale.
        measured: What came out, in words.
        met: Whether the promise holds; None when nothing was promised.
        note: What one must know to read it.
    """

    name: str
    target: str
    measured: str
    met: bool | None = None
    note: str = ""


class Steal:
    """How much processor time others took from this machine, and how busy it was, since this was made."""

    def __init__(self) -> None:
        self._before = _stat()
        self._began = monotonic()

    def words(self) -> str:
        """Return the shares since then."""
        spent = [now - then for now, then in zip(_stat(), self._before, strict=True)]
        total = sum(spent) or 1
        return f"{monotonic() - self._began:.0f} s, {spent[_STEAL] / total:.1%} of processor time stolen"


def _stat() -> list[int]:
    first = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0]
    return [int(field) for field in first.split()[1 : _STEAL + 2]]


def in_child(script: str, *words: object, limit_s: float = CHILD_S, command: Sequence[str] = ()) -> dict[str, Any]:
    """
    Run `script --child WORDS` in a fresh interpreter and return the JSON object that it prints last.

    Raises: RuntimeError with its words if it fails or takes too long.
    """
    argv = [*command, sys.executable, script, "--child", *map(str, words)]
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=limit_s, check=False)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{' '.join(argv)}: more than {limit_s:g} s") from error
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: exit {done.returncode}\n{done.stderr[-2000:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def rivals(rounds: int, runs: dict[str, Callable[[], float]]) -> dict[str, list[float]]:
    """Take each measurement once a round, in turns whose order rotates; return the values, round by round."""
    values: dict[str, list[float]] = {name: [] for name in runs}
    names = list(runs)
    for turn in range(rounds):
        shift = turn % len(names)
        for name in names[shift:] + names[:shift]:
            values[name].append(runs[name]())
            print(f"  round {turn + 1}: {name} {values[name][-1]:,.4g}", file=sys.stderr, flush=True)
    return values


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median of the ratios of values that were taken in the same round."""
    return median(mine / other for mine, other in zip(ours, theirs, strict=True))


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` of them lie, 0 to 1."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def table(figures: Sequence[Figure]) -> str:
    """Return figures as a table of Markdown."""
    verdict = {True: "met", False: "MISSED", None: "—"}
    lines = ["| figure | target | measured | verdict |", "|---|---|---|---|"]
    lines += [f"| {f.name} | {f.target or '—'} | {f.measured} | {verdict[f.met]} |" for f in figures]
    notes = [f"- {figure.name}: {figure.note}" for figure in figures if figure.note]
    return "\n".join([*lines, *([""] if notes else []), *notes])


def main(doc: str | None, figures: Callable[[bool], list[Figure]], child: Callable[..., dict[str, Any]] | None) -> None:
    """Be the command line of one script: its figures as a table, or one measurement of it as JSON."""
    if sys.argv[1:2] == ["--child"] and child is not None:
        print(json.dumps(child(*sys.argv[2:])))
        return
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer rounds of less: is it alive, and in what region?")
    parser.add_argument("--json", action="store_true", help="for run.py")
    options = parser.parse_args()
    steal = Steal()
    found = figures(options.quick)
    print(json.dumps([asdict(figure) for figure in found]) if options.json else table(found))
    print(f"({steal.words()})", file=sys.stderr)
