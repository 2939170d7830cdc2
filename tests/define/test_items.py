"""Items of a fan-out: as they come, mappings or instances, each is one that the stages after it can read."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import BaseModel, Field

from millrace.define.items import Items


@dataclass
class Row:
    number: int
    day: dt.date


@dataclass
class Sheet:
    rows: list[Row] = field(default_factory=list)


class Lead(BaseModel):
    number: int
    name: str = Field(alias="Full name")


class Visit(BaseModel):
    pages: int = None  # type: ignore[assignment] # on purpose: pydantic looks at no default


class Twisted(BaseModel):
    name: str = Field(validation_alias="Full name")


GOOD: dict[str, Any] = {"number": "1", "day": "2026-01-31"}
READ = {"number": 1, "day": "2026-01-31"}


@pytest.mark.parametrize(
    ("kind", "raw", "item"),
    [
        (Row, GOOD, READ),
        (Row, Row(**GOOD), READ),
        (Row, Row(1, dt.date(2026, 1, 31)), READ),
        (Sheet, Sheet([Row(**GOOD)]), {"rows": [READ]}),
        (Sheet, {"rows": [Row(**GOOD)]}, {"rows": [READ]}),
        (list[Row], [Row(**GOOD)], [READ]),
        (Lead, Lead(**{"number": 1, "Full name": "Ada"}), {"number": 1, "Full name": "Ada"}),
        (Lead, Lead.model_construct(number="1", name="Ada"), {"number": 1, "Full name": "Ada"}),  # type: ignore[arg-type]
        (float, 1, 1.0),
        (Any, Row(**GOOD), GOOD),
    ],
    ids=str,
)
def test_an_instance_is_checked_as_the_mapping_of_its_fields(kind: Any, raw: object, item: object) -> None:
    """`Row(**row)` of a CSV file holds texts; pydantic takes it as it is, and the stages after would not."""
    text, problems = Items("row", kind).check(raw)
    assert problems == ()
    assert json.loads(text or "") == item


@pytest.mark.parametrize(
    ("kind", "raw", "told"),
    [
        (Row, Row("one", "2026-01-31"), 'item.number: must be a whole number, got "one"'),  # type: ignore[arg-type]
        (Sheet, Sheet([Row(**GOOD), Row(1, "31.1.")]), "item.rows[1].day: must be a date"),  # type: ignore[arg-type]
        (Visit, {}, "item.pages: must be a whole number, got null"),
        (Twisted, {"Full name": "Ada"}, 'item["Full name"]: is missing'),
    ],
    ids=str,
)
def test_an_item_that_nobody_after_it_could_read_is_bad(kind: Any, raw: object, told: str) -> None:
    """It is one dead record; otherwise it would be the end of the collect, and of all the records that are good."""
    text, problems = Items("row", kind).check(raw)
    assert text is None
    assert told in "; ".join(map(str, problems))
