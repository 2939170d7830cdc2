"""
An event as the text of its line. A busy daemon writes thousands a second, so the parts of a line that are the same for
all events of a class are made once; what is left for each is to write its values.
"""

from __future__ import annotations

import json
from dataclasses import fields
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from math import isfinite
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import structlog

from millrace.clock import MS, rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable

    from millrace.events import Event

RANKS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}

# ASCII only: a line separator of Unicode would be a line break to many readers.
_encode: Final = json.JSONEncoder(default=repr).encode


def _number(value: float) -> str:
    return repr(value) if isfinite(value) else _encode(value)


_WRITERS: Final[dict[type, Callable[[Any], str]]] = {str: encode_basestring_ascii, int: repr, float: _number}


class _Form:
    """What the lines of one class of events have in common."""

    def __init__(self, kind: type[Event]) -> None:
        self.names = tuple(fact.name for fact in fields(kind))
        self._look = attrgetter("EVENT", *self.names)  # for a single name alone it would return no tuple
        # A fact of such a name takes the place of a fixed part, and the line has to be put together with care.
        self.plain = not {"timestamp", "level", "event"} & {*self.names}
        self.head = f'", "level": {_encode(kind.LEVEL)}, "event": {_encode(kind.EVENT)}'
        self.leads = tuple(f", {_encode(name)}: " for name in self.names)

    def values(self, event: Event) -> tuple[Any, ...]:
        return tuple(self._look(event)[1:])


_FORMS: Final[dict[type, _Form]] = {}


def _form(kind: type[Event]) -> _Form:
    found = _FORMS.get(kind)
    if found is None:
        found = _FORMS[kind] = _Form(kind)
    return found


def facts(event: Event, at_ms: int) -> dict[str, Any]:
    """Return an event as the fields of its line: time, level, name, then its facts without those that are None."""
    form = _form(type(event))
    line: dict[str, Any] = {"timestamp": _stamp(at_ms), "level": event.LEVEL, "event": event.EVENT}
    line |= {name: value for name, value in zip(form.names, form.values(event), strict=True) if value is not None}
    if line["level"] not in RANKS:  # a job may call its level what it likes
        line["level"] = event.LEVEL
    return line


def as_json(event: Event, at_ms: int) -> str:
    """Return an event as one JSON object: what an encoder would make of `facts`."""
    form = _form(type(event))
    if not form.plain:
        return _encode(facts(event, at_ms))
    text = f'{{"timestamp": "{_stamp(at_ms)}{form.head}'
    for lead, value in zip(form.leads, form.values(event), strict=True):
        if value is not None:
            text += lead + _WRITERS.get(type(value), _encode)(value)
    return text + "}"


def console(*, colors: bool) -> Callable[[Event, int], str]:
    """Return what makes an event a line that people read."""
    renderer = structlog.dev.ConsoleRenderer(colors=colors, sort_keys=False, pad_event_to=16)

    def render(event: Event, at_ms: int) -> str:
        tame = {key: _tame(value) for key, value in facts(event, at_ms).items()}
        return str(renderer(None, "", tame))

    return render


def _stamp(at_ms: int) -> str:
    return f"{_second(at_ms // MS)}{at_ms % MS:03d}Z"


@lru_cache(maxsize=2)
def _second(second: int) -> str:
    """A busy daemon writes thousands of lines in the same second."""
    return str(rfc3339(second * MS)).removesuffix("000Z")


def _tame(value: Any) -> Any:
    """Show control characters instead of sending them: a job's output must not steer the reader's terminal."""
    return value if not isinstance(value, str) or value.isprintable() else value.encode("unicode_escape").decode()
