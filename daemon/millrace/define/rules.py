"""
Decision tables: `rules("segment").first(facts)` reads `[[rules.segment]]` of config.toml, so that business people
change scores and routes without code. Whoever runs job code says with `Ruled` which tables hold, and finds there
afterwards which rows decided.
"""

from __future__ import annotations

import copy
from contextvars import ContextVar
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from millrace.config.conditions import Condition, plain, read_condition
from millrace.errors import RulesError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

MAX_DECISIONS: Final = 20  # so many are kept of one job; all are counted
MAX_ROWS: Final = 20  # so many row numbers are kept of one decision; all are counted


class Decision(NamedTuple):
    """
    What a table decided: which of its rows matched (from 1; none: no row did), and what came of it. Beyond the first
    MAX_ROWS only how many `more` matched is kept, so that what is told of a job stays small.
    """

    rules: str
    rows: tuple[int, ...]
    outcome: Any
    more: int = 0

    def as_json(self) -> dict[str, Any]:
        """Return it as a job's history shows it."""
        more = {"more": self.more} if self.more else {}
        return {"rules": self.rules, "rows": list(self.rows), **more, "outcome": self.outcome}


class Row(NamedTuple):
    """One row of a table: its number, from 1, its conditions by fact, and what it says."""

    number: int
    when: tuple[tuple[str, Condition], ...]
    then: Any
    add: float | None

    def holds(self, facts: Mapping[str, Any], table: str) -> bool:
        """Whether each condition holds for its fact."""
        for name, condition in self.when:
            try:
                if not condition(plain(facts[name])):
                    return False
            except TypeError as error:
                raise RulesError(f"rules.{table} row {self.number}: {name} {error}") from None
        return True


class Rules:
    """
    One decision table.

    Args:
        name: As in `[[rules.NAME]]`.
        rows: Its rows as config.toml has them, valid: `{"when": {…}, "then": …}` or `{"when": {…}, "add": …}`.
    """

    def __init__(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        self.name = name
        self._rows = [_row(number, row) for number, row in enumerate(rows, 1)]
        self._asked = {fact: row.number for row in reversed(self._rows) for fact, _ in row.when}

    def first(self, facts: Mapping[str, Any]) -> Any:
        """
        Return what the first row that matches gives.

        Args:
            facts: What the rows may ask for: text, numbers, true, false, dates or None by name. More is no harm.
        Returns: The row's `then`; None if no row matches.
        Raises: RulesError, if the table asks for a fact that is not there or cannot be compared so, or adds instead.
        """
        self._refuse(adds=True)
        found = next(self._matching(facts), None)
        outcome = copy.deepcopy(found.then) if found else None  # a job that changes it must not change the table
        _note(self.name, [found] if found else [], outcome)
        return outcome

    def total(self, facts: Mapping[str, Any]) -> float:
        """
        Return the sum of what all rows that match add; 0 if none does.

        Raises: RulesError, as `first`.
        """
        self._refuse(adds=False)
        found = list(self._matching(facts))
        outcome = sum(row.add or 0 for row in found)
        _note(self.name, found, outcome)
        return outcome

    def match(self, facts: Mapping[str, Any]) -> list[Row]:
        """Return every row that matches, in order; raises as `first`."""
        return list(self._matching(facts))

    def _matching(self, facts: Mapping[str, Any]) -> Iterator[Row]:
        for fact, number in self._asked.items():
            if fact not in facts:  # told for every record alike, and not only where the row is reached
                reason = f'asks for "{fact}", which the facts do not have.{did_you_mean(fact, facts)}'
                raise RulesError(f"rules.{self.name} row {number} {reason}")
        return (row for row in self._rows if row.holds(facts, self.name))

    def _refuse(self, *, adds: bool) -> None:
        if self._rows and (self._rows[0].add is not None) is adds:
            right, has = ("total", "adds up") if adds else ("first", "has no numbers to add")
            raise RulesError(f"rules.{self.name} {has}: ask it with .{right}(facts)")


def _row(number: int, row: Mapping[str, Any]) -> Row:
    when = tuple((fact, read_condition(wanted)) for fact, wanted in row.get("when", {}).items())
    return Row(number, when, row.get("then"), row.get("add"))


class Tables:
    """
    The decision tables of a site. Each is read when it is first asked for, and once.

    Args:
        plain: Rows by name, as `Settings.rule_tables()` gives them.
    """

    def __init__(self, plain: Mapping[str, list[dict[str, Any]]]) -> None:
        self.plain = plain
        self._read: dict[str, Rules] = {}

    def __getitem__(self, name: str) -> Rules:
        found = self._read.get(name)
        if found is None:
            if name not in self.plain:
                raise RulesError(f"there is no [[rules.{name}]] in config.toml.{did_you_mean(name, self.plain)}")
            found = self._read[name] = Rules(name, self.plain[name])
        return found


class Ruled:
    """
    Makes these the tables that `rules` finds while a `with` lasts; `decisions` is what they decided meanwhile.

    Args:
        tables: The site's.
        whole_process: Whether the other threads of the process find them too, as in a child with its one job.
    """

    def __init__(self, tables: Tables, *, whole_process: bool = False) -> None:
        self.tables = tables
        self.decisions: list[Decision] = []
        self.decided = 0
        self._whole_process = whole_process

    def __enter__(self) -> Self:
        self._token = _here.set(self)
        if self._whole_process:
            _process.append(self)
        return self

    def __exit__(self, *_error: object) -> None:
        _here.reset(self._token)
        if self._whole_process:
            _process.remove(self)


_here: ContextVar[Ruled] = ContextVar("millrace_rules")
_process: list[Ruled] = []


def rules(name: str) -> Rules:
    """
    Return a decision table of config.toml: `rules("segment").first({"points": 62})`.

    Outside a job it is the one of ./config.toml, or of the file that $MILLRACE_CONFIG names.

    Raises: RulesError with a suggestion, if there is none of that name; SettingsError, if that file is wrong.
    """
    here = ruled()
    return here.tables[name] if here else site_tables()[name]


def ruled() -> Ruled | None:
    """Return whose tables hold here; None outside a job."""
    return _here.get(None) or (_process[-1] if _process else None)


def site_tables() -> Tables:
    """Return the tables of the site in whose folder this process runs; a file that changed is read anew."""
    from millrace.config.find import find_config

    config = find_config(None)
    return _tables_of(config.absolute(), config.stat().st_mtime_ns) if config else Tables({})


@lru_cache(maxsize=4)
def _tables_of(config: Path, _changed: int) -> Tables:
    from millrace.config.load import load_site

    return Tables(load_site(config).settings.rule_tables())


def _note(name: str, rows: list[Row], outcome: object) -> None:
    here = ruled()
    if here is None:
        return
    here.decided += 1
    if len(here.decisions) < MAX_DECISIONS:
        kept = tuple(row.number for row in rows[:MAX_ROWS])
        here.decisions.append(Decision(name, kept, outcome, len(rows) - len(kept)))
