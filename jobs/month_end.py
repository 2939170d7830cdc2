"""
The end of a month: what each customer and each day brought, beside the month before, as a CSV file and a page.

    millrace run month-end                                              the sample
    millrace run month-end month=2011-11 path=/data/invoices.csv

A row that is no invoice becomes a dead letter, and the report counts it as missing. Run it again when it is mended: the
files are replaced as a whole.
"""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, Field, FilePath

from millrace import Pipeline, Results

from ._files import harmless, home, written
from ._page import page_of
from ._rows import rows
from .everyday import Month

SAMPLE: Final = Path(__file__).with_name("samples") / "invoices.csv"
FIELDS: Final = {"InvoiceNo": "number", "InvoiceDate": "day", "CustomerID": "customer", "TotalPrice": "amount"}
DAY: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
NOTHING: Final = Decimal("0.00")

Money = Annotated[Decimal, AfterValidator(lambda amount: round(amount, 2))]
Text = Annotated[str, Field(max_length=100)]


class Invoice(BaseModel, frozen=True, extra="forbid"):
    """A row of the file."""

    number: Text
    day: date
    customer: Text
    amount: Money


@dataclass(frozen=True)
class CustomerTotal:
    """What one customer bought in the month and in the one before; `new` ones had never bought before."""

    customer: str
    new: bool
    invoices: int
    amount: Decimal
    before: Decimal


@dataclass(frozen=True)
class DayTotal:
    """What was bought on one day of the month."""

    day: date
    invoices: int
    amount: Decimal


@dataclass(frozen=True)
class Totals:
    """The month by customer, the largest first, and by day."""

    customers: list[CustomerTotal] = field(default_factory=list)
    days: list[DayTotal] = field(default_factory=list)
    missing: int = 0


@dataclass(frozen=True)
class Comparison:
    """The month beside the one before; `change_percent` is None if there was nothing before."""

    month: str
    invoices: int
    amount: Decimal
    before: Decimal
    change_percent: float | None
    customers: int
    new_customers: int
    lost_customers: int
    missing: int


month_end = Pipeline("month-end", inputs={"month": (Month, "2026-01"), "path": (FilePath, SAMPLE)})


@month_end.stage
def invoice(path: FilePath, month: Month) -> Iterator[Invoice]:
    """One record for each invoice of the month and of the one before, raw: each is checked by itself."""
    for row in rows(path, FIELDS):
        day = row.get("day", "")
        if day[:7] in (month, month_before(month)) or not DAY.fullmatch(
            day
        ):  # a day that is none is told, not left out
            yield row


@month_end.stage
def customers(path: FilePath, month: Month) -> set[str]:
    """Return who had bought before the month; runs beside `invoice`, which tells of rows that are no good."""
    before = (row for row in rows(path, FIELDS) if DAY.fullmatch(row.get("day", "")) and row["day"] < month)
    return {row["customer"] for row in before if "customer" in row}


@month_end.collect
def totals(invoice: Results[Invoice], customers: set[str], month: Month) -> Totals:
    """Add up by customer and by day, once all invoices are there."""
    amounts: dict[str, list[Decimal]] = defaultdict(list)
    days: dict[date, list[Decimal]] = defaultdict(list)
    before: dict[str, Decimal] = defaultdict(lambda: NOTHING)
    for one in invoice:
        if one.day.isoformat().startswith(month):
            amounts[one.customer].append(one.amount)
            days[one.day].append(one.amount)
        else:
            before[one.customer] += one.amount
    by_customer = [
        CustomerTotal(name, name not in customers, len(amounts[name]), sum(amounts[name], NOTHING), before[name])
        for name in {*amounts, *before}
    ]
    by_day = [DayTotal(day, len(found), sum(found, NOTHING)) for day, found in sorted(days.items())]
    return Totals(sorted(by_customer, key=lambda one: (-one.amount, one.customer)), by_day, invoice.dead)


@month_end.stage
def comparison(totals: Totals, month: Month) -> Comparison:
    """Hold the month against the one before."""
    amount = sum((one.amount for one in totals.customers), NOTHING)
    before = sum((one.before for one in totals.customers), NOTHING)
    bought = [one for one in totals.customers if one.invoices]
    return Comparison(
        month=month,
        invoices=sum(one.invoices for one in bought),
        amount=amount,
        before=before,
        change_percent=round(float((amount - before) / before * 100), 1) if before else None,
        customers=len(bought),
        new_customers=sum(one.new for one in bought),
        lost_customers=len(totals.customers) - len(bought),
        missing=totals.missing,
    )


@month_end.stage
def table(totals: Totals, month: Month) -> Path:
    """Write the totals by customer as a CSV file."""
    path = home() / "month-end" / f"{month}.csv"
    with written(path) as file:
        lines = csv.writer(file)
        lines.writerow(["customer", "new", "invoices", "amount", "before"])
        for one in totals.customers:
            lines.writerow([harmless(one.customer), "yes" if one.new else "no", one.invoices, one.amount, one.before])
    return path


@month_end.stage
def page(totals: Totals, comparison: Comparison) -> Path:
    """Write the report as a page; needs no CSV file, so it runs beside it."""
    path = home() / "month-end" / f"{comparison.month}.html"
    facts: dict[str, Any] = {
        "Invoices": comparison.invoices,
        "Amount": f"{comparison.amount:,}",
        "Month before": f"{comparison.before:,}",
        "Change": "–" if comparison.change_percent is None else f"{comparison.change_percent:+} %",
        "Customers": f"{comparison.customers}, {comparison.new_customers} of them new",
        "Bought only the month before": comparison.lost_customers,
        "Rows that are missing": comparison.missing,
    }
    best = [(one.customer, one.invoices, f"{one.amount:,}", f"{one.before:,}") for one in totals.customers[:20]]
    days = [(one.day, one.invoices, f"{one.amount:,}") for one in totals.days]
    with written(path) as file:
        file.write(
            page_of(
                f"Month-end report {comparison.month}",
                ("The month", ("Figure", "Value"), list(facts.items())),
                ("Best customers", ("Customer", "Invoices", "Amount", "Month before"), best),
                ("Days", ("Day", "Invoices", "Amount"), days),
            )
        )
    return path


def month_before(month: str) -> str:
    """Return the month before one, such as 2025-12 for 2026-01."""
    return (date.fromisoformat(f"{month}-01") - timedelta(days=1)).isoformat()[:7]
