"""What the units of a batch see of the open transaction: statements, its time, and the counts they change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from millrace.ledger.run_counts import RunCounts
from millrace.ledger.states import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from millrace.events import RunEnded

Lane = tuple[str, str, str]  # queue, client, task
Mark = tuple[int, int, int, int]  # places in the lists of counts, of counts of runs, of runs that ended, of files

_COLUMNS: Final = ("accepted", *(status.value for status in Status), "pruned")
_PLACE: Final = {name: place for place, name in enumerate(_COLUMNS)}
_OPEN: Final = tuple(_PLACE[status] for status in (Status.WAITING, Status.QUEUED, Status.RUNNING))

_TALLY: Final = f"""  -- add the batch's changes to the conservation counters
INSERT INTO tally (queue, client, task, {", ".join(_COLUMNS)}) VALUES (?, ?, ?, {", ".join("?" * len(_COLUMNS))})
ON CONFLICT DO UPDATE SET {", ".join(f"{name} = {name} + excluded.{name}" for name in _COLUMNS)}"""  # noqa: S608

_LANE: Final = """  -- add the batch's changes to the lane; one that had been idle does not get its unused past back
INSERT INTO lane (queue, client, vtime, waiting, queued, running) VALUES (?1, ?2, coalesce(
    (SELECT min(vtime) FROM lane WHERE queue = ?1 AND queued > 0),
    (SELECT max(vtime) FROM lane WHERE queue = ?1), 0.0), ?3, ?4, ?5)
ON CONFLICT DO UPDATE SET
  vtime = CASE WHEN queued = 0 AND excluded.queued > 0 THEN max(vtime, excluded.vtime) ELSE vtime END,
  waiting = waiting + excluded.waiting, queued = queued + excluded.queued, running = running + excluded.running"""


class Changes:
    """What others, here or in the daemon, want to know after the commit. A false alarm is harmless."""

    __slots__ = ("cancels", "due", "ended", "gone", "queued")

    def __init__(self) -> None:
        self.queued: set[str] = set()  # queues that gained work
        self.due = False  # a job waits for a time
        self.cancels = False  # somebody asked a running job to end
        self.ended: list[RunEnded] = []  # runs of which nothing is open any more; none of them is a false alarm
        self.gone: list[str] = []  # files of large values of which the row is gone

    def __bool__(self) -> bool:
        """Return whether anybody needs to be told."""
        return bool(self.queued or self.due or self.cancels or self.ended or self.gone)


class Transaction:
    """The open transaction of one batch. Units use it one after the other, in the thread that has the turn."""

    __slots__ = ("_counts", "broken", "changes", "connection", "now_ms", "runs")

    def __init__(self, connection: apsw.Connection, now_ms: int) -> None:
        self.connection = connection
        self.now_ms = now_ms
        self.changes = Changes()
        self.runs = RunCounts(connection)
        self.broken: Exception | None = None  # some counts are written and some are not: nothing may be committed
        self._counts: list[tuple[Lane, int, int]] = []

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Execute a statement; return how many rows it changed."""
        self.connection.execute(sql, values)
        return self.connection.changes()

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[Any]:
        """Execute a statement; return its rows as tuples."""
        return self.connection.execute(sql, values).fetchall()

    def count(self, lane: Lane, column: str, number: int = 1) -> None:
        """Add to a counter of (queue, client, task): a status, `accepted` or `pruned`."""
        self._counts.append((lane, _PLACE[column], number))

    def moved(self, lane: Lane, source: str, to: str, number: int = 1) -> None:
        """Count jobs that went from one status to another."""
        self._counts += ((lane, _PLACE[source], -number), (lane, _PLACE[to], number))

    def mark(self) -> Mark:
        """Return the point to which `forget` can go back."""
        return len(self._counts), self.runs.mark(), len(self.changes.ended), len(self.changes.gone)

    def forget(self, mark: Mark) -> None:
        """Forget the counts of a unit that was undone."""
        counts, runs, ended, gone = mark
        del self._counts[counts:]
        self.runs.forget(runs)
        del self.changes.ended[ended:]
        del self.changes.gone[gone:]

    def flush(self) -> None:
        """Write the counts so far. After an error the batch must not be committed (`broken`)."""
        try:
            self._write(self._sums())
            self.runs.flush()
        except Exception as error:
            self.broken = error
            raise
        self._counts.clear()

    def _sums(self) -> dict[Lane, list[int]]:
        sums: dict[Lane, list[int]] = {}
        for lane, place, number in self._counts:
            change = sums.get(lane)
            if change is None:
                change = sums[lane] = [0] * len(_COLUMNS)
            change[place] += number
        return sums

    def _write(self, sums: dict[Lane, list[int]]) -> None:
        lanes: dict[tuple[str, str], list[int]] = {}
        for (queue, client, task), change in sums.items():
            self.connection.execute(_TALLY, (queue, client, task, *change))
            total = lanes.setdefault((queue, client), [0, 0, 0])
            for index, place in enumerate(_OPEN):
                total[index] += change[place]
        for (queue, client), total in lanes.items():
            if any(total):
                self.connection.execute(_LANE, (queue, client, *total))
