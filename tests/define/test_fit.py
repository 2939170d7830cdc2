"""Types across an edge: what fits is never refused, and what is refused could never have been read."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Annotated, Any, Final, Generic, Literal, NamedTuple, NewType, NotRequired, TypeVar

import pytest
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    FilePath,
    PositiveInt,
    RootModel,
    TypeAdapter,
    ValidationError,
    computed_field,
    field_validator,
    model_validator,
)
from typing_extensions import TypedDict

from millrace.define.fit import fits, type_name, without_none
from millrace.define.payload import result_json

T = TypeVar("T")
CustomerId = NewType("CustomerId", int)


class Lead(BaseModel):
    name: str
    visits: int = 0


class HotLead(Lead):
    phone: str


class Company(BaseModel):
    title: str


class Named(BaseModel):
    name: str


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    other: str = ""


class Aliased(BaseModel):
    title: str = Field(alias="name")


class Reading(BaseModel):
    name: str
    extra: str

    @model_validator(mode="before")
    @classmethod
    def read(cls, given: Any) -> Any:
        """Take a lead for what this is."""
        return {**given, "extra": "x"} if isinstance(given, dict) else given


class Loose(BaseModel):
    visits: str = ""

    @field_validator("visits", mode="before")
    @classmethod
    def text(cls, given: Any) -> Any:
        """Take a number for a text."""
        return str(given)


class Computed(BaseModel):
    first: str

    @computed_field
    def name(self) -> str:
        """Return what is not stored."""
        return self.first


class Words(RootModel[list[str]]):
    pass


class Page(BaseModel, Generic[T]):
    rows: list[T]


class Tree(BaseModel):
    label: str
    below: list[Tree] = Field(default_factory=list)


class Twig(BaseModel):
    label: str
    below: list[Twig] = Field(default_factory=list)


class Cactus(BaseModel):
    label: str
    below: list[Cactus | int] = Field(default_factory=list)


class Row(TypedDict):
    name: str
    visits: NotRequired[int]


class Point(NamedTuple):
    x: int
    y: int


@dataclass
class Place:
    name: str
    tags: list[str] = field(default_factory=list)


class Size(Enum):
    SMALL = "small"
    LARGE = "large"


class Rank(IntEnum):
    LOW = 1


def odd(value: int) -> int:
    """Stand for a check of the site's own."""
    return value


# Each type with values of it; where a pair does not fit, one of the values at least must be refused.
SAMPLES: Final[list[tuple[Any, list[Any]]]] = [
    (None, [None]),
    (bool, [True]),
    (int, [7]),
    (PositiveInt, [7]),
    (CustomerId, [CustomerId(7)]),
    (Annotated[int, AfterValidator(odd)], [7]),
    (float, [7.5]),
    (str, ["x"]),
    (bytes, [b"x"]),
    (Path, [Path("/tmp/x")]),
    (date, [date(2026, 1, 2)]),
    (datetime, [datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)]),
    (time, [time(6, 30)]),
    (timedelta, [timedelta(days=5)]),
    (uuid.UUID, [uuid.UUID(int=7)]),
    (Decimal, [Decimal("7.5")]),
    (list[int], [[7]]),
    (list[str], [["x"]]),
    (list[list[int]], [[[7]]]),
    (set[int], [{7}]),
    (tuple[int, ...], [(7,)]),
    (tuple[int, int], [(7, 8)]),
    (tuple[int, str], [(7, "x")]),
    (dict[str, int], [{"a": 7}]),
    (dict[str, str], [{"a": "x"}]),
    (Lead, [Lead(name="x")]),
    (HotLead, [HotLead(name="x", phone="1")]),
    (Company, [Company(title="x")]),
    (Named, [Named(name="x")]),
    (Reading, [Reading(name="x", extra="y")]),
    (Loose, [Loose(visits="x")]),
    (Computed, [Computed(first="x")]),
    (Words, [Words(["x"])]),
    (Page[int], [Page[int](rows=[7])]),
    (Page[str], [Page[str](rows=["x"])]),
    (Tree, [Tree(label="x", below=[Tree(label="y")])]),
    (Twig, [Twig(label="x", below=[Twig(label="y")])]),
    (Row, [Row(name="x", visits=7)]),
    (Place, [Place("x", ["y"])]),
    (Point, [Point(7, 8)]),
    (Size, [Size.SMALL, Size.LARGE]),
    (Rank, [Rank.LOW]),
    (Literal["small"], ["small"]),
    (Literal["small", "other"], ["small", "other"]),
    (int | None, [7, None]),
    (int | str, [7, "x"]),
    (list[Lead], [[Lead(name="x")]]),
    (dict[str, Lead], [{"a": Lead(name="x")}]),
]


ADAPTERS: Final = [TypeAdapter(kind) for kind, _ in SAMPLES]


def readable(reader: TypeAdapter[Any], value: Any) -> bool:
    """Return whether a value, written as a stage's result, is read as a type the way that arguments are."""
    try:
        reader.validate_json(result_json(value), strict=True)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("given", range(len(SAMPLES)), ids=lambda index: type_name(SAMPLES[index][0]))
def test_what_is_refused_could_not_have_been_read(given: int) -> None:
    """A pipeline that would have run must never be refused: of all pairs, those that do not fit refuse a value."""
    kind, values = SAMPLES[given]
    wrong = [
        f"{type_name(kind)} to {type_name(wanted)}"
        for (wanted, _), reader in zip(SAMPLES, ADAPTERS, strict=True)
        if not fits(kind, wanted) and all(readable(reader, value) for value in values)
    ]

    assert wrong == []


FITS: Final[list[tuple[Any, Any]]] = [
    (int, float),
    (HotLead, Lead),
    (Lead, HotLead),  # what is there may be the narrower one
    (list[HotLead], list[Lead]),
    (list[Lead], list[HotLead]),
    (Lead, Named),  # another class with the fields that are asked for
    (Lead, dict),
    (dict, Lead),
    (dict[str, Any], Lead),
    (Lead, Row),
    (Row, Lead),
    (Lead, Reading),
    (Loose, Reading),
    (Computed, Named),
    (Lead, Aliased),
    (Open, Company),
    (Any, Company),
    (object, Company),
    (Company, Any),
    (T, int),
    (int, T),
    (int, int | None),
    (int | None, int | None),
    (None, int | None),
    (int, int | str),
    (bool | int, bool | float),
    (Annotated[int, Field(ge=1)], int),
    (int, Annotated[int, Field(ge=1)]),
    (FilePath, Path),
    (str, FilePath),
    (Path, str),
    (date, str),
    (str, date),
    (datetime, date),
    (int, Annotated[str, BeforeValidator(str)]),
    (int, Annotated[str, Field(), BeforeValidator(str)]),
    (str, Annotated[int, Field(strict=False)]),
    (CustomerId, int),
    (int, CustomerId),
    (str, Size),
    (Size, str),
    (Size, Size),
    (str, Literal["a"]),
    (Literal["a"], Literal["a", "b"]),
    (Literal["small"], Size),
    (list, list[int]),
    (list[int], list),
    (list[int], set[int]),
    (list[int], tuple[int, int]),
    (tuple[int, str], list[int | str]),
    (dict[str, int], dict[str, float]),
    (Page[int], Page[int]),
    (Tree, Twig),
    (Words, list[str]),
    (Point, list[int]),
    (list[int], Point),
]
MISFITS: Final[list[tuple[Any, Any]]] = [
    (float, int),
    (int, str),
    (str, int),
    (bool, int),  # true is no number in JSON, though it is one in Python
    (int, bool),
    (None, int),
    (int, None),
    (int | None, int),
    (int | str, int),
    (Company, Lead),
    (Open | Company, Lead),
    (Company, Row),
    (Place, Company),
    (Lead, list[Lead]),
    (list[Lead], Lead),
    (Lead, str),
    (Lead, dict[str, int]),
    (dict[str, int], Lead),
    (list[int], list[str]),
    (list[int | None], list[int]),
    (list[Company], list[Lead]),
    (dict[str, int], dict[str, str]),
    (tuple[int, int], tuple[int, int, int]),
    (tuple[int, str], tuple[int, ...]),
    (list[str], tuple[int, str]),
    (Page[int], Page[str]),
    (Cactus, Tree),
    (Literal["a", "b"], Literal["a"]),
    (Literal["other"], Size),
    (Size, int),
    (int, Size),
    (date, time),
    (uuid.UUID, date),
    (Decimal, float),
    (Annotated[int, Field(ge=1)], str),
    (CustomerId, str),
    (Annotated[str, AfterValidator(odd)], int),
    (Point, int),
    (Company, int | str),
]


@pytest.mark.parametrize(("given", "wanted"), FITS, ids=type_name)
def test_what_may_fit_is_let_through(given: Any, wanted: Any) -> None:
    """Only values tell whether it does; a pipeline that may run is not refused."""
    assert fits(given, wanted)


@pytest.mark.parametrize(("given", "wanted"), MISFITS, ids=type_name)
def test_what_cannot_fit_is_refused(given: Any, wanted: Any) -> None:
    """A pipeline that cannot run is refused before its first run, not in the middle of it."""
    assert not fits(given, wanted)


def test_a_type_is_written_as_in_a_signature() -> None:
    """A message names types in the words of the file that it speaks of."""
    assert type_name(list[Lead] | None) == "list[Lead] | None"
    assert type_name(Annotated[int, Field(ge=1)]) == "int"
    assert type_name(Literal["a", 1]) == "Literal['a', 1]"
    assert type_name(tuple[int, ...]) == "tuple[int, …]"
    assert type_name(dict[str, Any]) == "dict[str, Any]"
    assert type_name(Page[int]) == "Page[int]"
    assert type_name(None) == type_name(type(None)) == "None"
    assert type_name(without_none(int | None)) == "int"
