"""
The claims that a worker takes at once when jobs are short. Their orders lie in the tray of one child, which works them
off without a word in between; the worker sees them through one after another, each in a turn of its own. What the child
has not begun can be given to others at any time.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from millrace.ledger.blobs import is_reference
from millrace.runner.gather import gathered
from millrace.runner.protocol import encode
from millrace.runner.tray import IN_WORDS, LARGEST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from millrace.ledger.rows import Claim
    from millrace.runner.kit import Kit
    from millrace.runner.life import ChildProcess
    from millrace.runner.protocol import Message
    from millrace.runner.running import Running

STALL_S: Final = 0.05


class Batch:
    """
    One worker's claims. Not thread-safe.

    Args:
        ahead: Claims that may be handed over together with the first one, in order.
        running: The map of live attempts, which knows of a cancel.
        give_back: Takes those of them that no child has begun.
        stall_s: Seconds that they wait behind one job, > 0; then they go to others.
    """

    def __init__(
        self,
        ahead: Iterable[Claim],
        kit: Kit,
        running: Running,
        give_back: Callable[[list[Claim]], None] | None = None,
        *,
        stall_s: float = STALL_S,
    ) -> None:
        self._ahead = deque(ahead)
        self._kit = kit
        self._running = running
        self._give_back = give_back
        self.stall_s = stall_s
        self.handed = 0  # orders after that of this turn which the child was given
        self.bulky = False  # whether the order of this turn was too large for the tray
        self.child: ChildProcess | None = None  # the child that has been given the order of this turn

    def turns(self, first: Claim) -> Iterator[Claim]:
        """Return the claims that this worker must see through: the first, then each that a child was given with it."""
        yield first
        while self.handed:
            self.handed -= 1
            yield self._ahead.popleft()
        self._return(len(self._ahead))

    def hand_over(self, child: ChildProcess, order: bytes) -> None:
        """Give the child the order of this turn and what may follow it; the rest is for others."""
        more = [self._shared(held) for held in self._ahead]  # encoded first: the child is awake from then on
        self.bulky = len(order) > LARGEST or not child.tray.put(order)
        if self.bulky:
            child.tray.put(IN_WORDS)
            child.words.say_line(order)
        for other in more:
            if other is None or not child.tray.put(other):
                break
            self.handed += 1
        self._return(len(self._ahead) - self.handed)

    def recall(self, child: ChildProcess) -> bool:
        """Take back what the child has not begun, for others; return whether the job of this turn was among it."""
        count = child.tray.recall()
        own = count > self.handed
        self.handed -= min(count, self.handed)
        self._return(len(self._ahead) - self.handed)
        return own

    def _shared(self, held: Claim) -> bytes | None:
        """Return the order of a claim that may follow others, None for one that needs more than a place in the tray."""
        asked = self._running.expect(held, "process").asked
        if asked or held.daemon_deaths or is_reference(held.payload):  # it shall not begin, or may have to run alone
            return None
        kit = self._kit
        try:
            task = kit.registry.find(held.task)
            ready = gathered(held, task, kit.reads)
            data = encode(order_of(ready, kit.defaults.of(task.policy).timeout_s, kit.settings_of(held.client)))
        except Exception:  # noqa: BLE001 - whatever it is concerns this job alone: told in a turn of its own
            return None
        return data if len(data) <= LARGEST else None

    def _return(self, count: int) -> None:
        """Give back the last claims, which no child has."""
        if count and self._give_back is not None:
            rest = [self._ahead.pop() for _ in range(count)]
            self._give_back(rest[::-1])


def order_of(held: Claim, timeout_s: float | None, settings: dict[str, Any]) -> Message:
    """Return the `run` message: what is None or empty is left out, as this is the hot line."""
    order: Message = {
        "m": "run",
        "job": held.job_id,
        "task": held.task,
        "queue": held.queue,
        "attempt": held.attempt,
        "client": held.client,
        "corr": held.correlation_id,
        "payload": held.payload,
    }
    more = {"timeout": timeout_s, "run": held.run_id, "stage": held.stage, "record": held.record, "settings": settings}
    order.update((name, value) for name, value in more.items() if value)
    return order
