"""
The daemon's side of one attempt in a child: hands the job over, answers its questions, keeps its output moving, and
ends it when its time is up: first by asking, then by TERM, then by KILL for all that descends from it.
"""

from __future__ import annotations

import select
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from millrace.errors import MillraceError, Parked
from millrace.ledger.rows import JobError
from millrace.runner import tree
from millrace.runner.protocol import QUESTIONS, EngineError, Message, ProtocolError, decode
from millrace.runner.stop import CANCELLED, INTERRUPTED, TIMEOUT
from millrace.runner.text import engine_error
from millrace.runner.verdict import Verdict, fallen, from_message, stopped, unasked

if TYPE_CHECKING:
    from millrace.clock import Clock
    from millrace.runner.batch import Batch
    from millrace.runner.desk import Desk
    from millrace.runner.life import ChildProcess
    from millrace.runner.output import Output
    from millrace.runner.running import Live

ASK_S: Final = 1.0  # between asking and TERM
SHUTDOWN_GRACE_S: Final = 1.0  # at most, between TERM and KILL when the daemon goes down now
_LONGEST_MS: Final = 3_600_000.0  # of one wait: poll takes no more than a C int, 24.8 days, and a timeout may be longer
_MEANS: Final = ("itself", "asking", "TERM", "KILL")


class NotStarted(Exception):
    """The child did not begin the job: no line of it has run."""


class Supervisor:
    """
    Sees one attempt through, in the thread that calls `run`.

    Args:
        live: The attempt's entry in the map of running ones; a cancel arrives through it.
        batch: What is handed over together with this attempt.
        grace_s: Seconds between TERM and KILL, ≥ 0.
    """

    def __init__(
        self,
        child: ChildProcess,
        live: Live,
        desk: Desk,
        output: Output,
        batch: Batch,
        *,
        clock: Clock,
        grace_s: float,
    ) -> None:
        self._child = child
        self._live = live
        self._desk = desk
        self._output = output
        self._batch = batch
        self._clock = clock
        self._grace_s = grace_s
        self._verdict: Verdict | None = None
        self._next: float | None = live.deadline  # when `_escalate` acts next
        self._stalls_at = clock.monotonic() + batch.stall_s
        self._stage = 0
        self._failure: JobError | None = None  # what befell the engine itself at a question of the job
        self.fit = False  # whether the child may run another job

    def run(self, order: bytes | None) -> Verdict:
        """
        Return what the attempt came to. By then the child is either fit for another job or gone.

        Args:
            order: The order that the child gets now; None if it was handed over with an earlier one.
        Raises: NotStarted if the child did not begin it.
        """
        self._live.attach(self._child.wake)
        try:
            if order is not None:
                self._batch.hand_over(self._child, order)
            self._child.heed_output(heeds=not self._batch.handed)
            self._hear()
            while self._verdict is None:
                self._round()
        finally:
            self._live.detach()
            self._finish()
        return self._told(self._verdict)

    def _round(self) -> None:
        """Wait for the next thing to happen and deal with it."""
        child = self._child
        ready = dict(child.poller.poll(self._patience_ms()))
        if child.out in ready:
            self._output.feed(child.read_output())
        if child.waker in ready:
            child.clear_wake()
        if child.tray.fileno() in ready:
            child.tray.answer_bell()
        if ready.get(child.words.fileno(), 0) & select.POLLOUT:
            child.words.flush()
        self._hear()
        if self._verdict is None and child.life in ready and child.look_for_end():
            self._died()
        if self._verdict is None and self._batch.handed and self._clock.monotonic() >= self._stalls_at:
            self._recall(kept=True)
        if self._verdict is None and (self._live.asked or self._next is not None):
            self._escalate()

    def _patience_ms(self) -> float | None:
        """Return how long to wait for something to happen, None for as long as it takes."""
        until = self._next
        if self._batch.handed and (until is None or until > self._stalls_at):
            until = self._stalls_at
        if until is None:
            return None
        return min(max(0.0, until - self._clock.monotonic()) * 1000 + 1, _LONGEST_MS)

    def _recall(self, *, kept: bool) -> None:
        """
        Take back what has not begun. When nothing can begin any more, the words tell for certain which job runs.

        Args:
            kept: Whether the child may run other jobs if it has not begun this one.
        """
        if self._batch.recall(self._child):
            self.fit = kept and not self._batch.bulky
            raise NotStarted
        self._child.heed_output(heeds=not self._batch.handed)
        self._hear()

    # ---- talking

    def _hear(self) -> None:
        """Deal with what the child has said, up to the end of this attempt; what follows is for the next turn."""
        words = self._child.words
        self._listen()
        if self._verdict is None and words.nonsense:
            self._broken(words.nonsense)
        if self._verdict is None and words.ended:
            self._hung_up()

    def _listen(self) -> None:
        words = self._child.words
        try:
            while self._verdict is None and (line := words.next()) is not None:
                self._heed(decode(line))
        except ProtocolError as error:
            words.nonsense = str(error)

    def _heed(self, message: Message) -> None:
        kind = message.pop("m")
        if kind == "done":
            self._done(message)
        elif kind in QUESTIONS:
            self._child.words.say(self._answered(kind, message))
        else:
            self._desk.remark(kind, message)

    def _done(self, message: Message) -> None:
        at = message.get("at")
        if message.get("job") != self._live.job_id or not isinstance(at, float):
            raise ProtocolError("a verdict on no job of this moment")
        self._verdict = from_message(message, {"pid": self._child.pid})
        self.fit = not message.get("dirty") and self._stage == 0
        self._live.end(min(at, self._clock.monotonic()))
        self._child.ended = self._live.ended or at
        if message.get("unread"):
            self._read_output()
            self._child.words.say({"m": "read"})

    def _answered(self, kind: str, body: dict[str, Any]) -> Message:
        try:
            return {"m": "answer", "ok": self._desk.answer(kind, body)}
        except Parked as error:
            return {"m": "answer", "no": ["parked", error.reason, error.after_s]}
        except MillraceError as error:
            return {"m": "answer", "no": [error.type, str(error)]}
        except Exception as error:  # noqa: BLE001 - the engine's own failure fails the job that asked, and no other
            self._failure = engine_error(error)
            return {"m": "answer", "no": [EngineError.type, self._failure.message]}

    # ---- ending

    def _escalate(self) -> None:
        """Take the next step towards the end of an attempt that shall end."""
        now = self._clock.monotonic()
        if self._stage == 0:
            if self._live.asked is None and self._next is not None and now < self._next:
                return
            self._recall(kept=self._live.asked is not None)
            if self._verdict is not None:  # it had ended, and what runs is a job of a later turn
                return
            self._live.ask(TIMEOUT)
            self._stage = 1
            self._child.words.say({"m": "stop", "why": self._live.asked})
            self._next = now if self._live.asked == INTERRUPTED else now + ASK_S
        if self._next is None or now < self._next:
            return
        if self._stage == 1:
            self._stage = 2
            self._next = now + self._mercy_s()
            tree.term_group(self._child.process)
        else:
            self._stage = 3
            self._child.kill()
            self._died()

    def _mercy_s(self) -> float:
        return min(self._grace_s, SHUTDOWN_GRACE_S) if self._live.asked == INTERRUPTED else self._grace_s

    def _hung_up(self) -> None:
        """Its socket is closed: it is dying, or it closed what was not its own."""
        poller = select.poll()
        poller.register(self._child.life, select.POLLIN)
        poller.poll(ASK_S * 1000)
        if self._child.look_for_end():
            self._died()
        else:
            self._broken("it closed its connection to the daemon")

    def _broken(self, why: str) -> None:
        self.fit = False
        if self._batch.recall(self._child):
            raise NotStarted
        self._child.kill()
        self._verdict = Verdict(
            "crashed", error=JobError("Crashed", f"the job's process was killed: {why}"), reason=why
        )

    def _died(self) -> None:
        """Its last words may still stand in the socket; a verdict among them counts."""
        gone = self._child.gone
        begun = not self._batch.recall(self._child)
        self._listen()
        self.fit = False
        if self._verdict is not None or gone is None:
            return
        if not begun:
            raise NotStarted
        self._verdict = fallen(self._child.pid, gone)

    def _finish(self) -> None:
        """Leave a child that is fit, or none."""
        if not self.fit:
            self._batch.recall(self._child)
            if self._verdict is None and self._batch.handed:
                self._skip()
            else:
                self._child.kill()
            if not self._batch.handed:
                self._read_output()
        self._output.close()

    def _skip(self) -> None:
        """
        Pass over what the child said of this job, after a failure of our own.

        It has begun a later one, so its verdict on this one is there; it is fit, and the later turns hear of theirs.
        """
        while (line := self._child.words.next()) is not None:
            message = decode(line)
            if message["m"] == "done":
                self._child.ended = self._clock.monotonic()
                return

    def _read_output(self) -> None:
        """Read all there is. It ends: whoever could write more waits for that, or is dead."""
        while data := self._child.read_output():
            self._output.feed(data)

    def _told(self, verdict: Verdict) -> Verdict:
        """Say why an attempt that was asked to end has ended. One that finished all the same did its work."""
        if self._failure and verdict.error and verdict.error.type == self._failure.type:
            verdict = replace(verdict, error=self._failure)  # with the engine's traceback in place of the job's
        asked = self._live.asked
        if verdict.kind == "ok":
            return verdict
        if asked is None:
            return unasked(verdict)
        if self._stage == 0 and asked != CANCELLED:
            return verdict  # it ended by itself before anything was done to it
        return stopped(asked, verdict, self._live, {**verdict.facts, "ended_by": _MEANS[self._stage]})
