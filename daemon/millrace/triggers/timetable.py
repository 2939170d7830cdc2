"""The schedules of a site: those of config.toml and those beside tasks; and what of them cannot run, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from pydantic import ValidationError

from millrace.config.schedules import ScheduleSettings
from millrace.config.wording import path_words, problem_of
from millrace.errors import MillraceError, NotFound, did_you_mean
from millrace.queue.fire import Order
from millrace.triggers.placeholders import filled
from millrace.triggers.schedule import schedule_of, schedules_of, timing_text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from millrace.config.settings import Settings
    from millrace.define.registry import Registry
    from millrace.define.task import Task
    from millrace.triggers.schedule import Schedule


_SOME_TIME: Final = 1_767_225_600_000  # 2026-01-01: after it comes a due time to try a payload with


class Timetable(NamedTuple):
    """
    All schedules by key, and by key (or by name, where there is none) why one cannot run.

    One that cannot run is still kept: its times come, and each of them is missed for this reason.
    """

    schedules: Mapping[str, Schedule]
    problems: Mapping[str, str]

    def __bool__(self) -> bool:
        """Return whether there is any schedule."""
        return bool(self.schedules)

    def named(self, name: str) -> list[Schedule]:
        """
        Return the schedules of a name, one for each client, or the one of a key (`name@client`).

        Raises: NotFound with a suggestion.
        """
        found = [schedule for key, schedule in self.schedules.items() if name in (key, schedule.name)]
        if not found:
            reason = f" {self.problems[name]}" if name in self.problems else did_you_mean(name, self.names())
            raise NotFound(f'no schedule "{name}".{reason}')
        return found

    def names(self) -> list[str]:
        """Return the names of all schedules, and the keys of those that are for clients."""
        return sorted({*self.schedules, *(schedule.name for schedule in self.schedules.values())})


def timetable(settings: Settings, registry: Registry) -> Timetable:
    """Return the schedules of a site, each held against what can be run. Where both name one, config.toml holds."""
    beside, problems = _beside(settings, registry)
    schedules = {**beside, **schedules_of(settings)}
    checked: dict[tuple[str, ...], str] = {}
    for key, schedule in schedules.items():
        mark = schedule.kind, schedule.target, repr(schedule.payload), timing_text(schedule.timing), schedule.zone
        if mark not in checked:
            checked[mark] = _problem(registry, schedule)
        if checked[mark]:
            problems[key] = checked[mark]
    return Timetable(schedules, problems)


def order_of(schedule: Schedule, due_at: int) -> Order:
    """Return what a schedule wants run for a due time (epoch ms), with that time in its payload."""
    payload = filled(schedule.payload, due_at, schedule.zone)
    return Order(schedule.name, schedule.kind, schedule.target, payload, schedule.client)


def _problem(registry: Registry, schedule: Schedule) -> str:
    """Return why what a schedule wants cannot be run; "" if it can."""
    try:
        order = order_of(schedule, schedule.timing.next(_SOME_TIME) or _SOME_TIME)
        if order.kind == "task":
            registry.task(order.target).check_value(order.payload)
        else:
            registry.find_pipeline(order.target).check_inputs(payload=order.payload)
    except MillraceError as error:
        return " ".join(str(error).split("\n"))
    return ""


def _beside(settings: Settings, registry: Registry) -> tuple[dict[str, Schedule], dict[str, str]]:
    """Return the schedules that stand beside tasks and not in config.toml, and why some do not hold."""
    found, problems = {}, {}
    for name, task in registry.tasks.items():
        if task.schedule is None or name in settings.schedules:
            continue
        try:
            found[name] = _of_task(task, settings)
        except ValueError as error:
            problems[name] = f"{task.file}:{task.line}: schedule: {_words(name, error)}"
    return found, problems


def _of_task(task: Task[..., object], settings: Settings) -> Schedule:
    given = {"cron": task.schedule} if isinstance(task.schedule, str) else dict(task.schedule or {})
    wanted = ScheduleSettings(task=task.name, **given)
    return schedule_of(task.name, wanted, zone=wanted.timezone or settings.site.timezone)


def _words(name: str, error: ValueError) -> str:
    """Return what is wrong in the words that config.toml gets."""
    if not isinstance(error, ValidationError):
        return str(error)
    found = error.errors(include_url=False)[0]
    where = path_words([part for part in found["loc"] if part != "[key]"])
    problem = problem_of({**found, "loc": ("schedules", name, *found["loc"])})
    return f"{where}: {problem}" if where else problem
