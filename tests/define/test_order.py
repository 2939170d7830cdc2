"""Which types are written in one order, and the text of what is not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Any, Literal, NamedTuple

import pytest
from pydantic import BaseModel, TypeAdapter

from millrace.define.order import is_fixed, order_free


class Kind(Enum):
    A = "a"


class Inner(BaseModel):
    kind: Kind
    on: date | None = None
    sums: list[Decimal] = []


class Outer(BaseModel):
    inner: Inner
    pair: tuple[int, str]
    way: Literal["x", "y"] = "x"


class Loose(BaseModel, extra="allow"):
    n: int


class Row(NamedTuple):
    n: int


@dataclass
class Holder:
    names: frozenset[str]


class Tree(BaseModel):
    below: list[Tree] = []


@pytest.mark.parametrize("kind", [int, str, None, Inner, Outer, Row, Tree, list[Outer], tuple[int, ...]])
def test_types_that_are_written_in_one_order(kind: Any) -> None:
    """Their text can stand for itself, at no cost."""
    assert is_fixed(TypeAdapter(kind).json_schema())


@pytest.mark.parametrize(
    "kind",
    [Any, object, set[int], frozenset[str], dict, dict[str, int], list, list[Any], Loose, Holder, int | set[int]],
)
def test_types_that_may_hold_what_has_no_order(kind: Any) -> None:
    """Also deep within: one set is enough."""
    assert not is_fixed(TypeAdapter(kind).json_schema())
    assert not is_fixed(TypeAdapter(list[kind]).json_schema())


def test_the_order_of_keys_and_elements_is_left_out_and_nothing_else() -> None:
    """Two texts of the same values are one; another value, or one more of it, is another."""
    text = order_free('{"b":[3,{"y":1,"x":[2,1]},3],"a":null}')
    assert text == order_free('{"a":null,"b":[{"x":[1,2],"y":1},3,3]}')
    assert text != order_free('{"a":null,"b":[{"x":[1,2],"y":1},3]}')
    assert json.loads(text) == {"a": None, "b": [3, 3, {"x": [1, 2], "y": 1}]}


@pytest.mark.parametrize("text", ["7", '"a"', "null", "[" * 100_000 + "]" * 100_000, "[" + "9" * 5000 + "]"])
def test_what_cannot_be_put_in_order_stands_for_itself(text: str) -> None:
    """An item that is deeper, or a number longer, than can be read must not end the fan-out."""
    assert order_free(text) == text
