"""
The month end once more, by a script that shares nothing with the pipeline: csv, whole cents and dictionaries.

    python tests/jobs/plain_month_end.py invoices.csv 2011-11 2011-10
"""

from __future__ import annotations

import csv
import json
import sys


def cents(text: str) -> int:
    """Return an amount in whole cents; what lies half-way goes to the even one."""
    return round(float(text) * 100)


def plain_month(path: str, month: str, before: str) -> dict[str, object]:
    """Return the sums of the month and of the one before, by customer and by day, in cents."""
    customers: dict[str, int] = {}
    days: dict[str, int] = {}
    earlier: dict[str, int] = {}
    known: set[str] = set()
    count = 0
    with open(path, encoding="utf-8-sig", newline="") as file:  # noqa: PTH123 - as plain as a script can be
        for row in csv.DictReader(file):
            day, customer, amount = row["InvoiceDate"], row["CustomerID"], cents(row["TotalPrice"])
            if day[:7] == month:
                count += 1
                customers[customer] = customers.get(customer, 0) + amount
                days[day] = days.get(day, 0) + amount
            if day[:7] == before:
                earlier[customer] = earlier.get(customer, 0) + amount
            if day < month:
                known.add(customer)
    return {
        "invoices": count,
        "amount": sum(customers.values()),
        "before": sum(earlier.values()),
        "customers": customers,
        "new": len(set(customers) - known),
        "lost": len(set(earlier) - set(customers)),
        "days": days,
    }


if __name__ == "__main__":
    json.dump(plain_month(*sys.argv[1:4]), sys.stdout, indent=1)
