"""
What a run should be, told in the plainest way: all stages and all records are looked at again after each thing that
happens, by the definitions, in memory. No word of it is shared with the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from millrace.ledger.plan import Plan, PlanStage

Key = tuple[str, str | None]  # stage, record
OPEN = ("waiting", "queued", "running")
UNSETTLED = object()


@dataclass
class Oracle:
    """One run."""

    plan: Plan
    jobs: dict[Key, str] = field(default_factory=dict)
    values: dict[Key, str] = field(default_factory=dict)  # what succeeded, and with what
    items: dict[str, dict[str, bool]] = field(default_factory=dict)  # by fan-out and number: good?
    skips: set[Key] = field(default_factory=set)
    asked: set[Key] = field(default_factory=set)  # running, and to end
    discarded: set[Key] = field(default_factory=set)
    limited: set[Key] = field(default_factory=set)  # fan-outs that wait for the backlog
    editions: dict[str, int] = field(default_factory=dict)
    edition: int = 1
    cancelled: bool = False
    status: str = "running"
    batch: bool = False  # whether the ledger may have done what is told one by one at once: nothing is woken meanwhile

    def __post_init__(self) -> None:
        self.stages = {stage.name: stage for stage in self.plan.stages}
        self.editions = dict.fromkeys(self.stages, 1)
        self.items = {stage.name: {} for stage in self.plan.stages if stage.kind == "fanout"}
        self.look()

    # What happens.

    def become(self, key: Key, status: str, value: str | None = None) -> None:
        """A job changes its status."""
        if key in self.asked and status in ("waiting", "queued"):
            status = "cancelled"
        self.jobs[key] = status
        if status != "running":
            self.asked.discard(key)
            self.limited.discard(key)
        if status == "succeeded":
            self.values[key] = value or ""
            if self.stages[key[0]].kind == "fanout" and key[1] is not None:
                self.items[key[0]][key[1]] = True
        self.look()

    def emit(self, fanout: str, goods: list[bool]) -> None:
        """A fan-out brings items."""
        for good in goods:
            number = str(len(self.items[fanout]) + 1)
            self.items[fanout][number] = good
            if not good:
                self.jobs[fanout, number] = "dead"
        self.look()

    def cancel(self, keys: list[Key]) -> None:
        """Jobs are to end."""
        for key in keys:
            if self.jobs[key] == "running":
                self.asked.add(key)
            elif self.jobs[key] in OPEN:
                self.jobs[key] = "cancelled"
                self.limited.discard(key)
        self.look()

    def may_requeue(self, key: Key) -> bool:
        """Whether a job may be put back."""
        stale = self.edited(self.stages[key[0]]) and key[1] != self.place(key[0])
        return (
            self.jobs[key] in ("dead", "cancelled") and not stale and not (self.cancelled and self.status == "running")
        )

    def requeue(self, keys: list[Key]) -> None:
        """Jobs are put back."""
        if self.status != "running":
            self.status, self.cancelled = "running", False
        after = {name for key in keys if key[1] and key[1][0] != "@" for name in self.after(key[0])}
        if any((name, self.place(name)) in self.jobs for name in after):
            present = [(one, self.place(one)) for one, edition in self.editions.items() if edition == self.edition]
            present = [key for key in present if self.edited(self.stages[key[0]])]
            self.edition += any(key in self.jobs or key in self.skips for key in present)
            for name in (one for one in after if self.editions[one] < self.edition):
                old = (name, self.place(name))
                if self.jobs.get(old) in ("waiting", "queued"):
                    self.jobs[old] = "cancelled"
                elif self.jobs.get(old) == "running":
                    self.asked.add(old)
                self.editions[name] = self.edition
                self._drop_dead(name)
        for key in keys:
            self.jobs[key] = "queued"
            self.discarded.discard(key)
        self.look()

    # What follows.

    def look(self) -> None:
        """Create all that is possible, and see whether that is the end."""
        while self._more():
            pass
        for key in [] if self.batch else list(self.limited):
            inside = [k for k, status in self.jobs.items() if self.stages[k[0]].fanout == key[0] and status in OPEN]
            if 2 * len(inside) < self.plan.bound and not self.cancelled:
                self.limited.discard(key)
                self.jobs[key] = "queued"
        if self.status == "running" and not any(status in OPEN for status in self.jobs.values()):
            self.status = self._outcome()

    def _more(self) -> bool:
        more = False
        for stage in self.plan.stages:
            for record in self._places(stage):
                key = (stage.name, record)
                if key in self.jobs or key in self.skips or (stage.fanout and self._skipped(stage.fanout)):
                    continue
                if self.edited(stage) and any(self.jobs[k] in OPEN for k in self.jobs if k[0] == stage.name):
                    continue  # of the edition before
                verdict = self._verdict(stage, record)
                if verdict and self.edited(stage):
                    self._drop_dead(stage.name)
                if verdict == "skip":
                    self._skip(stage, record)
                elif verdict == "create":
                    self.jobs[key] = "cancelled" if self.cancelled else "queued"
                more |= verdict != ""
        return more

    def _drop_dead(self, name: str) -> None:
        """Nobody may put back what died of a stage in an edition before its present one."""
        for key, status in self.jobs.items():
            if key[0] == name and key[1] != self.place(name) and status == "dead":
                self.jobs[key] = "cancelled"
                self.discarded.add(key)

    def _places(self, stage: PlanStage) -> list[str | None]:
        if stage.fanout is not None:
            return [number for number, good in self.items[stage.fanout].items() if good]
        over = self.cancelled or self.status != "running"
        return [] if over else [self.place(stage.name)]

    def _skip(self, stage: PlanStage, record: str | None) -> None:
        self.skips.add((stage.name, record))
        if stage.kind == "fanout":
            self.skips |= {(other.name, None) for other in self.plan.stages if other.fanout == stage.name}

    def _skipped(self, name: str) -> bool:
        return (name, self.place(name)) in self.skips

    def _verdict(self, stage: PlanStage, record: str | None) -> str:
        states = {name: self._state(stage, name, record) for name in stage.waits}
        if any(required and states[name] is None for name, required in stage.needs):
            return "skip"
        if stage.gate is not None:
            answer = states[stage.gate.route]
            others = {
                label for other in self.plan.stages if other.gate and other.gate.route == stage.gate.route
                for label in other.gate.labels
            }  # fmt: skip
            taken = answer in stage.gate.labels or (stage.gate.otherwise and answer not in others)
            if answer is None or (answer is not UNSETTLED and not taken):
                return "skip"
        if stage.kind == "fanout":  # what its records need of the run
            below = [name for other in self.plan.stages if other.fanout == stage.name for name in other.waits]
            outer = [name for name in below if self.scope(name) is None]
            states |= {name: self._state(stage, name, None) for name in outer}
        return "" if any(state is UNSETTLED for state in states.values()) else "create"

    def _state(self, stage: PlanStage, name: str, record: str | None) -> object:
        """Return the value that a stage was settled with, None if it was skipped, or UNSETTLED."""
        scope = self.scope(name)
        if self._skipped(name):
            return None
        if scope is None:
            return self.values.get((name, self.place(name)), UNSETTLED)
        if stage.fanout is None:
            return self._barrier(name, scope)
        if name == scope:
            return ""
        return None if (name, record) in self.skips else self.values.get((name, record), UNSETTLED)

    def _barrier(self, name: str, fanout: str) -> object:
        behind = {name, fanout}
        for _ in self.plan.stages:
            behind |= {wait for one in behind for wait in self.stages[one].waits if self.scope(wait) == fanout}
        still = any(key[0] in behind and status in OPEN for key, status in self.jobs.items())
        return UNSETTLED if still or self.jobs.get((fanout, None)) != "succeeded" else ""

    def _outcome(self) -> str:
        if self.cancelled:
            return "cancelled"
        lost = [key for key, status in self.jobs.items() if status in ("dead", "cancelled")]
        if any(self.stages[name].fanout is None and record == self.place(name) for name, record in lost):
            return "failed"
        return "partial" if any(self.scope(name) for name, _ in lost) else "succeeded"

    # Where things stand.

    def scope(self, name: str) -> str | None:
        """Return the fan-out to which a stage belongs, if any."""
        return name if name in self.items else self.stages[name].fanout

    def edited(self, stage: PlanStage) -> bool:
        """Whether a stage runs once in each edition."""
        return stage.kind == "collect" or stage.after_collect

    def place(self, name: str) -> str | None:
        """Return the record of the run's own job of a stage."""
        stage, edition = self.stages[name], self.editions[name]
        return f"@{edition}" if self.edited(stage) and edition > 1 else None

    def after(self, name: str) -> set[str]:
        """Return the stages that are made anew when a record of this one is put back."""
        reached = {name}
        for _ in self.plan.stages:
            reached |= {stage.name for stage in self.plan.stages if reached & set(stage.waits)}
        return {one for one in reached if self.edited(self.stages[one])}
