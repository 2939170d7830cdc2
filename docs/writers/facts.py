"""The page of events: from their classes."""
# ruff: noqa: INP001 - scripts beside the pages that they write

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import TYPE_CHECKING

from docs.writers.words import anchor, unwrapped
from millrace import events

if TYPE_CHECKING:
    from collections.abc import Iterator


def all_events() -> Iterator[str]:
    """Yield the page of events."""
    yield "# Events\n"
    yield "What the daemon tells. Each is a line of its log on stderr: JSON, or a readable form on a terminal, with"
    yield "`timestamp`, `level` and `event` before its fields. Fields that are null are left out. Lines below `info`"
    yield "are not written.\n"
    yield "| event | level | meaning |\n|---|---|---|"
    found = list(event_classes())
    for kind in found:
        meaning = unwrapped(inspect.getdoc(kind) or "").splitlines()[0]
        yield f"| [`{kind.EVENT}`](#{anchor(kind.EVENT)}) | {kind.LEVEL} | {meaning} |"
    yield ""
    for kind in found:
        yield f"## {kind.EVENT}\n\n{unwrapped(inspect.getdoc(kind) or '')}\n"
        yield "| field | type |\n|---|---|"
        for field in fields(kind):
            yield f"| `{field.name}` | {_python_type(str(field.type))} |"
        yield ""


def event_classes() -> Iterator[type[events.Event]]:
    """Yield the classes of events in the order in which they stand."""
    for value in vars(events).values():
        if isinstance(value, type) and issubclass(value, events.Event) and value is not events.Event:
            yield value


def _python_type(text: str) -> str:
    words = {"str": "text", "int": "whole number", "float": "number", "None": "null", "bool": "true or false"}
    return " or ".join(words.get(part.strip(), part.strip()) for part in text.split("|"))
