"""The page of settings: from the settings model, its docstrings, and the comments of config.toml."""
# ruff: noqa: INP001 - scripts beside the pages that they write

from __future__ import annotations

import inspect
import re
import types
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, Union, cast, get_args, get_origin

from pydantic import BaseModel, BeforeValidator

from docs.writers.words import sentence, unwrapped
from millrace.cli.toml import toml
from millrace.clock import format_duration
from millrace.config.kinds import Backoff, Name, Number, Package, Value, Whole, Zone
from millrace.config.rules import RuleSettings
from millrace.config.schedules import ScheduleSettings
from millrace.config.settings import ClientSettings, QueueSettings, Settings
from millrace.config.sizes import format_size

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parents[2]


SECTIONS: Final = {
    "site": "",
    "web": "",
    "database": "",
    "defaults": "",
    "queues": "`default` is always there. A task or a submission that names a queue which is not here is refused.",
    "clients": "`default` is always there. A submission for a client that is not here is refused.",
    "settings": "`[settings.*]`: tables of your own, for values that jobs read: text, numbers, true and false, lists, "
    "tables. In a job `settings` is this mapping, overlaid by the client's own.",
    "rules": "Under `when`, each key is a fact and its value what that fact must be: equal to a text, a number, `true` "
    'or `false`; compared, as `">=60"`, `">60"`, `"<=60"`, `"<60"`; within `"10..20"`, both ends included; `"!=x"`, '
    'told and not x; `""`, empty; `"!="`, told; a list, any of its members. Numbers compare with numbers, dates '
    'such as `"<2026-01-31"` with dates. A job asks with `rules("NAME").first(facts)` or `.total(facts)`, see '
    "[Decide by rules](../how-to/decide-by-rules.md).",
    "storage": "HTTP then answers 507, a command ends with 75; try again later. No restart is needed.",
    "retention": "The daemon looks every ten minutes; `millrace prune --dry-run` shows what would go.",
    "backup": "See [Back up and restore](../how-to/back-up-and-restore.md).",
    "schedules": "`cron` means what Debian's cron means: five fields, 0 and 7 are Sunday, names, `L` for the last day "
    "of a month, `1#2` for the second Monday, `5L` for the last Friday; or `@hourly`, `@daily`, "
    "`@weekly`, `@monthly`, `@yearly`. A time of day that a clock change leaves out runs right after the "
    "gap, one that comes twice runs once; a line whose minute or hour begins with `*` follows the clock "
    "as it goes, so hourly stays hourly. `every` is counted in real time from Monday 2001-01-01 00:00 in "
    "the zone. What is up to a minute late was delayed and not missed: it runs under each `catch_up`. A "
    "schedule that was changed makes up for nothing from before the change.",
}
# What config.toml, whose comments are taken, does not show.
MORE: Final = {
    "retention.cancelled": "jobs by themselves that were cancelled",
    "site.timezone": "of schedules that name none, and whose client has none",
    "site.state": "the folder that the daemon writes to, from the folder of config.toml on",
    "web.listen": "host and port; for others than this machine, put a proxy with TLS in front",
    "database.synchronous": "what a commit withstands, see above",
    "defaults.retries": "attempts after the first failure, before the job is a dead letter",
    "queues.max_wait": "how long a job should be queued at most; `/health` warns beyond it",
    "queues.max_workers": "how far the pool may grow with the backlog; as many as `workers`, unless it is given",
    "queues.kind": "`process`: can be killed, uses all cores; `thread`: many short calls to other systems",
    "queues.workers": "jobs that run at once, without a backlog",
    "clients.name": "for people; nothing reads it yet",
    "clients.timezone": "of its schedules, in place of `site.timezone`",
    "clients.weight": "its share of a busy queue: 2 is twice the share of 1",
    "clients.settings": "overlays `[settings.*]`, table by table",
    "schedules.pipeline": "what to run, in place of `task`",
    "schedules.inputs": "what the pipeline is given",
    "schedules.payload": "what the task is given",
    "schedules.every": "a pace, in place of `cron`",
    "schedules.at": "one time, in place of `cron`: a wall time of the zone, or a moment with an offset",
    "schedules.timezone": "of this schedule; without it that of the client, or the site's",
    "schedules.catch_up": "what to make up for after a time without the daemon: nothing, the latest, or all",
    "schedules.catch_up_window": "how far back `catch_up` reaches; a day covers a night's outage, and what is older is "
    "seldom wanted unasked",
    "schedules.overlap": "while the run before is not over: do not run, wait for it, or run beside it",
    "schedules.done_by": "until when the work should be done: a time of day, or a duration after the due time",
    "schedules.jitter": "each run is put off by a part of this, the same for a due time in every daemon",
    "schedules.clients": 'for whom it runs, each on its own; `["*"]` is every client of this file',
    "schedules.enabled": "`false` stops it; what was due is noted as skipped",
    "rules.when": "what must hold, all of it; without it the row always matches",
    "rules.then": "what the row gives: text, a number, `true` or `false`, a list, a table",
    "rules.add": "the number that the row adds; a table has either `then` or `add` in all of its rows",
    "site.name": "for people; nothing reads it yet",
}


def settings() -> Iterator[str]:
    """Yield the page of settings."""
    yield "# Settings\n"
    yield "The keys of `config.toml`. All are optional; an unknown key is refused, with a suggestion. Each can be set"
    yield "by a variable of the environment, which wins over the file: `MILLRACE_`, then the path with `__` between its"
    yield "parts, as in `MILLRACE_QUEUES__IO__WORKERS=8`. `$STATE_DIRECTORY`, which systemd sets, wins over"
    yield "`site.state`.\n"
    yield 'Durations: `"90s"`, `"5m"`, `"1h30m"`, `"2d"`, `"250ms"`, or ISO 8601. Sizes: `"500kB"`, `"10MB"`, `"1GiB"`.'
    yield "The file is looked for at `-c`, `$MILLRACE_CONFIG`, `./config.toml`, `/etc/millrace/config.toml`.\n"
    yield "A change holds from the next start of the daemon on.\n"
    comments = dict(_comments((ROOT / "config.toml").read_text()))
    for section, model, more in _sections():
        name = f"[{section}.NAME]" if section in ("queues", "clients", "schedules") else f"[{section}]"
        name = f"[[{section}.NAME]]" if section == "rules" else name
        yield f"## {name}\n"
        about = "" if model is None else _for_the_file(unwrapped(inspect.getdoc(model) or "").partition(": ")[2])
        yield sentence(f"{about}\n\n{more}") + "\n"
        if model is None:
            continue
        yield "| key | type | default | bounds | meaning |\n|---|---|---|---|---|"
        for key in model.model_fields:
            yield _setting(model, section, key, comments)
        yield ""


def _for_the_file(text: str) -> str:
    """Leave out what a docstring says of the values that code holds: the file has durations and sizes as text."""
    return re.sub(r",? in (?:bytes|seconds)\b| All in seconds;[^.]*\.", "", text)


_MODELS: Final[dict[str, type[BaseModel]]] = {
    "queues": QueueSettings,
    "clients": ClientSettings,
    "rules": RuleSettings,
    "schedules": ScheduleSettings,
}


def _sections() -> Iterator[tuple[str, type[BaseModel] | None, str]]:
    for section, field in Settings.model_fields.items():
        model: Any = _MODELS.get(section, field.annotation)
        yield section, model if isinstance(model, type) and issubclass(model, BaseModel) else None, SECTIONS[section]


def _setting(model: type[BaseModel], section: str, key: str, comments: dict[str, str]) -> str:
    field = model.model_fields[key]
    # The hints as written: pydantic takes an Annotated apart, and only when it is the outermost.
    hint = inspect.get_annotations(model, eval_str=True)[key]
    kind, bounds = _kind(hint)
    meaning = MORE.get(f"{section}.{key}") or comments.get(f"{section}.{key}")
    if not meaning:
        raise ValueError(f"{section}.{key} has no meaning: write a comment in config.toml, or a line in MORE")
    default = field.get_default(call_default_factory=True)
    shown = "" if default is None else f"`{_default(section, key, default)}`"
    return f"| `{key}` | {kind} | {shown} | {bounds} | {meaning} |".replace("  ", " ")


def _default(section: str, key: str, value: Any) -> str:
    if value == {}:
        return "{}"
    return toml({section: {key: value}}).splitlines()[1].partition(" = ")[2]


def _kind(hint: Any) -> tuple[str, str]:
    """Return the words for a type, and for its bounds."""
    known = {Whole: "whole number", Name: "name", Package: "name of a folder", Zone: "time zone", Backoff: "range"}
    known |= {Number: "number", Value: "any value"}
    for kind, words in known.items():
        if hint == kind:
            return words, ""
    origin, parts = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _kind(next(part for part in parts if part is not type(None)))
    if origin is Literal:
        return " or ".join(f"`{part}`" for part in parts), ""
    if origin is Annotated:
        return _annotated(parts)
    return {
        str: "text",
        bool: "true or false",
        tuple: "list of text",
        int: "whole number",
        float: "number",
        dict: "table",
    }.get(origin or hint, str(hint)), ""


def _annotated(parts: tuple[Any, ...]) -> tuple[str, str]:
    words, _ = _kind(parts[0])
    whole = isinstance(parts[0], type) and parts[0] is int and any(isinstance(part, BeforeValidator) for part in parts)
    words = "whole number" if whole else words
    bounds: list[str] = []
    for part in parts[1:]:
        if isinstance(part, BeforeValidator):
            kept = inspect.getclosurevars(cast("Any", part.func)).nonlocals
            if "at_least_s" in kept:
                words = "duration"
                low = format_duration(kept["at_least_s"]) if kept["at_least_s"] else "0s"
                bounds.append(f"{low} to {format_duration(kept['at_most_s'])}")
            elif "at_least" in kept:
                words = "size"
                bounds.append(f"{format_size(kept['at_least'])} to {format_size(kept['at_most'])}")
        for item in getattr(part, "metadata", ()):
            bounds += [
                f"{sign} {getattr(item, name):,}"
                for name, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
                if getattr(item, name, None) is not None
            ]
            if getattr(item, "max_length", None):
                bounds.append(f"at most {item.max_length} characters")
    return words, ", ".join(bounds)


def _comments(text: str) -> Iterator[tuple[str, str]]:
    """Yield what config.toml says behind its keys, also behind those that are commented out."""
    section = ""
    for line in text.splitlines():
        bare = line.removeprefix("# ").strip()
        if header := re.match(r"\[([a-z]+)", bare):
            section = header[1]
        elif found := re.match(r"([a-z_]+) = .*?\s#\s+(.+)$", bare):
            yield f"{section}.{found[1]}", found[2]
