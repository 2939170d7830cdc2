"""The decision tables on their way from the daemon's settings to job code, which asks when it first decides."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json

from millrace.define.rules import Rules, Tables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from millrace.runner.context import Line

Plain = dict[str, list[dict[str, Any]]]


@dataclass(frozen=True)
class RuleBook:
    """The tables of a site as plain values, and the id by which a child knows whether it has them."""

    plain: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)

    @cached_property
    def id(self) -> str:
        """The hash of the tables, 32 hex digits."""
        return blake2b(to_json(self.plain), digest_size=16).hexdigest()

    def answer(self, known: object) -> dict[str, Any]:
        """Return the id, and the tables unless `known` is it."""
        return {"id": self.id} if known == self.id else {"id": self.id, "tables": self.plain}


class AskedTables(Tables):
    """The tables that hold for one attempt: asked for once, when job code first wants one."""

    def __init__(self, line: Line) -> None:
        super().__init__({})
        self._line = line
        self._found: Tables | None = None

    def __getitem__(self, name: str) -> Rules:
        if self._found is None:
            self._found = _current(self._line)
        return self._found[name]


# Those of the last attempt in this process: reading the rows costs more than the question whether they still hold.
_kept: list[tuple[str, Tables]] = [("", Tables({}))]


def _current(line: Line) -> Tables:
    known, tables = _kept[0]
    answer = line.ask("rules", {"known": known})
    if answer["id"] != known:
        tables = Tables(answer["tables"])
        _kept[0] = (answer["id"], tables)
    return tables
