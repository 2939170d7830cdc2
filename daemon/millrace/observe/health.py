"""
Is the daemon well? One small check per concern, each with its figures, and in words why it is not content.

`warn` asks a person to look; `fail` means that work may be lost, refused or stuck.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from millrace.clock import MS, format_duration, rfc3339
from millrace.ledger.notes import BACKUP, BACKUP_FAILED, RESTORE_TEST, STORAGE
from millrace.observe.storage import FEW_FILES, storage_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from millrace.ledger.rows import QueueRow
    from millrace.observe.facts import Facts, ScheduleFacts

SLOW_S: Final = 10.0  # a part that made no progress for so long is looked at
FIRE_LATE_S: Final = 300.0  # a schedule that should have fired this long ago will not do so by itself
HUNG_S: Final = 30.0  # and for so long is taken for hung
LATE_BACKUPS: Final = 2  # a backup older than so many of its intervals is too old
MANY_STUCK: Final = 3  # more stuck threads than these, and the daemon is not fit for work
_WORST: Final = ("pass", "warn", "fail")


class Verdict(NamedTuple):
    """What a check found."""

    status: str
    figures: dict[str, Any]
    why: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the check as `/health` gives it."""
        return {"status": self.status, **self.figures, **({"why": self.why} if self.why else {})}


class Health:
    """The checks of one daemon. They look at the ledger: call them from a thread that may wait."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts
        vital: dict[str, Callable[[], Verdict]] = {
            "ledger": self._ledger,
            "storage": self._storage,
            "progress": self._progress,
            "pools": self._pools,
        }
        self._vital = vital
        self._all = {
            **vital,
            "conservation": self._conservation,
            "queues": self._queues,
            "jobs": self._jobs,
            "effects": self._effects,
            "schedules": self._schedules,
            "backup": self._backup,
        }

    def report(self) -> dict[str, Any]:
        """Return the status, which is that of the worst check, and `checks` with their figures and reasons."""
        checks = {name: _guarded(check) for name, check in self._all.items()}
        worst = max((check.status for check in checks.values()), key=_WORST.index)
        return {"status": worst, "checks": {name: check.as_json() for name, check in checks.items()}}

    def unfit(self) -> str | None:
        """Return why the daemon should get no work now; None if it is fit."""
        if not self._facts.accepting():
            return "the daemon starts or stops"
        for name, check in self._vital.items():
            verdict = _guarded(check)
            if verdict.status == "fail":
                return f"{name}: {verdict.why}"
        return None

    def _ledger(self) -> Verdict:
        facts = self._facts
        began = facts.clock.monotonic()
        counts = facts.reads.status_counts()
        figures: dict[str, Any] = {
            "writer_alive": facts.writer_alive(),
            "read_s": round(facts.clock.monotonic() - began, 4),
            "jobs": counts,
        }
        figures["unrecorded"], reason = facts.refusals()
        if not figures["writer_alive"]:
            return Verdict("fail", figures, "the ledger's writer has ended: nothing can be accepted or finished")
        if figures["unrecorded"]:
            why = f"the ledger does not take what became of {figures['unrecorded']} attempts that have ended: {reason}"
            return Verdict("warn", figures, why)
        return Verdict("pass", figures)

    def _storage(self) -> Verdict:
        storage = storage_of(self._facts.ledger)
        level = self._facts.level()
        figures = {
            "database_bytes": storage.database_bytes,
            "wal_bytes": storage.wal_bytes,
            "disk_free_bytes": storage.disk_free_bytes,
            "disk_kept_bytes": level.kept if level else None,
            "files_free": storage.files_free,
            **self._surveyed(),
        }
        left = f"{storage.disk_free_bytes / 10**6:,.0f} MB are left on the disk of {self._facts.ledger.parent}"
        if level is not None and level.refusal is not None:
            return Verdict("fail", figures, f"{left}: no work is taken in")
        if storage.files_free is not None and storage.files_free < FEW_FILES:
            why = f"only {storage.files_free} files can still be made on the disk of {self._facts.ledger.parent}"
            if not storage.files_free:
                return Verdict(
                    "fail", figures, f"{why}: jobs that need a new process wait. Delete files, many small ones"
                )
            return Verdict("warn", figures, why)
        if storage.low:
            return Verdict("warn", figures, left)
        if missing := figures.get("missing_files"):
            return Verdict("warn", figures, f"{missing} files of large values are gone: run `millrace doctor`")
        return Verdict("pass", figures)

    def _progress(self) -> Verdict:
        ages = dict(self._facts.ages())
        failing = dict(self._facts.failing())
        figures: dict[str, Any] = {f"{name}_age_s": round(age, 1) for name, age in ages.items()}
        figures["failing"] = failing
        name = max(ages, key=lambda part: ages[part], default=None)
        if name is not None and ages[name] >= SLOW_S:
            why = f"{name} has made no progress for {format_duration(ages[name])}"
            return Verdict("fail" if ages[name] >= HUNG_S else "warn", figures, why)
        if failing:
            return Verdict("warn", figures, "; ".join(f"{part} fails: {why}" for part, why in failing.items()))
        return Verdict("pass", figures)

    def _pools(self) -> Verdict:
        pools = self._facts.pools()
        figures = {
            pool.queue: {
                "kind": pool.kind,
                "limit": pool.limit,
                "max_workers": pool.max_workers,
                "busy": pool.busy,
                "stuck": pool.stuck,
                "threads_alive": pool.threads_alive,
            }
            for pool in pools
        }
        stuck = sum(pool.stuck for pool in pools)
        gone = [pool.queue for pool in pools if pool.threads_alive < pool.max_workers]
        if stuck:
            why = f"{stuck} jobs in threads ignore their deadline: see `millrace jobs list --status running`"
            return Verdict("fail" if stuck > MANY_STUCK else "warn", {"queues": figures}, why)
        if gone:
            return Verdict(
                "warn", {"queues": figures}, f"worker threads have ended in {', '.join(gone)}; they are replaced"
            )
        return Verdict("pass", {"queues": figures})

    def _conservation(self) -> Verdict:
        figures = self._facts.conservation.figures()
        if figures["difference"]:
            why = f"{figures['difference']} accepted jobs are not accounted for: run `millrace doctor`"
            return Verdict("fail", figures, why)
        if figures["trouble"]:
            return Verdict("warn", figures, f"the rows could not be compared with the counters: {figures['trouble']}")
        lost = figures["orphans"]["count"] - figures["orphans"].get("mended", 0)
        if lost > 0:
            return Verdict("warn", figures, f"{lost} jobs or runs do not go on by themselves: run `millrace doctor`")
        return Verdict("pass", figures)

    def _queues(self) -> Verdict:
        now_ms = self._facts.clock.now_ms()
        rows = self._facts.reads.queues()
        paused = [row.name for row in rows if row.paused]
        late = [name for row in rows if (name := self._late(row, now_ms))]
        figures = {"paused": paused, "depth": {row.name: row.queued for row in rows}, "late": late}
        if late:
            return Verdict("warn", figures, f"jobs wait longer than max_wait in {', '.join(late)}")
        return Verdict("pass", figures, f"paused: {', '.join(paused)}" if paused else None)

    def _late(self, row: QueueRow, now_ms: int) -> str | None:
        settings = self._facts.settings.queues.get(row.name)
        bound = settings.max_wait if settings else None
        if bound is None or row.paused or row.oldest_queued_at is None:
            return None
        return row.name if now_ms - row.oldest_queued_at > bound * MS else None

    def _schedules(self) -> Verdict:
        return _schedules_verdict(self._facts.schedules())

    def _effects(self) -> Verdict:
        counts = self._facts.reads.effect_counts()
        if counts.for_a_person:
            why = f"{counts.for_a_person} effects are in doubt and wait for a person: millrace effects list --doubt"
            return Verdict("warn", counts._asdict(), why)
        return Verdict("pass", counts._asdict())

    def _jobs(self) -> Verdict:
        registry = self._facts.registry
        problems = [str(problem) for problem in registry.problems]
        figures = {"tasks": len(registry.tasks), "problems": problems}
        if problems:
            return Verdict(
                "warn", figures, f"{len(problems)} of the site's tasks or job files did not load: {problems[0]}"
            )
        return Verdict("pass", figures)

    def _backup(self) -> Verdict:
        every_s = self._facts.settings.backup.every
        good, failed, tested = (self._facts.reads.noted(name) for name in (BACKUP, BACKUP_FAILED, RESTORE_TEST))
        age_s = None if good is None else round((self._facts.clock.now_ms() - good["at"]) / MS)
        figures = {
            "every_s": every_s,
            "age_s": age_s,
            "file": good and good["file"],
            "bytes": good and good["bytes"],
            "tested": None if tested is None else not tested["problems"],
        }
        if every_s is None:
            return Verdict("pass", figures)
        if tested is not None and tested["problems"]:
            return Verdict("warn", figures, f"a backup could not be relied on: {tested['problems'][0]}")
        if failed is not None and (good is None or failed["at"] > good["at"]):
            return Verdict("warn", figures, f"the last backup failed: {failed['reason']}")
        if good is not None and good.get("flaws"):
            flaws = "; ".join(good["flaws"])
            return Verdict("warn", figures, f"the last backup has a flaw: {flaws}: run `millrace doctor`")
        if age_s is not None and age_s > LATE_BACKUPS * every_s:
            return Verdict("warn", figures, f"the last good backup is {format_duration(age_s)} old")
        return Verdict("pass", figures)

    def _surveyed(self) -> dict[str, Any]:
        """Return what was measured last and when, without its history."""
        found = self._facts.reads.noted(STORAGE) or {}
        names = ("tables", "clients", "growth_per_day", "days_until_full", "missing_files")
        times = {"measured_at": found.get("at"), "tables_at": found.get("tables_at")}
        figures = {name: found[name] for name in names if name in found}
        return figures | {name: rfc3339(at) for name, at in times.items() if at is not None}


def _schedules_verdict(found: ScheduleFacts) -> Verdict:
    figures = {"schedules": found.count, "lag_s": round(found.lag_s, 1), "problems": dict(found.problems)}
    if found.lag_s >= HUNG_S:
        why = f"a schedule should have fired {format_duration(round(found.lag_s))} ago"
        return Verdict("fail" if found.lag_s >= FIRE_LATE_S else "warn", figures, why)
    if found.problems:
        key, problem = next(iter(found.problems.items()))
        return Verdict("warn", figures, f"{len(found.problems)} of the schedules cannot run: {key}: {problem}")
    return Verdict("pass", figures)


def _guarded(check: Callable[[], Verdict]) -> Verdict:
    """A check that cannot even look has found something."""
    try:
        return check()
    except Exception as error:  # noqa: BLE001 - the report is how it is told
        return Verdict("fail", {}, f"could not be looked at: {type(error).__name__}: {error}")
