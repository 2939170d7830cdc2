"""Exports as a spreadsheet and a program read them."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest

from millrace.cli.export import harmless
from tests.cli.test_runs import partial

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Done, Past


def rows_of(text: str) -> list[dict[str, str]]:
    """Return what a CSV reader makes of it."""
    return list(csv.DictReader(io.StringIO(text)))


def test_jobs_become_rows(call: Callable[..., Done], past: Past) -> None:
    """What `jobs list` pages through comes out as a whole."""
    dead = past.dead()
    done = call("export", "jobs")
    assert done.code == 0
    row = next(row for row in rows_of(done.out) if row["id"] == dead)
    assert (row["status"], row["source_kind"]) == ("dead", "api")
    assert row["error_type"]


def test_json_lines_are_the_jobs_of_the_contract(call: Callable[..., Done], past: Past) -> None:
    """A program that reads `jobs show --json` reads these too."""
    dead = past.dead()
    lines = [
        json.loads(line) for line in call("export", "jobs", "--format", "jsonl", "--status", "dead").out.splitlines()
    ]
    shown = call("jobs", "show", dead, "--json").json
    assert [line["id"] for line in lines] == [dead]
    assert set(lines[0]) <= set(shown)


def test_a_table_without_rows_has_its_header_and_names_what_is_not_there(call: Callable[..., Done], past: Past) -> None:
    """A program that reads the file finds its columns, whatever is in it."""
    past.job()
    full, empty = call("export", "jobs"), call("export", "jobs", "--task", "nosuch")
    assert (empty.code, empty.out) == (0, full.out.splitlines(keepends=True)[0])
    assert 'there is no task "nosuch"' in empty.err
    runs = call("export", "runs", "--status", "failed")
    assert runs.out.startswith("id,pipeline,client,status,inputs,counts,")
    assert call("export", "jobs", "--task", "greet", "--format", "jsonl").out == ""


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("+1", "'+1"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("plain", "plain"),
        (-5, -5),
        (None, None),
        ({"month": "=1"}, '{"month": "=1"}'),
    ],
)
def test_a_cell_that_would_run_is_made_harmless(value: object, cell: object) -> None:
    """A customer's name may be "=…", and whoever opens the sheet is not to run it."""
    assert harmless(value) == cell


def test_an_existing_file_is_not_overwritten(call: Callable[..., Done], past: Past, tmp_path: Path) -> None:
    """An export is evidence."""
    past.dead()
    file = tmp_path / "jobs.csv"
    assert call("export", "jobs", "--out", str(file)).code == 0
    before = file.read_text()
    again = call("export", "jobs", "--out", str(file))
    assert again.code == 1
    assert "is there already" in again.err
    assert file.read_text() == before


def test_runs_become_rows_with_their_counts(call: Callable[..., Done], past: Past) -> None:
    """What `runs show --json` tells of each, in one sheet; and the jobs of one run by a start of its id."""
    run_id, _, _ = partial(past)
    row = next(row for row in rows_of(call("export", "runs").out) if row["id"] == run_id)
    assert (row["pipeline"], row["status"]) == ("leads", "partial")
    assert json.loads(row["counts"]) == call("runs", "show", run_id, "--json").json["counts"]
    lines = call("export", "runs", "--format", "jsonl", "--status", "succeeded").out
    assert lines == ""
    jobs = rows_of(call("export", "jobs", "--run", run_id[:13]).out)
    assert {job["run_id"] for job in jobs} == {run_id}
