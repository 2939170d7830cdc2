"""The everyday jobs do real work on real files, can be repeated without harm, and stay in their folder."""

from __future__ import annotations

import csv
import json
import os
import sqlite3
from contextlib import closing
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from millrace.define.payload import result_json
from millrace.errors import GiveUp, PayloadError, UnknownTask
from millrace.runner.context import Context, Entered

if TYPE_CHECKING:
    from pathlib import Path

    from millrace.define.registry import Registry

OLD_S = 1_000_000_000


def rows_of(database: Path, query: str) -> list[tuple[Any, ...]]:
    """Return what a query finds in a business database."""
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()


def change(database: Path, *statements: str) -> None:
    """Change a business database from outside."""
    with closing(sqlite3.connect(database)) as connection, connection:
        for statement in statements:
            connection.execute(statement)


def table(path: Path) -> list[list[str]]:
    """Return the cells of a CSV file."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def everything(folder: Path) -> list[str]:
    """Return the names of all files below a folder, hidden ones too."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())


# The report


@pytest.mark.parametrize("by", ["day", "customer", "product"])
def test_a_report_adds_up_to_the_cent(jobs: Registry, home: Path, by: str) -> None:
    """The sum of the lines is the total, and both are what the database holds for the month."""
    report = jobs.find("report")(month="2026-02", by=by)

    header, *lines = table(report.path)
    sold = rows_of(home / "shop.db", "SELECT sum(cents), count(*) FROM sale WHERE sold_on LIKE '2026-02-%'")[0]
    assert header == [by, "sales", "quantity", "amount"]
    assert len(lines) == report.rows
    assert sum(Decimal(line[3]) for line in lines) == report.total == Decimal(sold[0]) / 100
    assert sum(int(line[1]) for line in lines) == sold[1]


def test_a_period_by_its_days_counts_both_ends(jobs: Registry, home: Path) -> None:
    """Two months as a range are the two months."""
    report = jobs.find("report")
    both = report.call('{"start":"2026-01-01","end":"2026-02-28"}')

    assert both.total == report("2026-01").total + report("2026-02").total
    assert both.rows == 31 + 28


def test_a_period_without_sales_is_an_empty_report(jobs: Registry, home: Path) -> None:
    """Nothing sold is a figure, too."""
    report = jobs.find("report")(month="1999-01")

    assert (report.rows, report.total) == (0, Decimal(0))
    assert table(report.path) == [["day", "sales", "quantity", "amount"]]


def test_a_report_that_is_made_again_takes_the_place_of_the_old_one(jobs: Registry, home: Path) -> None:
    """A retry repeats the work: the same file with the new figures, and nothing left lying beside it."""
    first = jobs.find("report")(month="2026-01")
    change(home / "shop.db", "INSERT INTO sale VALUES (9999, '2026-01-31', 'c-01', 'bay soap', 1, 475)")
    second = jobs.find("report")(month="2026-01")

    assert second.path == first.path
    assert second.total == first.total + Decimal("4.75")
    assert everything(home / "reports") == [first.path.name]


def test_a_report_that_fails_leaves_the_old_one_whole(jobs: Registry, home: Path) -> None:
    """Amounts that are no cents end the job; who reads the report still reads the last good one."""
    good = jobs.find("report")(month="2026-01")
    before = good.path.read_bytes()
    change(home / "shop.db", "UPDATE sale SET cents = 0.1 WHERE sold_on = '2026-01-20'")

    with pytest.raises(GiveUp, match="no whole number of cents"):
        jobs.find("report")(month="2026-01")
    assert good.path.read_bytes() == before
    assert everything(home / "reports") == [good.path.name]


def test_a_name_that_a_spreadsheet_would_run_is_made_harmless(jobs: Registry, home: Path) -> None:
    """The sample sells a product whose name is a formula."""
    report = jobs.find("report")(month="2026-01", by="product")

    assert [line[0] for line in table(report.path) if "each" in line[0]] == ["'=each"]


@pytest.mark.parametrize(
    "period",
    [
        {},
        {"month": "2026-01", "start": "2026-01-01"},
        {"start": "2026-01-01"},
        {"start": "2026-02-01", "end": "2026-01-01"},
    ],
)
def test_a_period_that_is_none_is_given_up_at_once(jobs: Registry, home: Path, period: dict[str, str]) -> None:
    """Another attempt would find the same."""
    report = jobs.find("report")

    with pytest.raises(GiveUp, match="month, or start and end"):
        report.call(report.check_value(period))
    assert everything(home) == []


def test_a_database_that_the_site_names_must_be_there(jobs: Registry, home: Path) -> None:
    """Making a sample in its place would report invented figures as the site's own."""
    settings = {"everyday": {"folder": str(home), "database": str(home / "mine.db")}}
    with Entered(Context(settings=settings)), pytest.raises(GiveUp, match=r"there is no database .*mine\.db"):
        jobs.find("report")(month="2026-01")


# The sync


def source(home: Path, *lines: str, header: str = "id,name,email,city,changed_at") -> Path:
    """Write a source file of customers into the folder of the everyday jobs."""
    path = home / "customers.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


ADA = "x-1,Ada,ada@example.test,Rome,2026-05-01T08:00:00Z"
BO = "x-2,Bo,bo@example.test,Oslo,2026-05-01T08:00:00Z"


def counts(done: Any) -> dict[str, int]:
    """Return the counts of a sync that are not zero."""
    names = ("read", "inserted", "updated", "unchanged", "older", "bad")
    return {name: getattr(done, name) for name in names if getattr(done, name)}


def test_the_sample_is_synced_and_its_bad_rows_are_named(jobs: Registry, home: Path) -> None:
    """What was left out must be found without looking through the source."""
    done = jobs.find("sync")()

    assert counts(done) == {"read": 9, "inserted": 2, "updated": 2, "unchanged": 1, "older": 1, "bad": 3}
    assert [(row["line"], row["reason"].split(" ")[0]) for row in done.bad_rows] == [
        (7, "no"),
        (8, "email"),
        (9, "changed_at"),
    ]
    assert rows_of(home / "shop.db", "SELECT city FROM customer WHERE id IN ('c-03', 'c-04') ORDER BY id") == [
        ("York",), ("Graz",),
    ]  # fmt: skip


@pytest.mark.parametrize("chunk", [1, 2, 500])
def test_a_second_sync_of_the_same_file_changes_nothing(jobs: Registry, home: Path, chunk: int) -> None:
    """A retry begins at the start of the file: content tells it what is done, at any size of a transaction."""
    source(home, ADA, BO)
    sync = jobs.find("sync")

    assert counts(sync(source="customers.csv", chunk=chunk)) == {"read": 2, "inserted": 2}
    before = rows_of(home / "shop.db", "SELECT * FROM customer ORDER BY id")
    assert counts(sync(source="customers.csv", chunk=chunk)) == {"read": 2, "unchanged": 2}
    assert rows_of(home / "shop.db", "SELECT * FROM customer ORDER BY id") == before


def test_a_sync_that_was_cut_off_is_finished_by_the_next(jobs: Registry, home: Path) -> None:
    """The chunks before the failure stay, the chunk of the failure leaves nothing, the retry does the rest."""
    source(home, ADA, BO, "x-3,Cy,cy@example.test,Bern,2026-05-01")
    sync = jobs.find("sync")
    sync(source="customers.csv")
    change(
        home / "shop.db",
        "DELETE FROM customer WHERE id LIKE 'x-%'",
        "CREATE TRIGGER stop BEFORE INSERT ON customer WHEN new.id = 'x-3' BEGIN SELECT raise(ABORT, 'power cut'); END",
    )

    with pytest.raises(sqlite3.IntegrityError, match="power cut"):
        sync(source="customers.csv", chunk=2)
    assert rows_of(home / "shop.db", "SELECT id FROM customer WHERE id LIKE 'x-%'") == [("x-1",), ("x-2",)]
    change(home / "shop.db", "DROP TRIGGER stop")
    assert counts(sync(source="customers.csv", chunk=2)) == {"read": 3, "inserted": 1, "unchanged": 2}


def test_an_older_row_never_replaces_a_newer_one(jobs: Registry, home: Path) -> None:
    """Files arrive out of order; times are compared as times, whatever their zone."""
    sync = jobs.find("sync")
    source(home, ADA)
    sync(source="customers.csv")

    source(home, "x-1,Ada,ada@example.test,Pisa,2026-05-01T09:30:00+02:00")
    assert counts(sync(source="customers.csv")) == {"read": 1, "older": 1}
    source(home, "x-1,Ada,ada@example.test,Bari,2026-05-01T10:30:00+02:00")
    assert counts(sync(source="customers.csv")) == {"read": 1, "updated": 1}
    assert rows_of(home / "shop.db", "SELECT city, changed_at FROM customer WHERE id = 'x-1'") == [
        ("Bari", "2026-05-01T08:30:00.000+00:00")
    ]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("x-3,Cy,cy@example.test,Bern", "4 cells where the header has 5"),
        ("x-3,Cy,cy@example.test,Bern,2026-05-01,more", "6 cells where the header has 5"),
        ("x-3, ,cy@example.test,,2026-05-01", "no name, city"),
        ("x-3,Cy,cy at example,Bern,2026-05-01", "email is no address"),
        ("x-3,Cy,cy@example.test,Bern,yesterday", "changed_at is no time"),
        ("x-3,Cy,cy@example.test,Bern,0001-01-01T00:00:00+14:00", "changed_at is no time"),
        ("x-3,C\0y,cy@example.test,Bern,2026-05-01", "characters that are no text"),
        ('x-3,"Cy"y,cy@example.test,Bern,2026-05-01', "expected after"),
        (f"x-3,{'y' * 200_000},cy@example.test,Bern,2026-05-01", "field larger than field limit"),
    ],
)
def test_a_bad_row_is_named_and_the_rest_goes_on(jobs: Registry, home: Path, line: str, reason: str) -> None:
    """One row that somebody mistyped must not keep the others from being brought over."""
    source(home, ADA, line, BO)
    done = jobs.find("sync")(source="customers.csv")

    assert counts(done) == {"read": 3, "inserted": 2, "bad": 1}
    assert done.bad_rows[0]["line"] == 3
    assert reason in done.bad_rows[0]["reason"]


def test_a_row_that_is_not_utf_8_is_a_bad_row(jobs: Registry, home: Path) -> None:
    """An export in another encoding must neither end the sync nor put broken text into the database."""
    path = source(home, ADA)
    path.write_bytes(path.read_bytes() + b"x-9,J\xf6rg,j@example.test,Ulm,2026-05-01\n" + BO.encode() + b"\n")

    assert counts(jobs.find("sync")(source="customers.csv")) == {"read": 3, "inserted": 2, "bad": 1}


def test_characters_of_any_language_are_text(jobs: Registry, home: Path) -> None:
    """Only what cannot be text is refused: a space that does not break, or a soft hyphen, is none of that."""
    source(home, "x-1,Zoë\u00a0de\u00adVries 山田,zoe@example.test,’s-Hertogenbosch,2026-05-01")

    assert counts(jobs.find("sync")(source="customers.csv")) == {"read": 1, "inserted": 1}


def test_a_source_of_bad_rows_only_is_counted_in_full(jobs: Registry, home: Path) -> None:
    """The result names the first hundred and counts all."""
    source(home, *["x,,,,"] * 150)
    done = jobs.find("sync")(source="customers.csv")

    assert counts(done) == {"read": 150, "bad": 150}
    assert len(done.bad_rows) == 100


@pytest.mark.parametrize(
    ("header", "missing"), [("", "id, name"), ("id;name;email", "id, name"), ("id,name,email,city", "changed_at")]
)
def test_a_source_without_its_columns_is_given_up(jobs: Registry, home: Path, header: str, missing: str) -> None:
    """Another attempt would read the same header."""
    source(home, header=header)
    with pytest.raises(GiveUp, match=f"has no column {missing}"):
        jobs.find("sync")(source="customers.csv")


def test_a_source_that_is_not_there_is_given_up(jobs: Registry, home: Path) -> None:
    """With the path that was looked for."""
    with pytest.raises(GiveUp, match=r"there is no file .*nowhere\.csv"):
        jobs.find("sync")(source="nowhere.csv")


# The cleanup


def aged(path: Path, text: str = "x") -> Path:
    """Write a file that was last changed long ago."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    os.utime(path, (OLD_S, OLD_S))
    return path


def test_a_dry_run_is_the_default_and_deletes_nothing(jobs: Registry, home: Path) -> None:
    """Whoever forgets a flag must lose nothing by it."""
    aged(home / "out" / "a.csv", "12345")
    aged(home / "out" / "deep" / "b.csv", "678")
    done = jobs.find("cleanup")(folder="out")

    assert (done.matched, done.bytes, done.deleted, done.dry_run) == (2, 8, 0, True)
    assert done.files == ["a.csv", "deep/b.csv"]
    assert everything(home / "out") == ["a.csv", "deep/b.csv"]


def test_only_old_files_of_the_pattern_are_deleted(jobs: Registry, home: Path) -> None:
    """Age and pattern both; hidden files and folders are left alone, and a second run finds nothing."""
    kept = [aged(home / "out" / name) for name in ("a.txt", ".hidden.csv", ".git/a.csv")]
    aged(home / "out" / "old.csv")
    aged(home / "out" / "deep" / "old.csv")
    young = home / "out" / "young.csv"
    young.write_text("x", encoding="utf-8")
    cleanup = jobs.find("cleanup")

    assert cleanup(folder="out", pattern="*.csv", dry_run=False).deleted == 2
    assert everything(home / "out") == sorted(path.relative_to(home / "out").as_posix() for path in [*kept, young])
    assert cleanup(folder="out", pattern="*.csv", dry_run=False).matched == 0


def test_links_are_neither_followed_nor_deleted(jobs: Registry, home: Path, tmp_path: Path) -> None:
    """A link out of the folder must not take the cleanup with it."""
    treasure = aged(tmp_path / "elsewhere" / "treasure.csv")
    aged(home / "out" / "old.csv")
    (home / "out" / "file.csv").symlink_to(treasure)
    (home / "out" / "folder").symlink_to(treasure.parent)
    os.utime(home / "out" / "file.csv", (OLD_S, OLD_S), follow_symlinks=False)

    assert jobs.find("cleanup")(folder="out", dry_run=False).files == ["old.csv"]
    assert treasure.exists()
    assert (home / "out" / "file.csv").is_symlink()


def test_a_folder_that_is_a_link_out_is_refused(jobs: Registry, home: Path, tmp_path: Path) -> None:
    """The folder's own name may be a way out, too."""
    treasure = aged(tmp_path / "elsewhere" / "treasure.csv")
    (home / "out").symlink_to(treasure.parent)

    with pytest.raises(GiveUp, match="out leads out of"):
        jobs.find("cleanup")(folder="out", dry_run=False)
    assert treasure.exists()


def test_a_folder_that_is_not_there_is_given_up(jobs: Registry, home: Path) -> None:
    """A cleanup of a mistyped folder that succeeds would be silent for ever."""
    with pytest.raises(GiveUp, match="there is no folder"):
        jobs.find("cleanup")(folder="reprots")


# What all have in common


def test_every_result_can_be_kept(jobs: Registry, home: Path) -> None:
    """A job whose result has no JSON form is dead after its work was done."""
    report = jobs.find("report")(month="2026-01", by="product")

    assert json.loads(result_json(report)) == {"path": str(report.path), "rows": 5, "total": str(report.total)}
    assert json.loads(result_json(jobs.find("sync")()))["bad_rows"][0] == {"line": 7, "reason": "no id"}
    assert json.loads(result_json(jobs.find("cleanup")()))["folder"] == str(home / "reports")


# What is refused before it is queued


@pytest.mark.parametrize(
    ("name", "payload", "problem"),
    [
        ("report", '{"month":"2026-13"}', 'payload.month: must be text such as "2026-01", got "2026-13"'),
        ("report", '{"month":202601}', 'payload.month: must be text such as "2026-01", got 202601'),
        ("report", '{"month":"2026-01","by":"week"}', 'payload.by: must be "day" or "customer" or "product"'),
        ("report", '{"start":"2026-02-30","end":"2026-03-01"}', 'payload.start: must be a date such as "2026-12-31"'),
        ("report", '{"mnth":"2026-01"}', 'Did you mean "month"?'),
        ("sync", '{"chunk":0}', "payload.chunk: must be a whole number from 1 to 10000"),
        ("sync", '{"source":"/etc/passwd"}', "payload.source: must be a path below the folder"),
        ("sync", '{"source":"../x.csv"}', "payload.source: must be a path below the folder"),
        ("cleanup", '{"folder":"a/../../b"}', "payload.folder: must be a path below the folder"),
        ("cleanup", '{"folder":"."}', "payload.folder: must be a path below the folder"),
        ("cleanup", '{"folder":""}', "payload.folder: must be a path below the folder"),
        ("cleanup", '{"pattern":"../*"}', 'payload.pattern: must be text such as "*.csv"'),
        ("cleanup", '{"older_than_days":0}', "payload.older_than_days: must be a whole number from 1 to 36500"),
        ("cleanup", '{"dry_run":"no"}', "payload.dry_run: must be true or false"),
    ],
)
def test_values_that_cannot_be_right_are_refused_before_they_are_queued(
    jobs: Registry, name: str, payload: str, problem: str
) -> None:
    """The mistake is told to whoever makes it, and not to whoever reads the dead letters."""
    with pytest.raises(PayloadError) as caught:
        jobs.find(name).check(payload)
    assert problem in str(caught.value)


def test_another_kind_of_job_is_refused_with_a_suggestion(jobs: Registry) -> None:
    """Only what the site has written can be asked for."""
    with pytest.raises(UnknownTask, match=r'there is no task "reports"\. Did you mean "report"\?'):
        jobs.find("reports")
