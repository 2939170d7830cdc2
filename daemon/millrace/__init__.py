"""
Millrace: the automation daemon of a small team. What a job author needs is imported from here, and nothing else is.

The names are loaded when they are first used (PEP 562): `millrace --help` and the reading commands import this module
and must not pay for pydantic to learn a version number.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from millrace.define.pipeline import Pipeline
    from millrace.define.results import Results
    from millrace.define.rules import rules
    from millrace.define.task import task
    from millrace.errors import GiveUp, RetryLater
    from millrace.runner.context import context, log, settings, step
    from millrace.runner.once import Done, once
    from millrace.runner.track import track

__version__: Final = "0.1.0"

__all__ = [
    "Done",
    "GiveUp",
    "Pipeline",
    "Results",
    "RetryLater",
    "__version__",
    "context",
    "log",
    "once",
    "rules",
    "settings",
    "step",
    "task",
    "track",
]

_HOMES: Final = {
    "Done": "millrace.runner.once",
    "GiveUp": "millrace.errors",
    "Pipeline": "millrace.define.pipeline",
    "Results": "millrace.define.results",
    "RetryLater": "millrace.errors",
    "context": "millrace.runner.context",
    "log": "millrace.runner.context",
    "once": "millrace.runner.once",
    "rules": "millrace.define.rules",
    "settings": "millrace.runner.context",
    "step": "millrace.runner.context",
    "task": "millrace.define.task",
    "track": "millrace.runner.track",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f'module "millrace" has no attribute "{name}"', name=name, obj=import_module(__name__))
    value = getattr(import_module(home), name)
    globals()[name] = value  # the next use finds it without asking
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
