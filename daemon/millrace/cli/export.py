"""`millrace export`: jobs and runs for a spreadsheet or a program, as many as there are."""

from __future__ import annotations

import csv
import json
import sys
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from millrace.cli.filters import status_option, whose
from millrace.cli.ids import run_of
from millrace.cli.names import tell_unknown
from millrace.cli.runs import RUN_STATUSES
from millrace.cli.session import Session, pass_session
from millrace.cli.times import Since
from millrace.errors import MillraceError
from millrace.ledger.rows import JobFilter, JobRow, Source
from millrace.ledger.run_rows import RunFilter, RunRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import TextIO

    from millrace.ledger.reads import Reads

PAGE: Final = 1000
# What a spreadsheet takes for a formula when a cell begins with it; the last four are the full-width forms.
_FORMULAS: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")


@click.group("export")
def export() -> None:
    """Export jobs and runs as CSV or JSON lines."""


def formatted(command: Any) -> Any:
    """Add the options that say how and where an export is written."""
    for option in (
        click.option("--out", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE", help="Not to stdout."),
        click.option(
            "--format", "form", type=click.Choice(["csv", "jsonl"]), default="csv", show_default=True, help="The form."
        ),
    ):
        command = option(command)
    return command


@export.command("jobs")
@status_option
@whose
@click.option("--run", metavar="ID", help="Only of this run.")
@click.option("--since", type=Since(), metavar="2h|TIME", help="Only those created since.")
@formatted
@pass_session
def jobs(session: Session, /, *, form: str, out: Path | None, **wanted: Any) -> None:
    r"""
    Write jobs, newest first, all that match.

    Payload and result are JSON in their cells. A cell that a spreadsheet would run as a formula gets a ' before it.

    \b
    Exit: 0 written; 1 the file cannot be written.
    """
    with session.reads() as reads:
        run = run_of(reads, wanted["run"]).id if wanted["run"] else None
        rows = (row.as_json() for row in _all_jobs(reads, {**wanted, "run": run}))
        written = write(rows, form, out, _blank(JobRow))
    if not written:
        tell_unknown(session, wanted)


@export.command("runs")
@click.option("--status", type=click.Choice(RUN_STATUSES), help="Only with this status.")
@click.option("--pipeline", metavar="NAME", help="Only of this pipeline.")
@click.option("--client", metavar="NAME", help="Only of this client.")
@click.option("--since", type=Since(), metavar="2h|TIME", help="Only those created since.")
@formatted
@pass_session
def runs(session: Session, /, *, form: str, out: Path | None, **wanted: Any) -> None:
    r"""
    Write runs of pipelines, newest first, all that match.

    Inputs and counts are JSON in their cells. A cell that a spreadsheet would run as a formula gets a ' before it.

    \b
    Exit: 0 written; 1 the file cannot be written.
    """
    with session.reads() as reads:
        written = write((row.as_json() for row in _all_runs(reads, wanted)), form, out, _blank(RunRow))
    if not written:
        tell_unknown(session, wanted, of_runs=True)


def _blank(row: type[JobRow | RunRow]) -> dict[str, Any]:
    """Return a row that says nothing, as JSON has it."""
    nothing: dict[str, Any] = {**dict.fromkeys(field.name for field in fields(row)), "source": Source("cli", "")}
    nothing |= {name: "null" for name in ("payload", "inputs") if name in nothing}  # JSON text
    return row(**nothing).as_json()


def _all_jobs(reads: Reads, wanted: Mapping[str, Any]) -> Iterator[JobRow]:
    after: str | None = None
    while True:
        page = reads.jobs(JobFilter(**wanted, limit=PAGE, after=after), whole=True)
        yield from page.jobs
        after = page.next
        if after is None:
            return


def _all_runs(reads: Reads, wanted: Mapping[str, Any]) -> Iterator[RunRow]:
    after: str | None = None
    while True:
        page = reads.runs(RunFilter(**wanted, limit=PAGE, after=after), whole=True)
        yield from page.runs
        after = page.next
        if after is None:
            return


def write(rows: Iterable[dict[str, Any]], form: str, out: Path | None, blank: Mapping[str, Any]) -> int:
    """
    Write rows one after the other, so that a million of them need no memory.

    Args:
        blank: What a row looks like, for the header: a table without rows has one too.
    Returns: How many there were.
    Raises: MillraceError if the file cannot be written.
    """
    try:
        with out.open("x", encoding="utf-8", newline="") if out else nullcontext(sys.stdout) as file:
            return _csv(rows, file, blank) if form == "csv" else _lines(rows, file)
    except FileExistsError:
        raise MillraceError(f"{out} is there already: nothing was written. Choose another name") from None
    except BrokenPipeError:
        raise  # the reader has enough; see LazyGroup
    except OSError as error:
        raise MillraceError(f"{out or 'stdout'} cannot be written: {error.strerror}") from error


def _lines(rows: Iterable[dict[str, Any]], file: TextIO) -> int:
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007 - it is what is returned
        file.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")
    return count


def _csv(rows: Iterable[dict[str, Any]], file: TextIO, blank: Mapping[str, Any]) -> int:
    writer = csv.writer(file, lineterminator="\r\n")  # as RFC 4180 has it
    names = list(dict(_cells(blank)))
    writer.writerow(names)
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007 - it is what is returned
        cells = dict(_cells(row))
        writer.writerow([harmless(cells.get(name)) for name in names])
    return count


def _cells(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield one cell for each field; `error` and `source` have parts, which are cells of their own."""
    for name, value in row.items():
        if name == "error":
            yield from ((f"error_{part}", (value or {}).get(part)) for part in ("type", "message"))
        elif name == "source":
            yield from ((f"source_{part}", value[part]) for part in ("kind", "name"))
        else:
            yield name, value


def harmless(value: Any) -> Any:
    """Return a cell's content as a spreadsheet shows it and never runs it; numbers stay numbers."""
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"'{text}" if text.startswith(_FORMULAS) else text
