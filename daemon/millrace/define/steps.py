"""The names of the steps of one attempt, each of which stands for one thing: in a job, and in a trial of a pipeline."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


class Steps:
    """The steps that are done, or under way, in one attempt."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    @contextmanager
    def doing(self, name: str) -> Iterator[None]:
        """
        Let a step be done while a `with` lasts. One that fails was not done, and may be tried once more.

        Raises: ValueError if the name is in use: the ledger would answer with what the first one came to.
        """
        if name in self._names:
            raise ValueError(
                f'step "{name}" was done in this attempt already: make its name unique, such as f"{name} {{x}}" in a'
                " loop"
            )
        self._names.add(name)
        try:
            yield
        except BaseException:
            self._names.discard(name)
            raise


_tried: ContextVar[Steps | None] = ContextVar("millrace_steps", default=None)


def tried() -> Steps | None:
    """Return the steps of the stage that is tried here; None where steps are simply done."""
    return _tried.get()


@contextmanager
def trying() -> Iterator[None]:
    """Let what is called while a `with` lasts be one attempt of a trial."""
    token = _tried.set(Steps())
    try:
        yield
    finally:
        _tried.reset(token)
