"""Reads what strace wrote down: the calls that change files, in order, each with when it began and when it was done."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CALLS: Final = "openat,write,pwrite64,ftruncate,fsync,fdatasync,rename,unlink,unlinkat,mkdir"
_LINE: Final = re.compile(r"(?P<thread>\d+) +(?P<rest>.*)", re.DOTALL)
_RESUMED: Final = re.compile(r"<\.\.\. (?P<call>\w+) resumed>(?P<rest>.*)", re.DOTALL)
_UNFINISHED: Final = " <unfinished ...>"
_DONE: Final = re.compile(r"(?P<call>\w+)\((?P<words>.*)\) += (?P<result>-?\d+)(?P<target><.*>)?(?: .*)?", re.DOTALL)
_FILE: Final = re.compile(r"\d+<(?P<path>[^>]*)>(?P<gone>\(deleted\))?")
_BYTE: Final = re.compile(r"\\x([0-9a-f]{2})")


class Call(NamedTuple):
    """
    One call that succeeded.

    Args:
        began, done: Numbers of lines: what was done before another began, is before it.
        name: Of the call.
        path: The file or folder; of a rename the new name.
        data: What was written.
        place: Where it was written, -1 for the end; the new size of ftruncate.
        old: The name before a rename.
        gone: The file had no name any more.
    """

    began: int
    done: int
    name: str
    path: str
    data: bytes = b""
    place: int = -1
    old: str = ""
    gone: bool = False


def read_trace(log: Path) -> Iterator[Call]:
    """Yield the calls that succeeded, in the order in which they were done."""
    open_: dict[str, tuple[int, str]] = {}
    with log.open(errors="surrogateescape") as lines:
        for number, line in enumerate(lines):
            if (found := _LINE.match(line.rstrip("\n"))) is None:
                continue
            thread, rest = found["thread"], found["rest"]
            if rest.endswith(_UNFINISHED):
                open_[thread] = number, rest.removesuffix(_UNFINISHED)
                continue
            began = number
            if (resumed := _RESUMED.fullmatch(rest)) is not None:
                began, head = open_.pop(thread)
                rest = head + resumed["rest"]
            if (done := _DONE.fullmatch(rest)) is not None and int(done["result"]) >= 0:
                call = _call(began, number, done)
                if call is not None:
                    yield call


def _call(began: int, done: int, found: re.Match[str]) -> Call | None:
    name, words = found["call"], found["words"]
    if name in {"rename", "unlink", "unlinkat", "mkdir", "openat"}:
        paths = [_text(word).decode() for word in re.findall(r'"([^"]*)"', words)]
        if name == "openat" and "O_CREAT" not in words:
            return None
        return Call(began, done, name, os.path.normpath(paths[-1]), old=os.path.normpath(paths[0]))
    file = _FILE.match(words)
    if file is None:
        return None
    call = Call(began, done, name, _text(file["path"]).decode(errors="replace"), gone=bool(file["gone"]))
    if name == "ftruncate":
        return call._replace(place=int(words.rsplit(", ", 1)[1]))
    if name in {"write", "pwrite64"}:
        data = _text(words.split('"')[1])[: int(found["result"])]
        return call._replace(data=data, place=int(words.rsplit(", ", 1)[1]) if name == "pwrite64" else -1)
    return call


def _text(word: str) -> bytes:
    """Return the bytes of a word, all of which strace wrote as hexadecimal numbers; a path of -y may be plain."""
    return bytes.fromhex("".join(_BYTE.findall(word))) if word.startswith("\\x") else word.encode()
