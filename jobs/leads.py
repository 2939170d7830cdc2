"""
Leads: each row of a CSV file is enriched, scored, sent on its way by the rules of config.toml, and summed up.

    millrace run leads                      the sample
    millrace run leads path=/data/leads.csv

Which lead goes where stands in `[[rules.segment]]` of config.toml: change it there. A row that is no lead becomes a
dead letter, and the others go on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, Field, FilePath

from millrace import Pipeline, Results, rules

from ._rows import rows
from .lead_score import COLUMNS, lead_score

SAMPLE: Final = Path(__file__).with_name("samples") / "leads.csv"
FIELDS: Final = {**COLUMNS, "Converted": "bought"}
NOT_TOLD: Final = ("", "select")  # "Select" is the form's own first line: nothing was chosen

Text = Annotated[str, Field(max_length=200)]
Channel = Literal["search", "social", "referral", "direct", "other"]


class Lead(BaseModel, frozen=True, extra="forbid"):
    """A row of the file. `bought` is known of old leads only, and never enters a score."""

    prospect_id: Annotated[str, Field(min_length=1, max_length=100)]
    lead_origin: Text | None = None
    lead_source: Text | None = None
    total_visits: Annotated[int, Field(ge=0)] | None = None
    total_time: Annotated[int, Field(ge=0)] | None = None
    page_views: Annotated[float, Field(ge=0)] | None = None
    specialization: Text | None = None
    occupation: Text | None = None
    bought: bool | None = None


class Profile(BaseModel, frozen=True):
    """What can be told of a lead beyond its row: how it came, and what it is interested in."""

    channel: Channel
    specialization: str | None


@dataclass(frozen=True)
class Segment:
    """The leads that went one way: how many, their mean points, and how many of them bought."""

    leads: int = 0
    points: float = 0.0
    bought: int = 0


@dataclass(frozen=True)
class Summary:
    """
    The leads by segment. `buyers_ahead` is the share of pairs in which the buyer has more points than the other, ties
    counted half: 0.5 is a coin, 1 a score that knows. None if there is nobody to compare.
    """

    leads: int
    dead: int
    buyers_ahead: float | None
    segments: dict[str, Segment] = field(default_factory=dict)


# Thousands of jobs of a few microseconds: threads take them faster than processes.
leads = Pipeline("leads", inputs={"path": (FilePath, SAMPLE)}, queue="io")


@leads.stage
def lead(path: FilePath) -> Iterator[Lead]:
    """One record for each row, raw: whether it is a lead is checked for each by itself."""
    yield from rows(path, FIELDS, optional=["Converted"])


@leads.stage
def profile(lead: Lead) -> Profile:
    """Enrich a lead from what its row says; a site of its own asks another system here."""
    chosen = (lead.specialization or "").strip()
    return Profile(channel=channel_of(lead), specialization=None if chosen.casefold() in NOT_TOLD else chosen)


@leads.stage
def points(lead: Lead) -> int:
    """Score a lead by the same rules as the task lead_score; needs no profile, so it runs beside it."""
    return lead_score(**lead.model_dump(exclude={"bought"})).points


@leads.route
def segment(lead: Lead, profile: Profile, points: int) -> str:
    """Decide which way a lead goes. The rules may ask for all that is known of it."""
    facts = {**lead.model_dump(exclude={"bought"}), **profile.model_dump(), "points": points}
    return rules("segment").first(facts) or "welcome"


@segment.to("enterprise")
def call(lead: Lead, points: int) -> str:
    """Somebody is to call; a site of its own books it here."""
    return f"call {lead.prospect_id} today: {points} points"


@segment.to("ask")
def question(lead: Lead, profile: Profile) -> str:
    """Ask what they are interested in, the way they came."""
    return f"ask {lead.prospect_id}, who came by {profile.channel}, what they would like to learn"


@segment.otherwise
def welcome(lead: Lead) -> str:
    """All others get the usual mail."""
    return f"welcome {lead.prospect_id}"


@leads.collect
def summary(lead: Results[Lead], points: Results[int], segment: Results[str]) -> Summary:
    """Sum up by segment, and hold the points against who bought."""
    sums: dict[str, Counter[str]] = {}
    buyers, others = Counter[int](), Counter[int]()
    for one, score, label in Results.joined(lead, points, segment):
        sums.setdefault(label, Counter()).update(leads=1, points=score, bought=int(one.bought or 0))
        if one.bought is not None:
            (buyers if one.bought else others)[score] += 1
    segments = {
        label: Segment(told["leads"], round(told["points"] / told["leads"], 1), told["bought"])
        for label, told in sorted(sums.items())
    }
    return Summary(len(segment), segment.dead, buyers_ahead(buyers, others), segments)


def channel_of(lead: Lead) -> Channel:
    """Return how a lead came; the case of a source does not matter."""
    source = (lead.lead_source or "").strip().casefold()
    channels: dict[str, Channel] = {
        "google": "search", "bing": "search", "organic search": "search", "facebook": "social",
        "youtube channel": "social", "reference": "referral", "referral sites": "referral", "direct traffic": "direct",
    }  # fmt: skip
    return channels.get(source, "other")


def buyers_ahead(buyers: Counter[int], others: Counter[int]) -> float | None:
    """Return the share of pairs in which the buyer has more points; both are counted by points, 0 to 100."""
    pairs = buyers.total() * others.total()
    below = [0, *accumulate(others[score] for score in range(100))]  # others with fewer points than 0, 1, …
    won = sum(count * (below[score] + others[score] / 2) for score, count in buyers.items())
    return round(won / pairs, 4) if pairs else None
