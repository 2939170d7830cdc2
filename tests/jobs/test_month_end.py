"""The end of a month: every sum against a separate script, the files, and rows that are no invoices."""

from __future__ import annotations

import csv
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.jobs.plain_month_end import plain_month

if TYPE_CHECKING:
    from millrace import Pipeline
    from millrace.define.registry import Registry

ROOT: Final = Path(__file__).resolve().parents[2]
SAMPLE: Final = ROOT / "jobs" / "samples" / "invoices.csv"
REAL: Final = ROOT.parent / "shared" / "data" / "invoices.csv"
HEADER: Final = "InvoiceNo,InvoiceDate,CustomerID,TotalPrice"
MONTHS: Final = [
    (SAMPLE, "2026-01", "2025-12"),
    (SAMPLE, "2025-11", "2025-10"),
    *(
        (REAL, month, before)
        for month, before in (("2011-11", "2011-10"), ("2011-01", "2010-12"), ("2010-12", "2010-11"))
    ),
]


@pytest.fixture
def month_end(jobs: Registry) -> Pipeline:
    """The pipeline as the daemon finds it."""
    return jobs.pipelines["month-end"]


def cents(amount: Decimal) -> int:
    """Return an amount as the separate script counts it."""
    return int(amount * 100)


@pytest.mark.parametrize(("path", "month", "before"), MONTHS, ids=lambda value: getattr(value, "name", value))
def test_every_sum_is_that_of_a_separate_script(
    path: Path, month: str, before: str, month_end: Pipeline, home: Path
) -> None:
    """By customer, by day, in all, and beside the month before; to the cent."""
    if not path.is_file():
        pytest.skip(f"{path.name} of the public data is not beside the repository")
    trial = month_end.try_it(path=path, month=month)
    assert trial.status == "succeeded"
    totals, comparison = trial.value("totals"), trial.value("comparison")
    told: dict[str, Any] = {
        "invoices": comparison.invoices,
        "amount": cents(comparison.amount),
        "before": cents(comparison.before),
        "customers": {one.customer: cents(one.amount) for one in totals.customers if one.invoices},
        "new": comparison.new_customers,
        "lost": comparison.lost_customers,
        "days": {one.day.isoformat(): cents(one.amount) for one in totals.days},
    }
    assert told == plain_month(str(path), month, before)
    with trial.value("table").open(encoding="utf-8") as file:
        written = list(csv.DictReader(file))
    assert sum(Decimal(row["amount"]) for row in written) == comparison.amount
    assert sum(row["new"] == "yes" for row in written) == comparison.new_customers


def test_a_new_site_has_a_sample_to_run(month_end: Pipeline, home: Path) -> None:
    """`millrace run month-end` without anything must show something; what it shows is written down here."""
    comparison = month_end.try_it().value("comparison")

    assert (comparison.month, comparison.invoices, comparison.amount) == ("2026-01", 17, Decimal("8559.17"))
    assert (comparison.before, comparison.change_percent) == (Decimal("7731.83"), 10.7)
    assert (comparison.customers, comparison.new_customers, comparison.lost_customers) == (8, 5, 4)


def test_the_page_tells_what_the_figures_are(month_end: Pipeline, home: Path, tmp_path: Path) -> None:
    """And a customer's name is a name there, whatever it looks like; in the CSV file it is no formula."""
    table = tmp_path / "invoices.csv"
    table.write_text(f"{HEADER}\nn-1,2026-01-03,<b>Ada,1234.50\nn-2,2026-01-03,=Bo,1\n")
    trial = month_end.try_it(path=table)
    page = trial.value("page").read_text(encoding="utf-8")

    assert trial.value("page") == home / "month-end" / "2026-01.html"
    assert "<td>Amount</td><td>1,235.50</td>" in page
    assert "<td>&lt;b&gt;Ada</td><td>1</td><td>1,234.50</td><td>0.00</td>" in page
    assert "<td>Change</td><td>–</td>" in page
    assert "'=Bo,yes,1,1.00,0.00" in trial.value("table").read_text(encoding="utf-8")


def test_a_row_that_is_no_invoice_stops_only_itself(month_end: Pipeline, home: Path, tmp_path: Path) -> None:
    """A day or an amount that is none, no customer: each a dead letter, and the report says how many are missing."""
    table = tmp_path / "invoices.csv"
    rows = [
        "n-1,2026-01-03,c-1,10.00",
        "n-2,2026-01-03,,10.00",
        "n-3,03/01/2026,c-1,10.00",
        "n-4,,c-1,10.00",
        "n-5,2026-01-32,c-1,10.00",
        "n-6,2026-01-03,c-1,NaN",
        "n-7,2026-01-03,c-1,ten",
        "n-8,2026-01-03,c-1",
        "n-9,2026-01-03,c-1,10.00,more",
        "n-10,2025-06-03,c-1,10.00",
        "n-11,2025-12-31,c-2,-2.50",
    ]
    table.write_text("\n".join([HEADER, *rows, ""]))
    trial = month_end.try_it(path=table)

    assert trial.status == "partial"
    assert [one.item["number"] for one in trial.dead] == [f"n-{number}" for number in range(2, 10)]
    assert [one.number for one in trial.value("invoice")] == ["n-1", "n-11"]
    comparison = trial.value("comparison")
    assert (comparison.invoices, comparison.missing, comparison.before) == (1, 8, Decimal("-2.50"))
    assert (comparison.new_customers, comparison.lost_customers) == (0, 1)


def test_an_empty_month_is_reported(month_end: Pipeline, home: Path) -> None:
    """Nothing sold is news, and no error."""
    trial = month_end.try_it(month="2030-06")

    assert trial.status == "succeeded"
    assert (trial.value("comparison").invoices, trial.value("comparison").change_percent) == (0, None)
