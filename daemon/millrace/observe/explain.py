"""
What an explanation is: few sentences, each with its time and a code that scripts hold on to, then what would change it.
The words are made in the modules beside this one, from facts alone; `explain_look` gathers them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from millrace.clock import MS, format_duration, rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from millrace.config.settings import QueueSettings
    from millrace.observe.explain_disk import Disk


class Because(NamedTuple):
    """One reason: when it came to be (UTC epoch ms; None: it is so now), its code, and the sentence."""

    at: int | None
    code: str
    text: str

    def as_json(self) -> dict[str, str | None]:
        """Return the reason as `explain --json` gives it."""
        return {"at": rfc3339(self.at), "code": self.code, "text": self.text}


class Change(NamedTuple):
    """One thing that would change it, and the command that does it, if it is a command."""

    text: str
    command: str | None = None

    def as_json(self) -> dict[str, str | None]:
        """Return the cure as `explain --json` gives it."""
        return self._asdict()


class Around(NamedTuple):
    """
    What an explanation must know beside the ledger.

    Args:
        served: Whether a daemon runs.
        queues: The queues of the site; None if its settings cannot be read.
        knows: Tells whether the site has a task of a name; None if its job files cannot be read.
        disk: The ledger's disk; None if nothing is known of it.
    """

    now_ms: int
    served: bool
    queues: Mapping[str, QueueSettings] | None
    knows: Callable[[str], bool] | None = None
    disk: Disk | None = None

    @property
    def full(self) -> Disk | None:
        """The disk, if it is full."""
        return self.disk if self.disk is not None and self.disk.full else None


@dataclass(frozen=True)
class Explanation:
    """
    Why something is as it is.

    Args:
        kind: job, run, queue or schedule.
        id: Its id or its name.
        name: What a person calls it: the task, the pipeline, the queue.
        status: Where it stands.
        code: The reason that decides, one of those in `because`.
        facts: The figures that the sentences were made of.
    """

    kind: str
    id: str
    name: str
    status: str
    code: str
    because: list[Because]
    change: list[Change]
    facts: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return the explanation as `explain --json` and the API give it."""
        return {
            "kind": self.kind,
            "id": self.id,
            "name": self.name,
            "status": self.status,
            "code": self.code,
            "because": [one.as_json() for one in self.because],
            "change": [one.as_json() for one in self.change],
            "facts": self.facts,
        }


NO_DAEMON = Because(None, "no_daemon", "No daemon runs, so that nothing starts before one does.")
START = Change("Start the daemon:", "millrace serve")


def many(count: int, one: str, several: str = "") -> str:
    """Return "1 job", "2 jobs", "9,240 jobs"."""
    return f"{count:,} {one if count == 1 else several or one + 's'}"


def clock_time(ms: int | None) -> str:
    """Return a moment to the second, in UTC; "an unknown time" for None."""
    text = rfc3339(ms)
    return "an unknown time" if text is None else text[:19] + "Z"


def lasted(ms: int) -> str:
    """Return how long something took, from milliseconds: to the second once it is more than that."""
    return format_duration(ms / MS if abs(ms) < MS else round(ms / MS))
