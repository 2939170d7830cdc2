"""
`Results[T]`: what a stage came to for all records, as the parameter of a `collect`. It is read in pieces while it is
gone through, so that a million records need no more memory than a few hundred.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Generic, TypeVar

from millrace.define.reading import Reading
from millrace.errors import BadResult

T = TypeVar("T")

Piece = list[tuple[int, str]]  # numbers of records, rising, and their values as JSON text
Fetch = Callable[[int, int], Piece]  # (after this number, at most so many) → the next piece; empty: there are no more

PIECE: Final = 500
MAX_RESULT: Final = 8 * 2**20  # characters of one value, as JSON text: what is larger is kept in a file


class Results(Generic[T]):
    """
    The values of one stage, in the order of the records; it can be gone through more than once.

    Args:
        fetch: Returns the next values after the record of a number, at most so many.
        count: How many there are.
        dead: Records of which the stage has none, because it or what it needed failed for good.
        skipped: Records for which the stage was skipped, as its branch was not taken.
        of: The type of a value; Any gives what JSON has.
        stage: The short name of the stage, for messages.
    """

    def __init__(
        self, fetch: Fetch, count: int, *, dead: int = 0, skipped: int = 0, of: Any = Any, stage: str = ""
    ) -> None:
        self.dead = dead
        self.skipped = skipped
        self._fetch = fetch
        self._count = count
        self._stage = stage
        self._reading = Reading(of, f"stage {stage}")

    @classmethod
    def of(cls, values: Iterable[T], *, dead: int = 0, skipped: int = 0) -> Results[T]:
        """Return results made of these values, so that a stage that collects can be tested by calling it."""
        return _Given(values, dead=dead, skipped=skipped)

    @staticmethod
    def joined(*results: Results[Any]) -> Iterator[tuple[Any, ...]]:
        """
        Yield the values of several stages for the same record together, for the records that all of them have.

        `for lead, points in Results.joined(leads, points): …` goes through each of them once, and keeps nothing.
        """
        walks = [one.records() for one in results]
        try:
            heads = [next(walk) for walk in walks]
            while True:
                last = max(number for number, _ in heads)
                for at, walk in enumerate(walks):
                    while heads[at][0] < last:
                        heads[at] = next(walk)
                if all(number == last for number, _ in heads):
                    yield tuple(value for _, value in heads)
                    heads = [next(walk) for walk in walks]
        except StopIteration:  # one of them has no more, so there is no record that all have
            return

    def __iter__(self) -> Iterator[T]:
        return (value for _, value in self.records())

    def __len__(self) -> int:
        return self._count

    def __bool__(self) -> bool:
        return self._count > 0

    def __repr__(self) -> str:
        return f"<results: {self._count}, {self.dead} dead, {self.skipped} skipped>"

    def records(self) -> Iterator[tuple[int, T]]:
        """
        Yield the number of each record, from 1 in the order of the source, and its value.

        Raises: BadResult, a ValueError that names the record, if a value does not fit the type, as after a change of
            the job's code.
        """
        after = 0
        while piece := self._fetch(after, PIECE):
            for number, text in piece:
                yield number, self._value(number, text)
            after = piece[-1][0]

    def _value(self, number: int, text: str) -> T:
        try:
            value: T = self._reading.read(text)
        except ValueError as error:
            problems = "; ".join(map(str, self._reading.problems(text)))
            raise BadResult(f"record {number} of stage {self._stage}: {problems}") from error
        return value


class _Given(Results[T]):
    """Values that are there: handed on as they are."""

    def __init__(self, values: Iterable[T], *, dead: int, skipped: int) -> None:
        self._values = list(values)
        super().__init__(lambda _after, _limit: [], len(self._values), dead=dead, skipped=skipped)

    def records(self) -> Iterator[tuple[int, T]]:
        return iter(enumerate(self._values, 1))
