"""What is said of a field, to people who know neither pydantic nor regular expressions."""

from __future__ import annotations

from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any
from uuid import UUID

import pytest
from pydantic import AfterValidator, BaseModel, Field, HttpUrl

from millrace.define.task import task
from millrace.errors import PayloadError

Month = Annotated[str, Field(pattern=r"^20[0-9]{2}-[01][0-9]$", examples=["2026-01"])]


class Lead(BaseModel):
    name: str


def weekday(value: str) -> str:
    """Check as a site's own code does."""
    if value != "monday":
        raise ValueError("must be a day on which we deliver")
    return value


@task
def order(  # noqa: PLR0913, PLR0917 - one of each
    month: Month | None = None,
    code: Annotated[str, Field(pattern="^[A-Z]$")] = "A",
    note: Annotated[str, Field(min_length=1)] = "-",
    name: Annotated[str, Field(min_length=2, max_length=5)] = "Ada",
    pieces: Annotated[int, Field(ge=1)] = 1,
    pallets: Annotated[int, Field(multiple_of=5)] = 5,
    share: Annotated[float, Field(gt=0, lt=0.5)] = 0.1,
    gift: bool = False,  # noqa: FBT001, FBT002 - a word of the command line
    amount: Decimal = Decimal(1),
    price: Annotated[Decimal, Field(decimal_places=2)] = Decimal(1),
    day: date = date(2026, 1, 1),
    at: datetime | None = None,
    hour: time | None = None,
    mark: UUID | None = None,
    page: HttpUrl | None = None,
    lead: Lead | None = None,
    numbers: Annotated[list[int], Field(min_length=1, max_length=2)] = [1],  # noqa: B006 - never changed
    sizes: dict[str, int] | None = None,
    ship: Annotated[str, AfterValidator(weekday)] = "monday",
    either: int | str = 1,
) -> None:
    """Take one of each."""


@pytest.mark.parametrize(
    ("field", "text", "told"),
    [
        ("month", '"2026-1"', 'must be text such as "2026-01", got "2026-1"'),
        ("month", "5", 'must be text such as "2026-01", got 5'),
        ("code", '"AB"', 'must be text that matches ^[A-Z]$, got "AB"'),
        ("note", '""', 'must be text of 1 or more characters, got ""'),
        ("name", '"Augusta"', 'must be text of 2 to 5 characters, got "Augusta"'),
        ("pieces", "0", "must be a whole number from 1 on, got 0"),
        ("pieces", '"12"', 'must be a whole number from 1 on, got "12" (without the quotation marks: 12)'),
        ("pieces", '"a dozen"', 'must be a whole number from 1 on, got "a dozen"'),
        ("pieces", "null", "must be a whole number from 1 on, got null"),
        ("pallets", "4", "must be a whole number divisible by 5, got 4"),
        ("share", "0.5", "must be a number above 0 and below 0.5, got 0.5"),
        ("gift", '"true"', 'must be true or false, got "true" (without the quotation marks: true)'),
        ("gift", '"yes"', 'must be true or false, got "yes"'),
        ("amount", '"1,50"', 'must be a number such as 12.50, got "1,50"'),
        ("price", '"1.234"', 'must have no more than 2 decimal places, got "1.234"'),
        ("day", '"soon"', 'must be a date such as "2026-12-31", got "soon"'),
        ("day", '"2026-02-30"', 'must be a date such as "2026-12-31", got "2026-02-30" (there is no such day)'),
        ("at", '"2026-01-01"', 'must be a date and time such as "2026-12-31T06:00:00Z", got "2026-01-01"'),
        ("hour", '"25:00"', 'must be a time of day such as "06:00:00", got "25:00" (there is no such time)'),
        ("mark", '"x"', 'must be a UUID such as "0199e0a4-5c6b-7d2e-8f3a-4b5c6d7e8f90", got "x"'),
        ("page", '"x"', 'must be an address of 1 to 2083 characters such as "https://example.com/", got "x"'),
        ("lead", "5", "must be a Lead object, got 5"),
        ("numbers", "[]", "must be a list of whole numbers with 1 to 2 items, got []"),
        ("sizes", "[]", "must be an object, got []"),
        ("ship", '"sunday"', 'must be a day on which we deliver, got "sunday"'),
        ("either", "[]", "must be a whole number or text, got []"),
    ],
)
def test_a_refusal_says_what_would_be_right(field: str, text: str, told: str) -> None:
    """At 7 in the morning nobody wants to read a regular expression, where the field has an example."""
    with pytest.raises(PayloadError) as caught:
        order.check(f'{{"{field}": {text}}}')
    assert str(caught.value) == f"payload.{field}: {told}"


def test_types_are_told_in_the_same_words() -> None:
    """`tasks show` is where one looks before, and the refusal is what one reads after."""
    types: dict[str, Any] = {found["name"]: found["type"] for found in order.describe()["parameters"]}
    assert types["month"] == 'text such as "2026-01" or null'
    assert types["pieces"] == "whole number from 1 on"
    assert types["day"] == "date"
    assert types["numbers"] == "list of whole numbers with 1 to 2 items"
    assert types["lead"] == "Lead object or null"
