"""
Random plans under random events (successes one by one and in one batch, deaths, retries, lost attempts, daemons that
die, cancellations, resumes, things put back), against an oracle that looks at everything anew after each of them.
"""

from __future__ import annotations

import json
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from millrace.errors import LostClaim, WrongStatus
from millrace.ledger.plan import Gate, Plan, PlanStage
from tests.ledger.oracle import OPEN, Key, Oracle
from tests.ledger.rig import LIMIT_S, Book, hold
from tests.ledger.runs_rig import ERROR, Works, stage

if TYPE_CHECKING:
    from millrace.ledger.rows import Claim

SEEDS = range(20)
EVENTS = 70
LABELS = ("a", "b", "c")


class RandomPlan:
    """A plan that keeps to the rules of pipelines, and to no others."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.stages: list[PlanStage] = []
        for number in range(random.randint(0, 2)):
            self._add(None, f"r{number}", [one.name for one in self.stages])
        for fanout in random.choice((("f",), ("f",), ("f", "g"))):
            before = [one.name for one in self.stages if one.fanout is None and one.kind != "fanout"]
            self.stages.append(stage(fanout, *self._needs(before, 1), kind="fanout", gate=self._gate(before)))
            for number in range(random.randint(1, 5)):
                self._record(fanout, f"{fanout}{number}", before)
        for number in range(random.randint(0, 3)):
            self._own(f"c{number}")
        self.plan = Plan("p", tuple(self.stages), random.choice((2, 4, 1000)))

    def _needs(self, names: list[str], most: int) -> list[str]:
        chosen = self.random.sample(names, min(len(names), self.random.randint(0, most)))
        return [name + self.random.choice(("", "", "?")) for name in chosen]

    def _gate(self, names: list[str]) -> Gate | None:
        routes = [one.name for one in self.stages if one.kind == "route" and one.name in names]
        if not routes or self.random.random() < 0.4:
            return None
        labels = tuple(self.random.sample(LABELS, self.random.randint(0, 2)))
        return Gate(self.random.choice(routes), labels, otherwise=not labels or self.random.random() < 0.2)

    def _add(self, fanout: str | None, name: str, names: list[str], *sure: str) -> None:
        needs = [need for need in self._needs(names, 2) if need.rstrip("?") not in sure]
        kind = self.random.choice(("stage", "stage", "route"))
        self.stages.append(stage(name, *sure, *needs, fanout=fanout, kind=kind, gate=self._gate(names)))

    def _record(self, fanout: str, name: str, before: list[str]) -> None:
        inside = [one.name for one in self.stages if one.fanout == fanout]
        self._add(fanout, name, inside + before, self.random.choice([fanout, *inside]))

    def _own(self, name: str) -> None:
        """A collect, or a stage after one, or one that only hangs on the run."""
        records = [one.name for one in self.stages if one.fanout is not None or one.kind == "fanout"]
        own = [one.name for one in self.stages if one.fanout is None and one.kind != "fanout"]
        edited = {one.name for one in self.stages if one.kind == "collect" or one.after_collect}
        if self.random.random() < 0.6:
            over = self.random.choice(records) + self.random.choice(("", "?"))
            self.stages.append(stage(name, over, *self._needs(own, 1), kind="collect"))
        elif own:
            needs = self._needs(own, 2) or [own[-1]]
            gate = self._gate(own)
            hangs = {need.rstrip("?") for need in needs} | ({gate.route} if gate else set())
            self.stages.append(stage(name, *needs, gate=gate, after_collect=bool(hangs & edited)))


class Drive:
    """A run and its oracle, under the same events."""

    def __init__(self, works: Works, random: Random) -> None:
        self.works, self.random = works, random
        self.moves = works.moves
        plan = RandomPlan(random).plan
        self.run_id = works.start(plan, inputs=json.dumps({"plan": plan.id}))
        self.oracle = Oracle(plan)
        self.held: list[Claim] = []
        self.lost: list[Claim] = []
        self.daemons = 1

    def event(self) -> None:
        acts: list[Any] = [
            self.claim, self.claim, self.finish, self.finish, self.finish, self.finish_many, self.finish_many,
            self.due, self.late, self.requeue, self.requeue, self.discard,
        ]  # fmt: skip
        if self.random.random() < 0.1:
            acts = [self.crash, self.cancel_run, self.resume, self.resume, self.cancel_one]
        self.random.choice(acts)()

    def claim(self) -> None:
        held = self.works.book.claim(self.random.randint(1, 6))
        for one in held:
            self.oracle.become((one.stage or "", one.record), "running")
        self.held += held

    def finish(self) -> None:
        if self.held:
            held = self.held.pop(self.random.randrange(len(self.held)))
            if held.stage in self.oracle.items and held.record is None:
                self.fan_out(held)
            else:
                self.end(held)

    def fan_out(self, held: Claim) -> None:
        """Emit, pause, end or break off."""
        fanout, key = held.stage or "", (held.stage or "", held.record)
        count = self.random.randint(0, 4)
        bad = [number for number in range(1, 100) if self.random.random() < 0.15]
        begun = len(self.oracle.items[fanout])
        go_on = self.works.emit(held, count, bad)
        if key not in self.oracle.asked and not self.oracle.cancelled:
            self.oracle.emit(fanout, [number not in bad for number in range(begun + 1, begun + count + 1)])
            backlog = [
                k for k, s in self.oracle.jobs.items() if self.oracle.stages[k[0]].fanout == fanout and s in OPEN
            ]
            assert go_on == (len(backlog) <= self.oracle.plan.bound)
        else:
            assert not go_on
        if not go_on:
            self.moves.park(held, "limit", due_at=None, duration_s=0.0).wait(LIMIT_S)
            if key not in self.oracle.asked:
                self.oracle.limited.add(key)
                self.oracle.jobs[key] = "waiting"
                self.oracle.look()
            else:
                self.oracle.become(key, "waiting")
        elif self.random.random() < 0.5:
            self.end(held)
        else:
            self.held.append(held)

    def end(self, held: Claim) -> None:
        key = (held.stage or "", held.record)
        move = self.random.choices(("succeed", "die", "retry", "release"), (12, 3, 2, 1))[0]
        if move == "succeed":
            label = self.label(held)
            self.works.succeed([held], json.dumps(label))
            self.oracle.become(key, "succeeded", label)
        elif move == "die":
            self.works.die(held)
            self.oracle.become(key, "dead")
        elif move == "retry":
            due_at = self.works.book.clock.ms + 1000
            self.moves.retry(held, ERROR, due_at=due_at, duration_s=0.0).wait(LIMIT_S)
            self.oracle.become(key, "waiting")
        else:
            self.moves.release(held, "test", duration_s=0.0).wait(LIMIT_S)
            self.oracle.become(key, "queued")
        self.lost.append(held)

    def label(self, held: Claim) -> str:
        of_route = self.oracle.stages[held.stage or ""].kind == "route"
        return self.random.choice(LABELS) if of_route else f"{held.stage}:{held.record}"

    def finish_many(self) -> None:
        """Successes of one batch, now and then with a lost one among them."""
        some = [one for one in self.held if one.stage not in self.oracle.items or one.record is not None]
        if not some:
            return
        self.held = [one for one in self.held if one not in some]
        labels = [self.label(one) for one in some]
        late = [self.random.choice(self.lost)] if self.lost and self.random.random() < 0.3 else []
        stand = hold(self.works.book.ledger)
        tickets = [
            self.moves.succeed(one, json.dumps(label), duration_s=0.0) for one, label in zip(some, labels, strict=True)
        ]
        tickets += [self.moves.succeed(one, '"late"', duration_s=0.0) for one in late]
        stand.go()
        self.oracle.batch = True
        for one, label, ticket in zip(some, labels, tickets, strict=False):
            assert ticket.wait(LIMIT_S) == "succeeded"
            self.oracle.become((one.stage or "", one.record), "succeeded", label)
        for key in list(self.oracle.limited):  # the backlog may have dipped within the batch, or not
            if self.works.jobs(self.run_id)[key] == "queued":
                self.oracle.become(key, "queued")
        self.oracle.batch = False
        self.oracle.look()
        for ticket in tickets[len(some) :]:
            with pytest.raises(LostClaim):
                ticket.wait(LIMIT_S)

    def late(self) -> None:
        if self.lost:
            with pytest.raises(LostClaim):
                self.works.die(self.random.choice(self.lost))

    def due(self) -> None:
        self.works.book.clock.advance(5)
        self.moves.promote_due().wait(LIMIT_S)
        for key, status in list(self.oracle.jobs.items()):
            if status == "waiting" and key not in self.oracle.limited:
                self.oracle.become(key, "queued")

    def crash(self) -> None:
        """The daemon dies, and another takes over."""
        self.daemons += 1
        self.moves.daemon = f"d{self.daemons}"
        while sum(self.moves.take_back(set(), limit=2).wait(LIMIT_S)):
            pass
        for one in self.held:
            self.oracle.become((one.stage or "", one.record), "queued")
        self.lost, self.held = self.lost + self.held, []

    def pick(self, *statuses: str) -> tuple[Key, str] | None:
        keys = [key for key, status in self.oracle.jobs.items() if status in statuses]
        if not keys:
            return None
        key = self.random.choice(sorted(keys, key=str))
        sql = "SELECT id FROM job WHERE run_id = ? AND stage = ? AND coalesce(record, '') = ?"
        return key, str(self.works.book.sql(sql, (self.run_id, key[0], key[1] or ""))[0][0])

    def requeue(self) -> None:
        if picked := self.pick("dead", "cancelled"):
            key, job_id = picked
            if self.oracle.may_requeue(key):
                self.moves.requeue(job_id, actor="ann").wait(LIMIT_S)
                self.oracle.requeue([key])
            else:
                with pytest.raises(WrongStatus):
                    self.moves.requeue(job_id, actor="ann").wait(LIMIT_S)

    def discard(self) -> None:
        if self.random.random() < 0.3 and (picked := self.pick("dead")):
            self.moves.discard(picked[1], actor="ann").wait(LIMIT_S)
            self.oracle.become(picked[0], "cancelled")
            self.oracle.discarded.add(picked[0])

    def cancel_one(self) -> None:
        if picked := self.pick(*OPEN):
            self.moves.cancel(picked[1], actor="ann").wait(LIMIT_S)
            self.oracle.cancel([picked[0]])

    def cancel_run(self) -> None:
        if self.oracle.status != "running":
            with pytest.raises(WrongStatus):
                self.moves.cancel_run(self.run_id, actor="ann").wait(LIMIT_S)
            return
        self.moves.cancel_run(self.run_id, actor="ann", limit=3).wait(LIMIT_S)
        while self.moves.cancel_some(self.run_id, limit=3).wait(LIMIT_S):
            pass
        self.oracle.cancelled = True
        self.oracle.cancel(list(self.oracle.jobs))

    def resume(self) -> None:
        if self.oracle.cancelled and self.oracle.status == "running":
            with pytest.raises(WrongStatus):
                self.moves.resume_run(self.run_id, actor="ann").wait(LIMIT_S)
            return
        jobs = [(key, status) for key, status in self.oracle.jobs.items() if key not in self.oracle.discarded]
        keys = [key for key, status in jobs if status in ("dead", "cancelled")]
        records = [key for key in keys if key[1] and key[1][0] != "@"]
        if records or self.oracle.cancelled:
            self.oracle.requeue(records)
        keys = [key for key in keys if key not in records and key[1] == self.oracle.place(key[0])]
        keys = [key for key in keys if self.oracle.jobs[key] in ("dead", "cancelled")]
        if keys:
            self.oracle.requeue(keys)
        limit = self.random.choice((1, 3, 200))  # in parts, the rest of them as a daemon does after a crash
        status, count = self.moves.resume_run(self.run_id, actor="ann", limit=limit).wait(LIMIT_S)
        while count == limit:
            assert self.works.run(self.run_id).status == "running"
            count = self.moves.resume_some(self.run_id, limit=limit).wait(LIMIT_S)
        assert self.works.run(self.run_id).status == self.oracle.status
        assert status in (self.oracle.status, "running")

    def compare(self) -> None:
        run = self.works.run(self.run_id)
        assert self.works.jobs(self.run_id) == self.oracle.jobs
        assert (run.status, run.edition) == (self.oracle.status, self.oracle.edition)
        assert self.works.sound()

    def finally_(self) -> None:
        """Bring all that is open to a good end, and look at what is there to be read."""
        while self.oracle.status == "running":
            self.due()
            self.claim()
            for held in self.held:
                label = self.label(held)
                self.works.succeed([held], json.dumps(label))
                self.oracle.become((held.stage or "", held.record), "succeeded", label)
            self.held = []
        self.compare()
        reads = self.works.reads
        for name, fanout in ((one.name, self.oracle.scope(one.name)) for one in self.oracle.plan.stages):
            if fanout is None or name == fanout:
                continue
            values = {int(r or 0): v for (s, r), v in self.oracle.values.items() if s == name}
            first = reads.results(self.run_id, name, 0, 2)
            rest = reads.results(self.run_id, name, first[-1][0] if first else 0, 10_000)
            assert [(n, json.loads(text)) for n, text in first + rest] == sorted(values.items())
            if (name, None) not in self.oracle.skips:
                skipped = len([1 for s, _ in self.oracle.skips if s == name])
                count = len(values)
                missing = len(self.oracle.items[fanout]) - count - skipped
                assert reads.results_head(self.run_id, name) == (count, missing, skipped)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_run_does_what_the_definitions_say(book: Book, seed: int) -> None:
    """After each event the jobs, the skips, the edition and the status are those of the oracle."""
    drive = Drive(Works(book), Random(seed))
    for _ in range(EVENTS):
        drive.event()
        drive.compare()
    drive.finally_()
