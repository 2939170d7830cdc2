"""`[[rules.NAME]]`: the rows of a decision table, checked when config.toml is read and not when a lead comes along."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from millrace.config.conditions import read_condition
from millrace.config.kinds import Number, Value


class RuleSettings(BaseModel):
    """
    `[[rules.NAME]]`: one row of a decision table.

    `when` says which facts it is for, each key one fact; a fact that it leaves out may be anything, and without any
    facts the row always matches. `then` is what the first row that matches gives; in a table of rows with `add`, the
    numbers of all rows that match are summed.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    when: dict[str, Any] = Field(default_factory=dict)
    then: Value = None
    add: Number | None = None

    @field_validator("when")
    @classmethod
    def _can_be_read(cls, value: dict[str, Any]) -> dict[str, Any]:
        for fact, wanted in value.items():
            try:
                read_condition(wanted)
            except ValueError as error:
                raise ValueError(f"{fact}: {_quoted(wanted)} {error}") from None
        return value

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if (self.then is None) == (self.add is None):
            raise ValueError("a row has either then (what it gives) or add (the number that it adds)")
        return self


def _quoted(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).lower()


def _one_kind(rows: list[RuleSettings]) -> list[RuleSettings]:
    odd = next((number for number, row in enumerate(rows, 1) if (row.add is None) != (rows[0].add is None)), None)
    if odd:
        one, other = ("add", "then") if rows[0].then is None else ("then", "add")
        raise ValueError(f"row 1 has {one} and row {odd} has {other}: a table has one of them")
    return rows


RuleTable = Annotated[list[RuleSettings], Field(min_length=1), AfterValidator(_one_kind)]
