"""
Large values: from what size on a file beside the ledger costs less than a place in its row, and what small submissions
have to wait behind large ones. Row and file are measured in turns, on one disk.
"""

from __future__ import annotations

import threading
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any, Final

from figure import Figure, main, percentile
from scratch import folder

from millrace.ledger.ledger import Ledger
from millrace.ledger.moves import Moves
from millrace.ledger.rows import NewJob

if TYPE_CHECKING:
    from collections.abc import Iterator

    from millrace.ledger.ticket import Ticket

SIZES: Final = tuple(2**power * 1024 for power in (6, 8, 9, 10, 11, 12))
ROUNDS: Final = 15
QUICK_ROUNDS: Final = 5
HUGE: Final = 5 * 2**20
LIMIT_S: Final = 60.0


def took_ms(moves: Moves, size: int) -> float:
    """Return the milliseconds until one payload of a size is accepted."""
    text = '"' + "x" * size + '"'
    began = perf_counter()
    moves.accept([NewJob("noop", "q", text)]).wait(LIMIT_S)
    return (perf_counter() - began) * 1000


def beside_ms(large: Moves, small: Moves) -> list[float]:
    """Return the milliseconds that small submissions take while another thread hands in large ones."""
    text, ended = '"' + "x" * HUGE + '"', threading.Event()

    def hand_in() -> None:
        for _ in range(ROUNDS):
            large.accept([NewJob("noop", "q", text)]).wait(LIMIT_S)
        ended.set()

    thread = threading.Thread(target=hand_in)
    thread.start()
    found = []
    while not ended.is_set():
        began = perf_counter()
        ticket: Ticket[Any] = small.accept([NewJob("noop", "q")])
        ticket.wait(LIMIT_S)
        found.append((perf_counter() - began) * 1000)
    thread.join()
    return found


def figures(quick: bool) -> list[Figure]:  # noqa: FBT001 - the form that all scripts share
    """Return the figures."""
    return list(_figures(QUICK_ROUNDS if quick else ROUNDS))


def _figures(rounds: int) -> Iterator[Figure]:
    with folder() as place, Ledger(place / "blobs.db") as ledger:
        row, file = Moves(ledger.writer), ledger.moves
        for size in SIZES:
            pairs = [(took_ms(row, size), file_ms(ledger, size)) for _ in range(rounds)]
            in_row, in_file = (median(pair[place] for pair in pairs) for place in (0, 1))
            yield Figure(f"payload of {size // 1024} KB", "", f"row {in_row:.1f} ms, file {in_file:.1f} ms")
        for name, moves in (("rows", row), ("files", file)):
            waits = beside_ms(moves, row)
            text = f"p50 {percentile(waits, 0.5):.1f} ms, p99 {percentile(waits, 0.99):.1f} ms"
            yield Figure(f"small submissions while 5 MB go into {name}", "", text)


def file_ms(ledger: Ledger, size: int) -> float:
    """Return the milliseconds until one payload is accepted that goes into a file, whatever its size."""
    text = '"' + "x" * size + '"'
    began = perf_counter()
    kept = ledger.blobs.put(text)
    ledger.moves.accept([NewJob("noop", "q", kept)]).wait(LIMIT_S)
    return (perf_counter() - began) * 1000


if __name__ == "__main__":
    main(__doc__, figures, None)
