"""
The score of every lead once more, by a script that shares nothing with the job: csv and a list of ifs.

    python tests/jobs/plain_lead_score.py leads.csv
"""

from __future__ import annotations

import csv
import json
import sys


def plain_points(row: dict[str, str]) -> int:
    """Return the points of one row of the CSV file."""
    origin, source = row["LeadOrigin"].strip().lower(), row["LeadSource"].strip().lower()
    work, chosen = row["Occupation"].strip().lower(), row["Specialization"].strip().lower()
    seconds, visits, pages = float(row["TotalTime"] or 0), row["TotalVisits"], float(row["PageViews"] or 0)
    rules = [
        (True, 35),
        (origin == "lead add form", 16),
        (origin == "landing page submission", -8),
        (source == "youtube channel", 12),
        (source == "reference", 5),
        (source in {"facebook", "referral sites", "other"}, -5),
        (work == "working professional", 20),
        (work not in {"working professional", "student", "unemployed"}, -12),
        (chosen == "", -5),
        (chosen not in {"", "select"}, 8),
        (1 <= seconds < 400, -15),
        (400 <= seconds < 700, -5),
        (seconds >= 700, 12),
        (visits == "1", -10),
        (pages >= 5, -6),
    ]
    return min(100, max(0, sum(points for holds, points in rules if holds)))


def plain_figures(path: str) -> dict[str, object]:
    """Return the number of leads in each grade, the sum of all points, and the mean points of buyers and others."""
    grades = {"A": 0, "B": 0, "C": 0, "D": 0}
    buyers: list[int] = []
    others: list[int] = []
    with open(path, encoding="utf-8-sig", newline="") as file:  # noqa: PTH123 - as plain as a script can be
        for row in csv.DictReader(file):
            points = plain_points(row)
            grades["A" if points >= 60 else "B" if points >= 40 else "C" if points >= 20 else "D"] += 1
            (buyers if row["Converted"] == "1" else others).append(points)
    return {
        "leads": len(buyers) + len(others),
        "grades": grades,
        "points": sum(buyers) + sum(others),
        "mean_of_buyers": round(sum(buyers) / len(buyers), 6),
        "mean_of_others": round(sum(others) / len(others), 6),
    }


if __name__ == "__main__":
    json.dump(plain_figures(sys.argv[1]), sys.stdout, indent=1)
