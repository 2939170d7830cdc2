"""
What a decision table asks of a fact: `"Student"`, `">=60"`, `"10..20"`, or a list of which any may hold. Settings check
with it that a table can be read, `define.rules` decides by it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Any, Final

Fact = str | bool | int | float | Decimal | date | None
Condition = Callable[[Any], bool]  # takes a plain fact, see `plain`; raises TypeError for one of the wrong kind
Measure = Decimal | date

_SIGN: Final = re.compile(r"(>=|<=|!==|!=|<>|=<|=>|==|[<>=])\s*(.*)", re.DOTALL)
_DATE_MEANT: Final = re.compile(r"\d+-\d+-\d+")
_ORDER: Final[dict[str, Callable[[Any, Any], bool]]] = {
    ">=": lambda fact, bound: bool(fact >= bound),
    "<=": lambda fact, bound: bool(fact <= bound),
    ">": lambda fact, bound: bool(fact > bound),
    "<": lambda fact, bound: bool(fact < bound),
}
_INSTEAD: Final = {
    "=>": '">={}"',
    "=<": '"<={}"',
    "<>": '"!={}"',
    "!==": '"!={}"',
    "==": '"{}" alone',
    "=": '"{}" alone',
}


def read_condition(value: object) -> Condition:
    """
    Return the test of a fact that one value under `when` stands for.

    Args:
        value: A text, a number, true or false: equal to it. `">=60"`, `">60"`, `"<=60"`, `"<60"`: compared, with a
            number or a date. `"10..20"`: from one to the other, both included. `"!=x"`: anything else that is told.
            `""`: empty; `"!="`: told. A list: any of its members.
    Returns: A function of a plain fact. It raises TypeError for a fact that cannot be compared so.
    Raises: ValueError that says what would be right.
    """
    if isinstance(value, list):
        return _any_of(value)
    if isinstance(value, str):
        return _of_text(value)
    if isinstance(value, bool | int | float):
        return lambda fact: _same(fact, value)
    raise ValueError("write text, a number, true, false or a list of them; a date in quotes")


def plain(fact: object) -> Fact:
    """
    Return a fact as conditions take it: an enum's value, a day for a moment.

    Raises: TypeError for a fact that no condition can ask for.
    """
    if isinstance(fact, Enum):
        return plain(fact.value)
    if isinstance(fact, datetime):
        return fact.date()
    if fact is None or isinstance(fact, str | bool | int | float | Decimal | date):
        return fact
    raise TypeError(f"is a {type(fact).__name__}: a fact is text, a number, true, false, a date or None")


def _any_of(members: list[Any]) -> Condition:
    if not members:
        raise ValueError("is an empty list, which nothing matches: leave the key out to match anything")
    if any(isinstance(member, list) for member in members):
        raise ValueError("has a list in a list: write one list")
    conditions = [read_condition(member) for member in members]
    return lambda fact: any(condition(fact) for condition in conditions)


def _of_text(text: str) -> Condition:
    signed = _SIGN.fullmatch(text)
    if signed is None:
        return _range(text) or (lambda fact: _same(fact, text))
    sign, operand = signed[1], signed[2].strip()
    if sign in _INSTEAD:
        raise ValueError(f"begins with {sign}: write {_INSTEAD[sign].format(operand)}")
    if sign == "!=":
        return lambda fact: not _empty(fact) and not _reads_as(fact, operand)
    bound, holds = _measure(operand), _ORDER[sign]
    if bound is None:
        raise ValueError(f'compares with no number and no date: write for example "{sign}60" or "{sign}2026-01-31"')
    return lambda fact: not _empty(fact) and holds(_comparable(fact, bound), bound)


def _range(text: str) -> Condition | None:
    low_text, dots, high_text = text.partition("..")
    low, high = _measure(low_text.strip()), _measure(high_text.strip())
    if not dots:
        return None
    for end, measure in ((low_text.strip(), low), (high_text.strip(), high)):
        if measure is None and _DATE_MEANT.fullmatch(end):
            raise ValueError(f'is no range: there is no day "{end}"')
    if low is None and high is None:
        return None
    if low is None or high is None or isinstance(low, date) != isinstance(high, date):
        raise ValueError('is half a range: write both ends, such as "10..20", or ">=10"')
    if low > high:  # type: ignore[operator]  # both are numbers or both dates
        raise ValueError("is a range that falls: write the smaller end first")
    return lambda fact: not _empty(fact) and low <= _comparable(fact, low) <= high


def _measure(text: str) -> Measure | None:
    try:
        return date.fromisoformat(text) if text.count("-") > 1 else _number(text)
    except ValueError:
        return None


def _number(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _comparable(fact: Fact, bound: Measure) -> Any:
    """Return a fact as what the bound is. A text is not read as a number: 9 would follow 10 in one row only."""
    if isinstance(bound, date):
        return _day(fact)
    if isinstance(fact, bool) or not isinstance(fact, int | float | Decimal):
        raise TypeError(f"is {_said(fact)}, and the rule compares with a number")
    number = _exact(fact)
    if number.is_nan():
        raise TypeError(f"is {_said(fact)}, which is no number, and the rule compares with one")
    return number


def _exact(fact: float | Decimal) -> Decimal:
    """Return a number as it is written: a float is a little beside that, and at a bound the little would decide."""
    return Decimal(float.__repr__(fact)) if isinstance(fact, float) else Decimal(fact)


def _day(fact: Fact) -> date:
    try:
        day = date.fromisoformat(fact[:10]) if isinstance(fact, str) else fact
    except ValueError:
        day = None
    if not isinstance(day, date):
        raise TypeError(f"is {_said(fact)}, and the rule compares with a date")
    return day


def _same(fact: Fact, wanted: str | float) -> bool:
    """Whether a fact is what a rule names: neither is true 1, nor is "1". A date is its text."""
    if wanted == "" and not isinstance(wanted, bool | int | float):
        return _empty(fact)
    if isinstance(fact, date):
        return fact.isoformat() == wanted
    numbers = (int, float, Decimal)
    if isinstance(fact, bool) or isinstance(wanted, bool):
        return fact is wanted
    if isinstance(fact, str) != isinstance(wanted, str) or fact is None:
        return False
    return fact == (Decimal(str(wanted)) if isinstance(fact, Decimal) and isinstance(wanted, numbers) else wanted)


def _reads_as(fact: Fact, operand: str) -> bool:
    """Whether a fact is what stands behind `!=`, which is text also where a number or true is meant."""
    if isinstance(fact, bool):
        return operand == str(fact).lower()
    number = _number(operand)
    if number is None or not isinstance(fact, int | float | Decimal):
        return _same(fact, operand)
    return _exact(fact) == number


def _empty(fact: Fact) -> bool:
    return fact is None or fact == ""


def _said(fact: Fact) -> str:
    return "empty" if fact is None else f'"{fact}"' if isinstance(fact, str) else str(fact).lower()
