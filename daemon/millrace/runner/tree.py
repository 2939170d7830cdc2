"""
Finding and ending whole trees of processes. A pid is only a number that the kernel gives out again, so every process
is known by its pid *and* its start time, and every signal goes through a pidfd that was checked against both.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

MARK: Final = "MILLRACE_LEDGER"
MAX_PASSES: Final = 200
_PROC: Final = Path("/proc")


@dataclass(frozen=True, slots=True)
class Process:
    """One process as /proc/PID/stat shows it. `start_ticks` counts clock ticks since boot."""

    pid: int
    ppid: int
    pgid: int
    sid: int
    start_ticks: int
    zombie: bool


def look(pid: int) -> Process | None:
    """Return the process, or None if there is none of that pid."""
    try:
        stat = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    # The name stands in parentheses and may itself hold spaces and parentheses: read from the last one on.
    fields = stat[stat.rindex(b")") + 2 :].split()
    return Process(pid, int(fields[1]), int(fields[2]), int(fields[3]), int(fields[19]), fields[0] in b"ZX")


def snapshot() -> dict[int, Process]:
    """Return all processes of the machine, by pid."""
    pids = [int(entry) for entry in os.listdir(_PROC) if entry.isdigit()]  # noqa: PTH208 - the hot half of Path.iterdir
    return {pid: process for pid in pids if (process := look(pid)) is not None}


def send(process: Process, signal_number: int) -> bool:
    """Signal exactly this process; False if it is gone, even when its pid was given to another."""
    try:
        handle = os.pidfd_open(process.pid)
    except OSError:
        return False
    try:
        now = look(process.pid)
        if now is None or now.start_ticks != process.start_ticks:
            return False
        signal.pidfd_send_signal(handle, signal_number)
        return True
    except OSError:
        return False
    finally:
        os.close(handle)


def below(roots: Iterable[int], processes: Mapping[int, Process]) -> list[Process]:
    """Return the living processes that descend from the roots, or share a session or group that a root leads."""
    found = set(roots)
    leaders = frozenset(found)
    grown = True
    while grown:
        more = {p.pid for p in processes.values() if p.ppid in found or p.sid in leaders or p.pgid in leaders} - found
        grown = bool(more)
        found |= more
    return [p for pid in found - leaders if (p := processes.get(pid)) is not None and not p.zombie]


def kill_tree(root: Process) -> set[int]:
    """
    Kill a child of ours and everything that descends from it; return the pids of the descendants.

    The root is stopped first: it is the subreaper of its descendants, so as long as it stands none of them can leave
    its tree, and it cannot fork another. It falls last.
    """
    killed: set[int] = set()
    if not send(root, signal.SIGSTOP):
        return killed
    for _ in range(MAX_PASSES):
        rest = below([root.pid], snapshot())
        for process in rest:
            send(process, signal.SIGKILL)
        killed.update(p.pid for p in rest)
        if not rest:
            break
    send(root, signal.SIGKILL)
    return killed


def term_group(root: Process) -> None:
    """Ask the root and all that descends from it to end; those that were stopped go on, so that they can."""
    for process in (root, *below([root.pid], snapshot())):
        send(process, signal.SIGTERM)
        send(process, signal.SIGCONT)


def carriers(mark: str, processes: Mapping[int, Process]) -> list[Process]:
    """Return the living processes whose environment names this ledger, without ourselves and those we come from."""
    needle, own = f"{MARK}={mark}".encode(), ancestry(processes)
    return [p for p in processes.values() if p.pid not in own and not p.zombie and needle in _environ(p.pid)]


def kill_all(find: Callable[[], list[Process]], wait: Callable[[float], object]) -> int | None:
    """
    Kill what `find` returns until it returns nothing; return how many there were, None if some would not go.

    Args:
        find: Looks anew each time.
        wait: Waits a number of seconds for the kernel to take the dead down.
    """
    killed: set[tuple[int, int]] = set()
    for turn in range(MAX_PASSES):
        rest = find()
        if not rest:
            return len(killed)
        # All are stopped before the first is killed: a family that restarts its dead could outrun us otherwise.
        for signal_number in (signal.SIGSTOP, signal.SIGKILL):
            for process in rest:
                send(process, signal_number)
        killed.update((p.pid, p.start_ticks) for p in rest)
        wait(min(0.005 * (turn + 1), 0.2))
    return None


def ancestry(processes: Mapping[int, Process]) -> set[int]:
    """Return the pids of this process and of those that it comes from."""
    here = processes.get(os.getpid())
    return {os.getpid(), *(forebears(here, processes) if here else ())}


def forebears(process: Process, processes: Mapping[int, Process]) -> list[int]:
    """Return the pids that a process comes from, the nearest first."""
    found = [process.ppid]
    while (above := processes.get(found[-1])) is not None and above.ppid not in found:
        found.append(above.ppid)
    return found


def _environ(pid: int) -> list[bytes]:
    try:
        return (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return []  # gone, or another user's
