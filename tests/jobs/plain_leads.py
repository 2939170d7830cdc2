"""
The leads by segment once more, by a script that shares nothing with the pipeline: csv, ifs and two loops.

    python tests/jobs/plain_leads.py leads.csv
"""

from __future__ import annotations

import csv
import json
import sys


def plain_points(row: dict[str, str]) -> int:
    """Return the points of one row of the CSV file."""
    origin, source = row["LeadOrigin"].strip().lower(), row["LeadSource"].strip().lower()
    work, chosen = row["Occupation"].strip().lower(), row["Specialization"].strip().lower()
    seconds, pages = int(row["TotalTime"] or 0), float(row["PageViews"] or 0)
    points = 35
    points += {"lead add form": 16, "landing page submission": -8}.get(origin, 0)
    points += {"youtube channel": 12, "reference": 5, "facebook": -5, "referral sites": -5, "other": -5}.get(source, 0)
    points += {"working professional": 20, "student": 0, "unemployed": 0}.get(work, -12)
    points += {"": -5, "select": 0}.get(chosen, 8)
    points += 0 if seconds == 0 else -15 if seconds < 400 else -5 if seconds < 700 else 12
    points += -10 if row["TotalVisits"] == "1" else 0
    points += -6 if pages >= 5 else 0
    return min(100, max(0, points))


def plain_segment(row: dict[str, str], points: int) -> str:
    """Return the way that a lead goes, as the rules of config.toml have it."""
    if row["Occupation"] == "Working Professional" and points >= 60:
        return "enterprise"
    if row["Specialization"].strip().lower() in {"", "select"} and points >= 20:
        return "ask"
    return "welcome"


def plain_summary(path: str) -> dict[str, object]:
    """Return leads, points and buyers of each segment, and the share of pairs in which the buyer has more points."""
    segments: dict[str, list[int]] = {}
    buyers: list[int] = []
    others: list[int] = []
    with open(path, encoding="utf-8-sig", newline="") as file:  # noqa: PTH123 - as plain as a script can be
        for row in csv.DictReader(file):
            points = plain_points(row)
            sums = segments.setdefault(plain_segment(row, points), [0, 0, 0])
            sums[0] += 1
            sums[1] += points
            sums[2] += row["Converted"] == "1"
            (buyers if row["Converted"] == "1" else others).append(points)
    ranked = sorted([(points, True) for points in buyers] + [(points, False) for points in others])
    return {
        "leads": len(ranked),
        "segments": {
            name: {"leads": leads, "points": round(points / leads, 1), "bought": bought}
            for name, (leads, points, bought) in sorted(segments.items())
        },
        "buyers_ahead": round(won(ranked) / (len(buyers) * len(others)), 4),
    }


def won(ranked: list[tuple[int, bool]]) -> float:
    """Count the pairs in which the buyer is ahead, ties half; the list is sorted by points."""
    pairs, passed, at = 0.0, 0, 0
    while at < len(ranked):
        same = [buyer for points, buyer in ranked[at : at + len(ranked)] if points == ranked[at][0]]
        tied = same.count(False)
        pairs += same.count(True) * (passed + tied / 2)
        passed += tied
        at += len(same)
    return pairs


if __name__ == "__main__":
    json.dump(plain_summary(sys.argv[1]), sys.stdout, indent=1)
