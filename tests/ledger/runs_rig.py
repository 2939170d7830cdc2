"""Plans in few words, and a driver that works the jobs of a run off as a daemon would."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from millrace.ledger.plan import Gate, Plan, PlanStage
from millrace.ledger.rows import JobError
from millrace.ledger.run_rows import Item, NewRun
from tests.ledger.rig import LIMIT_S

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from millrace.ledger.rows import Claim
    from millrace.ledger.run_rows import RunRow
    from tests.ledger.rig import Book

BAD = JobError("BadItem", "it does not fit")
ERROR = JobError("ValueError", "no")


def stage(name: str, *needs: str, **given: Any) -> PlanStage:
    """A stage whose needs are named; one that ends in `?` is not required."""
    parsed = tuple((need.rstrip("?"), not need.endswith("?")) for need in needs)
    gate: Gate | None = given.get("gate")
    waits = tuple(dict.fromkeys((*(name for name, _ in parsed), *((gate.route,) if gate else ()))))
    return PlanStage(name, f"p.{name}", given.pop("queue", "q"), needs=parsed, waits=waits, **given)


def per(fanout: str, name: str, *needs: str, **given: Any) -> PlanStage:
    """A stage of the records of a fan-out."""
    return stage(name, *needs, fanout=fanout, **given)


def plan(*stages: PlanStage, bound: int = 1000) -> Plan:
    """A plan of the pipeline p."""
    return Plan("p", stages, bound)


LINE = plan(
    stage("lead", kind="fanout"),
    per("lead", "points", "lead"),
    stage("total", "points", kind="collect"),
)
DIAMOND = plan(
    stage("lead", kind="fanout"),
    per("lead", "company", "lead"),
    per("lead", "points", "lead"),
    per("lead", "call", "lead", "company", "points"),
    stage("total", "call", kind="collect"),
    stage("mail", "total", after_collect=True),
)
ROUTED = plan(
    stage("lead", kind="fanout"),
    per("lead", "kind", "lead", kind="route"),
    per("lead", "big", "lead", gate=Gate("kind", ("big",))),
    per("lead", "other", "lead", gate=Gate("kind", (), otherwise=True)),
    per("lead", "card", "big"),
    per("lead", "note", "big?", "lead", "other?"),
    stage("total", "note", kind="collect"),
)


class Works:
    """The runs of one ledger, and short names for what tests do with them."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.moves, self.reads = book.ledger.moves, book.ledger.reads

    def start(self, plan: Plan, **given: Any) -> str:
        """Start a run; return its id."""
        return self.moves.start_run(NewRun("p", plan, **given)).wait(LIMIT_S).id

    def claim(self, stage: str | None = None, slots: int = 1000) -> list[Claim]:
        """Claim what is queued; what is not of the stage is released."""
        held = self.book.claim(slots)
        for other in held:
            if stage is not None and other.stage != stage:
                self.moves.release(other, "test", duration_s=0.0).wait(LIMIT_S)
        return [one for one in held if stage is None or one.stage == stage]

    def succeed(self, held: Iterable[Claim], result: str | Callable[[Claim], str] = "1") -> None:
        """End attempts well."""
        told = [self.moves.succeed(one, result(one) if callable(result) else result, duration_s=0.0) for one in held]
        for ticket in told:
            ticket.wait(LIMIT_S)

    def die(self, held: Claim) -> None:
        """End an attempt for good."""
        self.moves.give_up(held, ERROR, duration_s=0.0, cause="test").wait(LIMIT_S)

    def emit(self, held: Claim, count: int, bad: Iterable[int] = ()) -> bool:
        """Emit items, some of them bad (by their numbers)."""
        begun, chain = self.moves.fanout_state(held).wait(LIMIT_S)
        numbers = range(begun + 1, begun + count + 1)
        bad = set(bad)
        items = [Item(None, f"raw {n}", BAD) if n in bad else Item(f'"item {n}"') for n in numbers]
        return self.moves.emit(held, items, begun + count, f"{chain}{count}.", begun).wait(LIMIT_S)

    def fan_out(self, count: int, bad: Iterable[int] = (), stage: str = "lead") -> None:
        """Let a fan-out emit its items and end."""
        (held,) = self.claim(stage)
        self.emit(held, count, bad)
        self.succeed([held], '{"records":0}')

    def work_off(self, result: str | Callable[[Claim], str] = "1") -> int:
        """Let all succeed that is there and that comes; return how many jobs that were."""
        done = 0
        while held := self.claim():
            self.succeed(held, result)
            done += len(held)
        return done

    def run(self, run_id: str) -> RunRow:
        """Return the run."""
        return self.reads.run(run_id)

    def jobs(self, run_id: str) -> dict[tuple[str, str | None], str]:
        """Return the status of each job of a run, by stage and record."""
        sql = "SELECT stage, record, status FROM job WHERE run_id = ?"
        return {(row[0], row[1]): row[2] for row in self.book.sql(sql, (run_id,))}

    def requeue(self, run_id: str, stage: str, record: str | None) -> str:
        """Put one job back; return its id."""
        sql = "SELECT id FROM job WHERE run_id = ? AND stage = ? AND coalesce(record, '') = ?"
        job_id = str(self.book.sql(sql, (run_id, stage, record or ""))[0][0])
        self.moves.requeue(job_id, actor="ann").wait(LIMIT_S)
        return job_id

    def sound(self) -> bool:
        """Whether the counters of runs and of jobs are those of the rows."""
        counted = """
          SELECT run_id, stage, sum(status = 'waiting'), sum(status = 'queued'), sum(status = 'running'),
            sum(status = 'succeeded'), sum(status = 'dead'), sum(status = 'cancelled') FROM job
           WHERE run_id IS NOT NULL GROUP BY 1, 2"""
        stored = """SELECT run_id, stage, waiting, queued, running, succeeded, dead, cancelled FROM run_count
           WHERE waiting + queued + running + succeeded + dead + cancelled <> 0"""
        skips = "SELECT run_id, stage, count(*) FROM skip GROUP BY 1, 2"
        skipped = "SELECT run_id, stage, skipped FROM run_count WHERE skipped <> 0"
        records = "SELECT id, (SELECT count(*) FROM record WHERE fanout = fanout.id) FROM fanout"
        return (
            sorted(self.book.sql(counted)) == sorted(self.book.sql(stored))
            and sorted(self.book.sql(skips)) == sorted(self.book.sql(skipped))
            and sorted(self.book.sql(records)) == sorted(self.book.sql("SELECT id, records FROM fanout"))
            and self.book.balanced()
        )
