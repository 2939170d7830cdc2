"""
A disk that lost its power: what may be on it after a cut, by the traced writes and syncs of a ledger's files.

What was synced is there. Of each write that was not, each sector may be there or not, in any order; a file may have its
new size without its new content; a name may be there, gone or still there, until its folder was synced. That is more
than file systems do to us, and all that POSIX promises.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from tests.faults.trace import Call

SYNCS: Final = frozenset({"fsync", "fdatasync"})
WRITES: Final = frozenset({"pwrite64", "write", "ftruncate"})
MADE: Final = frozenset({"openat", "mkdir"})
MODES: Final = ("drop", "keep", "mix", "mix")
SECTORS: Final = (512, 4096)


class Cut(NamedTuple):
    """
    When the power failed, and what became of what was under way.

    Args:
        line: Calls of the trace that were done before it, are done.
        mode: What becomes of unsynced writes: drop (all lost), keep (none lost), mix (each kept, lost or torn).
        lies: Whether the disk never did what a sync asked for.
    """

    line: int
    mode: str
    lies: bool = False


@dataclass
class _File:
    """A file: what is on the disk, and what is on its way."""

    content: bytearray = field(default_factory=bytearray)
    pending: list[Call] = field(default_factory=list)

    @property
    def size(self) -> int:
        """How far it was written, on the disk or on its way."""
        return max([len(self.content), *(call.place + len(call.data) for call in self.pending if call.data)])

    def write(self, call: Call) -> None:
        """Send a write on its way: to its place, or to the end."""
        self.pending.append(call if call.place >= 0 else call._replace(place=self.size))

    def sync(self, began: int) -> None:
        """Put on the disk what was written before a sync began."""
        for call in self.pending:
            if call.done < began:
                self._put(call)
        self.pending = [call for call in self.pending if call.done >= began]

    def settle(self, cut: Cut, dice: random.Random) -> None:
        """Decide what becomes of what is on its way."""
        torn_anyhow = [call.done >= cut.line for call in self.pending]
        size = self.size
        for call, torn in zip(self.pending, torn_anyhow, strict=True):
            fate = cut.mode if cut.mode != "mix" else dice.choice(("drop", "keep", "tear"))
            if fate == "tear" or (torn and fate == "keep"):
                self._tear(call, dice)
            elif fate == "keep":
                self._put(call)
        if cut.mode == "mix" and dice.random() < 0.5:
            self.content.extend(bytes(size - len(self.content)))
        self.pending = []

    def _put(self, call: Call) -> None:
        if call.name == "ftruncate":
            del self.content[call.place :]
            self.content.extend(bytes(call.place - len(self.content)))
        else:
            self._write(call.place, call.data)

    def _tear(self, call: Call, dice: random.Random) -> None:
        """Keep some sectors of a write."""
        if call.name == "ftruncate":
            if dice.random() < 0.5:
                self._put(call)
            return
        sector = dice.choice(SECTORS)
        place, end = call.place, call.place + len(call.data)
        while place < end:
            upto = min(end, (place // sector + 1) * sector)
            if dice.random() < 0.5:
                self._write(place, call.data[place - call.place : upto - call.place])
            place = upto

    def _write(self, place: int, data: bytes) -> None:
        self.content.extend(bytes(max(0, place - len(self.content))))
        self.content[place : place + len(data)] = data


class Disk:
    """
    The folder of a ledger, or that of its large values, as its disk has it.

    Args:
        folder: Whose files these are.
        names: Which of them.
        base: What was there, synced, before the trace began.
    """

    def __init__(self, folder: Path, names: Sequence[str], base: Mapping[str, bytes]) -> None:
        self._folder = str(folder)
        self._paths = {f"{folder}/{name}": name for name in names}
        self._live = {name: _File(bytearray(content)) for name, content in base.items()}
        self._kept = dict(self._live)
        self._names: list[tuple[str, _File | None, int]] = []  # what happened to names since the folder was synced

    def concerned(self, call: Call) -> bool:
        """Return whether a call is about the folder or one of its files."""
        return call.path in self._paths or (call.path == self._folder and call.name in SYNCS)

    def after(self, calls: Iterable[Call], cut: Cut, dice: random.Random) -> dict[str, bytes]:
        """Return the files that are there after a cut; a disk can be asked once."""
        for call in calls:
            if call.began >= cut.line or not self.concerned(call):
                continue  # it is in the order of `done`: others may have begun before
            if call.name in SYNCS:
                if call.done < cut.line and not cut.lies:
                    self._sync(call)
            elif not call.gone:
                self._change(self._paths[call.path], call)
        for file in {id(file): file for file in [*self._live.values(), *self._all()]}.values():
            file.settle(cut, dice)
        return {name: bytes(file.content) for name, file in self._names_after(cut, dice).items()}

    def _sync(self, call: Call) -> None:
        if call.path == self._folder:
            for name, file, done in self._names:
                if done < call.began:
                    _set(self._kept, name, file)
            self._names = [item for item in self._names if item[2] >= call.began]
        elif not call.gone and (file := self._live.get(self._paths[call.path])) is not None:
            file.sync(call.began)

    def _change(self, name: str, call: Call) -> None:
        if call.name in MADE:
            if name not in self._live:
                self._live[name] = _File()
                self._names.append((name, self._live[name], call.done))
        elif call.name.startswith("unlink"):
            if self._live.pop(name, None) is not None:
                self._names.append((name, None, call.done))
        elif call.name in WRITES:
            self._live[name].write(call)
        elif call.name == "rename":
            old = self._paths[call.old]
            self._live[name] = self._live.pop(old)
            self._names += [(old, None, call.done), (name, self._live[name], call.done)]
        else:
            raise AssertionError(f"a ledger's file is changed by {call.name}, which is not reckoned with")

    def _all(self) -> list[_File]:
        return [*self._kept.values(), *(file for _, file, _ in self._names if file is not None)]

    def _names_after(self, cut: Cut, dice: random.Random) -> dict[str, _File]:
        """Return the names that are there: of what happened to each, so much as had reached the disk."""
        kept = dict(self._kept)
        for name in {name for name, _, _ in self._names}:
            fates = [file for of, file, _ in self._names if of == name]
            number = {"drop": 0, "keep": len(fates)}.get(cut.mode, dice.randint(0, len(fates)))
            if number:
                _set(kept, name, fates[number - 1])
        return kept


def _set(names: dict[str, _File], name: str, file: _File | None) -> None:
    if file is None:
        names.pop(name, None)
    else:
        names[name] = file


def lines_before(calls: Sequence[Call], cut: Cut) -> list[str]:
    """Return the lines that writes to a log had begun to write before a cut: who writes them, knows what they say."""
    began = sorted(calls, key=lambda call: call.began)
    before = began[: bisect_left([call.began for call in began], cut.line)]
    return b"".join(call.data for call in before).decode().splitlines()
