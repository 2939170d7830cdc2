"""What a stage returns is held against its type as those will read it who need it: all that they take, nothing else."""

from __future__ import annotations

import datetime as dt
import threading
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar
from uuid import UUID

import pytest
from pydantic import AfterValidator, BaseModel, Field
from typing_extensions import Annotated, TypedDict  # noqa: UP035 - pydantic wants this one's TypedDict before Python 3.12

from millrace.define.payload import result_json
from millrace.define.reading import Reading


class Way(Enum):
    POST = "post"


class Place(NamedTuple):
    shelf: int
    since: dt.date


class Named(BaseModel):
    name: str = Field(alias="Full name")
    paid: Decimal = Decimal(0)


class More(Named):
    note: str = ""


class Marks(TypedDict, total=False):
    day: dt.date


@dataclass
class Parcel:
    number: int
    days: dict[dt.date, int]
    seen: set[int] = field(default_factory=set, init=False)


def _breaks(value: int) -> int:
    raise RuntimeError("a bug of the site's")


Odd = Annotated[int, AfterValidator(_breaks)]
DAY = dt.date(2026, 1, 31)
T = TypeVar("T")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (int, 3),
        (float, 3),
        (float | None, None),
        (None, None),
        (Decimal, Decimal("1.50")),
        (Decimal, 3),
        (dt.date, DAY),
        (dt.timedelta, dt.timedelta(days=1)),
        (UUID, UUID(int=1)),
        (Path, Path("report.csv")),
        (bytes, b"x"),
        (Way, Way.POST),
        (Literal["a", "b"], "a"),
        (int | str, "5"),
        (tuple[int, str], (1, "a")),
        (list[int], (1, 2)),
        (set[int], {1}),
        (dict[int, str], {1: "a"}),
        (Place, Place(1, DAY)),
        (Marks, {"day": DAY}),
        (Marks, {}),
        (Parcel, Parcel(1, {DAY: 2})),
        (list[Parcel], [Parcel(1, {})]),
        (Parcel, {"number": 1, "days": {}}),
        (Named, Named(**{"Full name": "Ada"})),
        (Named, More(**{"Full name": "Ada"})),
        (dict[str, Any], {"a": [1, None]}),
        (object, "anything"),
        (T, "anything"),
        (Any, "anything"),
    ],
    ids=str,
)
def test_what_the_next_stage_can_read_fits(kind: Any, value: object) -> None:
    """A value that comes back from the ledger in its type must never be refused for how it was written there."""
    assert Reading(kind, "stage a").problems(result_json(value)) == []


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        (int, None, "result: must be a whole number, got null"),
        (int, "5", 'result: must be a whole number, got "5" (without the quotation marks: 5)'),
        (int, 5.0, "result: must be a whole number, got 5.0"),
        (int, True, "result: must be a whole number, got true"),
        (None, 1, "result: must be null, got 1"),
        (Way, "mail", 'result: must be "post", got "mail"'),
        (Parcel, Parcel("1", {}), 'result.number: must be a whole number, got "1" (without the quotation marks: 1)'),  # type: ignore[arg-type]
        (list[Parcel], [Parcel(1, {}), {}], "result[1].number: is missing (wanted: whole number)"),
        (Named, {"name": "Ada"}, 'result["Full name"]: is missing'),
        (Odd, 1, "result: could not be checked by stage a: RuntimeError: a bug"),
    ],
)
def test_what_the_next_stage_cannot_read_is_told_by_its_field(kind: Any, value: object, told: str) -> None:
    """The one who wrote the stage reads this, and must find the line to change."""
    assert told in "; ".join(map(str, Reading(kind, "stage a").problems(result_json(value))))


def test_a_type_that_says_nothing_of_json_is_believed() -> None:
    """Pydantic cannot check a class of any kind; what was written is then read as what JSON has."""
    reading = Reading(threading.Event, "stage a")
    assert reading.problems('{"a":1}') == []
    assert reading.read('{"a":1}') == {"a": 1}
