"""What is said around a wait: that nobody works, and after Ctrl-C how to wait again, and how to stop it."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from millrace.cli.output import echo_json
from millrace.cli.session import tell
from millrace.errors import StillOpen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from millrace.cli.session import Session

_LOOK_EVERY_S: Final = 0.5


class Watch:
    """
    Says once that no daemon runs: the wait would be a long one.

    Args:
        what: That is waited for: "job" or "run".
        before: Called before it is said.
    """

    def __init__(self, session: Session, what: str, before: Callable[[], None] = lambda: None) -> None:
        self._session = session
        self._what = what
        self._before = before
        self._next: float | None = None
        self._told = False

    def look(self) -> None:
        """Look whether a daemon runs, now and then."""
        now = self._session.clock.monotonic()
        if self._told or (self._next is not None and now < self._next):
            return
        first, self._next = self._next is None, now + _LOOK_EVERY_S
        if not self._session.served():
            self._told = True
            self._before()
            more = "" if first else " any more"
            tell(f"The daemon is not running{more}; the {self._what} waits until it is (millrace serve).")


@contextmanager
def interruptible(what: str, ids: Sequence[str]) -> Iterator[None]:
    """
    Let Ctrl-C end a wait with a word on what becomes of what was waited for.

    Args:
        what: "job" or "run".
    """
    try:
        yield
    except KeyboardInterrupt:
        if sys.stderr.isatty():
            tell("")  # behind the ^C
        words = " ".join(ids)
        go, it = (f"{what} goes", "it") if len(ids) == 1 else (f"{what}s go", "them")
        tell(f"The {go} on: millrace jobs wait {words}; to stop {it}: millrace {what}s cancel {words}")
        raise


@contextmanager
def shown_as_it_stands(look: Callable[[], object], *, as_json: bool) -> Iterator[None]:
    """
    Print the JSON of what is not over when the time to wait is up: who waits on from there needs its id.

    Args:
        look: Returns the document of what is waited for, as it stands now.
        as_json: Whether JSON is wanted at all.
    """
    try:
        yield
    except StillOpen:
        if as_json:
            echo_json(look())
        raise
