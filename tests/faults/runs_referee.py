"""The oracle of runs of the diamond: what each stage must have come to, record by record, told without the ledger."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from tests.faults.referee import Referee
from tests.process.scratch import until

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from millrace.ledger.run_rows import RunRow
    from tests.process.scratch import Scratch

LIMIT_S = 120.0
OPEN = ("waiting", "queued", "running")
_JOBS = "SELECT stage, record, status, result FROM job WHERE run_id = ?"
_SKIPS = "SELECT stage, record FROM skip WHERE run_id = ?"
_ITEMS = "SELECT number, item FROM record JOIN fanout ON fanout.id = fanout WHERE run_id = ? ORDER BY number"


def outcome(n: int) -> dict[str, Any]:
    """Return what the stages make of a record."""
    label = "odd" if n % 2 else "even"
    end = 5 * n if n % 2 else -5 * n
    return {"left": 2 * n, "right": 3 * n, "joined": 5 * n, "way": label, label: end, "met": end}


class RunsReferee(Referee):
    """Judges the runs of one site."""

    def __init__(self, site: Scratch, acks: Path) -> None:
        super().__init__(site, acks)
        self.runs: list[str] = []

    def start(self, flow: str, **inputs: int) -> str:
        """Start a run as a command does; return its id."""
        words = [f"{name}={value}" for name, value in inputs.items()]
        self.runs.append(json.loads(self.site.run("run", flow, *words, "--json").stdout)["id"])
        return self.runs[-1]

    def run(self, run_id: str) -> RunRow:
        """Return a run."""
        return self.site.reads.run(run_id)

    def await_end(self, run_id: str) -> RunRow:
        """Wait for the end of a run."""
        left = "SELECT stage, record, status, reason FROM job WHERE run_id = ? AND finished_at IS NULL LIMIT 5"

        def what() -> str:
            return f"the end of {self.run(run_id)}; open are {self.rows(left, (run_id,))}"

        until(lambda: self.run(run_id).status != "running", what, LIMIT_S)
        return self.run(run_id)

    def await_records(self, run_id: str, number: int = 1) -> None:
        """Wait until the fan-out has brought so many records."""
        until(lambda: self.run(run_id).records.get("part", 0) >= number, lambda: f"records of {self.run(run_id)}")

    def job(self, run_id: str, stage: str, record: str | None = None) -> str:
        """Return the id of a job of a run."""
        sql = "SELECT id FROM job WHERE run_id = ? AND stage = ? AND coalesce(record, '') = ?"
        return str(self.rows(sql, (run_id, stage, record or ""))[0][0])

    def judge_run(self, run_id: str, count: int, *, ill: Collection[int] = (), editions: Iterable[int] = (1,)) -> None:
        """
        Check that each record has each of its stages exactly once, with the result that it must have.

        Args:
            ill: Records that are dead in `left`.
            editions: Those that there must be; the last of them saw what there is.
        """
        run = self.run(run_id)
        rows = self.rows(_JOBS, (run_id,))
        well = [n for n in range(1, count + 1) if n not in ill]
        expected: dict[tuple[str, str | None], Any] = {("part", None): {"records": count, "bad": 0}}
        for n in range(1, count + 1):
            results = outcome(n) if n not in ill else {"right": 3 * n}
            expected |= {(stage, str(n)): result for stage, result in results.items()}
        places = [f"@{edition}" if edition > 1 else None for edition in editions]
        found = {(stage, record): json.loads(result) for stage, record, status, result in rows if status == "succeeded"}
        own = {key: found.pop(key) for key in list(found) if key[0] in ("total", "told")}
        assert sum(row[2] == "succeeded" for row in rows) == len(found) + len(own), "a job is there twice"
        wrong = {key: (found.get(key), expected.get(key)) for key in found.keys() | expected.keys()
                 if found.get(key) != expected.get(key)}  # fmt: skip
        assert not wrong, f"{len(wrong)} jobs of {run}: {sorted(wrong.items(), key=str)[:4]}"
        assert own.keys() == {(stage, place) for stage in ("total", "told") for place in places}, run
        seen = own["total", places[-1]]
        assert seen == {"found": {str(n): [outcome(n)["met"], outcome(n)["way"]] for n in well}, "dead": len(ill)}
        assert own["told", places[-1]] == len(well)
        others = sorted((row[0], int(row[1]), row[2]) for row in rows if row[2] != "succeeded")
        assert others == [("left", n, "dead") for n in sorted(ill)], others[:3]
        self._judge_around(run, rows, count, well)

    def _judge_around(self, run: RunRow, rows: list[Any], count: int, well: list[int]) -> None:
        """What is kept beside the jobs: the items, the skips, the counters."""
        items = self.rows(_ITEMS, (run.id,))
        assert items == [(n, str(n)) for n in range(1, count + 1)], f"{len(items)} items of {run}"
        assert run.records == {"part": count}
        skips = sorted(self.rows(_SKIPS, (run.id,)))
        assert skips == sorted(("even" if n % 2 else "odd", n) for n in well)
        counters = {
            (stage, status): number for stage, counts in run.counts.items() for status, number in counts.items()
        }
        jobs = Counter((row[0], row[2]) for row in rows) + Counter((stage, "skipped") for stage, _ in skips)
        assert {key: number for key, number in counters.items() if number} == jobs
