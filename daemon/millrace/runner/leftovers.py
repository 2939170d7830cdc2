"""Ends what outlived its keeper: children of a daemon that died, and orphans of a fork server that was killed."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING

from millrace.clock import SYSTEM, Clock
from millrace.errors import MillraceError
from millrace.runner import tree

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from millrace.ledger.rows import ChildRow
    from millrace.runner.tree import Process


def kill_leftovers(
    children: Sequence[ChildRow],
    ledger_mark: str,
    clock: Clock = SYSTEM,
    is_daemon: Callable[[int], bool] = lambda _pid: False,
) -> int:
    """
    End every process that a dead daemon of this ledger left behind, before its attempts are taken back.

    A process below a daemon that lives is none: a copy of a ledger carries the mark, and the children on record, of the
    one that it was copied from.

    Args:
        children: The children on record; each counts only if pid and start time fit.
        ledger_mark: What the environment of every descendant of theirs carries.
        is_daemon: Whether a pid is that of a living daemon.
    Returns: How many processes there were.
    Raises: MillraceError if some cannot be killed: their jobs must not run a second time beside them.
    """

    def find() -> list[Process]:
        now = tree.snapshot()
        roots = [p for row in children if (p := now.get(row.pid)) and p.start_ticks == row.start_ticks and not p.zombie]
        marked = tree.carriers(ledger_mark, now)
        first = {p.pid: p for p in (*roots, *marked)}
        own = tree.ancestry(now)
        found = {**first, **{p.pid: p for p in tree.below(first, now)}}
        # A daemon that we come from, as one in whose job a site is tried out, may have adopted what ours left.
        return [
            p for p in found.values()
            if p.pid not in own and not any(is_daemon(pid) for pid in tree.forebears(p, now) if pid not in own)
        ]  # fmt: skip

    killed = _kill(find, clock)
    if killed is None:
        pids = ", ".join(str(p.pid) for p in find())
        raise MillraceError(f"processes of an earlier daemon do not die: {pids}. End them by hand, then start again.")
    return killed


def end_adopted(mark: str, known: Collection[int], keep: int, clock: Clock) -> int:
    """
    End the processes that came to us when the fork server was killed, and take down those that are dead.

    Args:
        mark: What their environment carries.
        known: Pids of the children on record. Of other processes that lead a session, a subprocess of our own that
            somebody waits for may be one, so they are not taken down here.
        keep: The pid of a new fork server; 0 for none.
    """
    here, own_session = os.getpid(), os.getsid(0)
    ours = set(known)

    def find() -> list[Process]:
        now = tree.snapshot()
        adopted = [p for p in now.values() if p.ppid == here and p.sid != own_session and p.pid != keep]
        marked = {p.pid for p in tree.carriers(mark, now)}
        # A process that is on its way out shows no environment any more: what was seen once stays ours.
        ours.update(p.pid for p in adopted if p.pid in marked or p.sid != p.pid)
        return [p for p in adopted if p.pid in ours and not (p.zombie and _taken_down(p.pid))]

    return _kill(find, clock) or 0


def _taken_down(pid: int) -> bool:
    with contextlib.suppress(ChildProcessError):  # another thread was quicker
        os.waitpid(pid, os.WNOHANG)
    return True


def _kill(find: Callable[[], list[Process]], clock: Clock) -> int | None:
    never = threading.Event()
    return tree.kill_all(find, lambda seconds: clock.wait(never, seconds))
