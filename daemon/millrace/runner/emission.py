"""
A fan-out at work: each item of its generator is checked by itself and handed on in chunks, with the position and a
hash chain over all items so far. An attempt after a crash, or after a pause, goes through the source again and skips
what was handed on, once the chain has proved that it is the same.
"""

from __future__ import annotations

import contextlib
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final

from millrace.clock import SYSTEM
from millrace.define.order import order_free
from millrace.define.payload import result_json
from millrace.define.results import MAX_RESULT
from millrace.errors import Parked, SourceChanged
from millrace.runner.text import MAX_MESSAGE, clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from millrace.define.stage import Stage
    from millrace.runner.context import Line

CHUNK_ITEMS: Final = 200
CHUNK_SIZE: Final = 256 * 1024  # characters
CHUNK_S: Final = 0.5
_LOOK_ITEMS: Final = 1000  # skipped items between two looks whether the attempt shall end
_DIGEST: Final = 16

Told = str | list[str]  # a good item as JSON text; of a bad one its JSON text as it came, and what is wrong with it


def fan_out(stage: Stage[..., Any], source: Iterable[Any], line: Line) -> dict[str, int]:
    """
    Hand on all items of a source.

    Returns: How many were good (`records`) and how many `bad`, those of earlier attempts among them.
    Raises: Parked("limit") when there is enough work downstream for now; SourceChanged; what the source raises.
    """
    emission, items = Emission(stage, line), iter(source)
    try:
        while True:
            try:
                raw = next(items)
            except StopIteration:
                return emission.end()
            except (Exception, SystemExit):
                emission.flush()  # what came before the failure is none of it
                raise
            emission.take(raw)
    finally:
        _close(items)


def _close(items: Iterator[Any]) -> None:
    """Let the generator's `finally` blocks run now; what they raise must not hide why it was ended."""
    close = getattr(items, "close", None)
    if close is not None:
        with contextlib.suppress(Exception):
            close()


class Emission:
    """
    What one attempt of a fan-out has handed on.

    Args:
        stage: The fan-out.
        line: The way to the ledger; tells where the last attempt got to.
    """

    def __init__(self, stage: Stage[..., Any], line: Line) -> None:
        state = line.ask("emit.begin", {})
        self._position: int = state["position"]
        self._chain: str = state["chain"]
        self._stage = stage
        self._line = line
        self._seen = self._bad = 0
        self._digest = b""
        self._chunk: list[Told] = []
        self._size = 0
        self._flushed = SYSTEM.monotonic()

    def take(self, raw: object) -> None:
        """Take the next item of the source. Raises as `fan_out`."""
        told, mark = self._read(raw)
        self._seen += 1
        self._bad += not isinstance(told, str)
        self._digest = blake2b(self._digest + mark.encode("utf-8", "replace"), digest_size=_DIGEST).digest()
        if self._seen <= self._position:
            self._skip()
            return
        self._chunk.append(told)
        self._size += len(mark)
        # By the time of the last flush: the items of a slow source are handed on one by one, as they come.
        if len(self._chunk) >= CHUNK_ITEMS or self._size >= CHUNK_SIZE or SYSTEM.monotonic() - self._flushed >= CHUNK_S:
            self._line.check()
            if not self.flush():
                raise Parked("limit")

    def flush(self) -> bool:
        """Hand on what was taken; return whether the source may go on."""
        go_on = True
        if self._chunk:
            body = {"items": self._chunk, "begun": self._position, "position": self._seen, "chain": self._digest.hex()}
            go_on = bool(self._line.ask("emit", body))
            self._position, self._chunk, self._size = self._seen, [], 0
        self._flushed = SYSTEM.monotonic()
        return go_on

    def end(self) -> dict[str, int]:
        """Hand on the rest; return the counts. Raises SourceChanged if the source has become shorter."""
        if self._seen < self._position:
            raise SourceChanged(
                f"source changed: it has {self._seen} items now, but {self._position} of it were handed on before"
            )
        if not self.flush() and self._line.ask("emit.begin", {})["position"] < self._seen:
            raise Parked("limit")  # the rest was not taken: the run is being cancelled
        return {"records": self._seen - self._bad, "bad": self._bad}

    def _skip(self) -> None:
        if self._seen == self._position and self._digest.hex() != self._chain:
            raise SourceChanged(
                f"source changed: its first {self._position} items are not those that were handed on before; "
                "start a new run for it"
            )
        if self._seen % _LOOK_ITEMS == 0:
            self._line.check()

    def _read(self, raw: object) -> tuple[Told, str]:
        """Return an item as it is told, and the text that stands for it in the chain."""
        text, problems = self._stage.validate_item(raw)
        if text is None:
            kept, mark = _kept(raw)
            return [kept, clean("; ".join(map(str, problems)))], mark
        if len(text) > MAX_RESULT:
            kept, mark = _kept(raw)
            size = f"item: has {len(text)} characters, more than {MAX_RESULT}: keep it in a file and emit its path"
            return [kept, size], mark
        return text, self._stage.items.mark(text)


def _kept(raw: object) -> tuple[str, str]:
    """Return the JSON text that is kept of a bad item, and that in the chain: without addresses, and orders of sets."""
    try:
        text = result_json(raw)
    except Exception:  # noqa: BLE001 - serialisers of the site's own classes run in here
        return result_json(_shown(raw)), type(raw).__name__
    return (result_json(clean(text, MAX_MESSAGE)) if len(text) > MAX_RESULT else text), order_free(text)


def _shown(raw: object) -> str:
    try:
        return clean(repr(raw), MAX_MESSAGE)
    except Exception:  # noqa: BLE001 - as above
        return f"<{type(raw).__name__}>"
