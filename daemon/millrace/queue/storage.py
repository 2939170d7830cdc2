"""
The ledger as a Huey storage. Huey's own storages delete a message before they run it and lose it with the process;
here `dequeue` claims, and only the outcome ends the claim. A message names nothing but the claim, which waits in a map
of the pool, so there is nothing to serialise and nothing to unpickle.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, NoReturn

from huey.constants import EmptyData
from huey.registry import Message
from huey.serializer import Serializer
from huey.storage import BaseStorage

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from millrace.ledger.rows import Claim
    from millrace.queue.intake import Intake

DEQUEUE_WAIT_S: Final = 0.5  # Huey looks at its stop flag between two of these


class ClaimSerializer(Serializer):
    """Turns a claim's key into the message of the one registered task, and a message into JSON."""

    def __init__(self, task_name: str) -> None:
        super().__init__()
        self._task_name = task_name

    def serialize(self, data: Message) -> bytes:
        """Return what `LedgerStorage.enqueue` reads: the task's name and payload as JSON."""
        return json.dumps({"args": list(data.args), "kwargs": data.kwargs}, allow_nan=False).encode()

    def deserialize(self, data: bytes) -> Message:
        """Return the message that runs the claim of a key."""
        key = data.decode()
        return Message(key, self._task_name, args=(key,), kwargs={})


class LedgerStorage(BaseStorage):
    """
    What Huey needs of a storage, over the claims of one queue.

    Args:
        name: The queue's name.
        intake: Where claims come from.
        submit: The door in: called with a task's name, a payload and a priority.
        depth: Returns how many jobs of the queue are queued.
    """

    blocking = True

    def __init__(
        self, name: str, *, intake: Intake, submit: Callable[[str, Any, int], None], depth: Callable[[], int]
    ) -> None:
        super().__init__(name)
        self.claims: dict[str, Claim] = {}
        self._intake = intake
        self._submit = submit
        self._depth = depth

    def dequeue(self) -> bytes | None:
        """Claim the next job; None if there is none within half a second."""
        held = self._intake.take(DEQUEUE_WAIT_S)
        if held is None:
            return None
        key = f"{held.job_id}:{held.attempt}"
        self.claims[key] = held
        return key.encode()

    def enqueue(self, data: bytes, priority: float | None = None) -> None:
        """Submit the job that a message of the registered task names: `huey.enqueue` is a door into the ledger."""
        message = json.loads(data)
        task, payload = message["args"] if len(message["args"]) > 1 else (message["args"][0], message["kwargs"])
        self._submit(task, payload, int(priority or 0))

    def queue_size(self) -> int:
        """Return how many jobs are queued."""
        return self._depth()

    def enqueued_items(self, limit: int | None = None) -> list[bytes]:  # noqa: ARG002 - the signature is Huey's
        """Return nothing: the ledger shows its jobs itself."""
        return []

    def read_schedule(self, ts: datetime) -> list[bytes]:  # noqa: ARG002
        """Return nothing: jobs that are due later wait in the ledger."""
        return []

    def schedule_size(self) -> int:
        """Return 0, see `read_schedule`."""
        return 0

    def scheduled_items(self, limit: int | None = None) -> list[bytes]:  # noqa: ARG002
        """Return nothing, see `read_schedule`."""
        return []

    def peek_many(self, keys: list[str]) -> dict[str, bytes]:  # noqa: ARG002
        """Return nothing: Huey asks for revocations before each task, and there are none beside the ledger's."""
        return {}

    def peek_data(self, key: str) -> Any:  # noqa: ARG002
        """Return Huey's sign for nothing."""
        return EmptyData

    def pop_data(self, key: str) -> Any:  # noqa: ARG002
        """Return Huey's sign for nothing."""
        return EmptyData

    def delete_data(self, key: str) -> bool:  # noqa: ARG002
        """Return that there was nothing: Huey strikes off revocations after each task."""
        return False

    def has_data_for_key(self, key: str) -> bool:  # noqa: ARG002
        """Return that there is nothing."""
        return False

    def result_store_size(self) -> int:
        """Return 0: results are in the ledger."""
        return 0

    def result_items(self) -> dict[str, bytes]:
        """Return nothing: results are in the ledger."""
        return {}

    def _refuse(self, *_args: object, **_kwargs: object) -> NoReturn:
        raise NotImplementedError(
            "the ledger keeps this itself: there is no second truth about a job in Huey's storage"
        )

    add_to_schedule = put_data = put_if_empty = incr = delete_counter = flush_counters = _refuse
    flush_queue = flush_schedule = flush_results = flush_all = wait_result = _refuse
