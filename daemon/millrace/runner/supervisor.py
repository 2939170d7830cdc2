"""
The daemon's side of one attempt in a child: hands the job over, answers its questions, keeps its output moving, and
ends it when its time is up: first by asking, then by TERM, then by KILL for all that descends from it.
"""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Any, Final

from millrace.errors import MillraceError, Parked
from millrace.ledger.rows import JobError
from millrace.runner import tree
from millrace.runner.protocol import CHUNK, QUESTIONS, Message, ProtocolError, decode, encode
from millrace.runner.stop import CANCELLED, INTERRUPTED, TIMEOUT, WHYS
from millrace.runner.verdict import Verdict, from_message

if TYPE_CHECKING:
    from millrace.clock import Clock
    from millrace.runner.desk import Desk
    from millrace.runner.life import ChildProcess
    from millrace.runner.output import Output
    from millrace.runner.running import Live

ASK_S: Final = 1.0  # between asking and TERM
SHUTDOWN_GRACE_S: Final = 1.0  # at most, between TERM and KILL when the daemon goes down now
_FOREVER_MS: Final = None
_MEANS: Final = ("itself", "asking", "TERM", "KILL")


class NotStarted(Exception):
    """The child died while it was idle: no line of the job has run."""


class Supervisor:
    """
    Sees one attempt through, in the thread that calls `run`.

    Args:
        live: The attempt's entry in the map of running ones; a cancel arrives through it.
        grace_s: Seconds between TERM and KILL, ≥ 0.
    """

    def __init__(
        self, child: ChildProcess, live: Live, desk: Desk, output: Output, *, clock: Clock, grace_s: float
    ) -> None:
        self._child = child
        self._live = live
        self._desk = desk
        self._output = output
        self._clock = clock
        self._grace_s = grace_s
        self._unsent = b""
        self._verdict: Verdict | None = None
        self._next: float | None = live.deadline  # when `_escalate` acts next
        self._stage = 0
        self._refused = False
        self._chatty = False  # whether output may be left: what precedes the first message is seen with it
        self.fit = False  # whether the child may run another job

    def run(self, order: Message) -> Verdict:
        """
        Return what the attempt came to. By then the child is either fit for another job or gone.

        Raises: NotStarted if the child was gone before it had the order.
        """
        self._live.attach(self._child.wake)
        try:
            self._send(order)
            if self._refused:
                raise NotStarted
            while self._verdict is None:
                self._turn()
        finally:
            self._live.detach()
            self._chatty = self._chatty or not self.fit
            self._finish()
        return self._told(self._verdict)

    def _turn(self) -> None:
        """Wait for the next thing to happen and deal with it."""
        child = self._child
        ready = dict(child.poller.poll(self._patience_ms()))
        if child.out in ready:
            self._chatty = True
            self._output.feed(child.read_output())
        if child.waker in ready:
            child.clear_wake()
        if child.sock.fileno() in ready:
            self._talk(ready[child.sock.fileno()])
        if self._verdict is None and child.life in ready and child.look_for_end():
            self._died()
        if self._verdict is None and (self._live.asked or self._next is not None):
            self._escalate()

    def _patience_ms(self) -> float | None:
        if self._next is None:
            return _FOREVER_MS
        return max(0.0, self._next - self._clock.monotonic()) * 1000 + 1

    # ---- talking

    def _send(self, message: Message) -> None:
        self._unsent += encode(message)
        self._flush()

    def _flush(self) -> None:
        """Write what the child takes. It may be stopped or busy, and nobody must wait for it."""
        try:
            while self._unsent:
                self._unsent = self._unsent[self._child.sock.send(self._unsent) :]
            events = select.POLLIN
        except BlockingIOError:
            events = select.POLLIN | select.POLLOUT
        except OSError:
            events, self._unsent, self._refused = select.POLLIN, b"", True  # it has closed; reading will tell
        self._child.poller.modify(self._child.sock.fileno(), events)

    def _talk(self, events: int) -> None:
        if events & select.POLLOUT:
            self._flush()
        if not events & ~select.POLLOUT:
            return
        try:
            data = self._child.sock.recv(CHUNK)
            for line in self._child.lines.feed(data):
                self._hear(decode(line))
        except BlockingIOError:
            return
        except ConnectionResetError:  # it died with words of ours unread
            data = b""
        except ProtocolError as error:
            self._broken(str(error))
            return
        if not data and self._verdict is None:
            self._hung_up()

    def _hear(self, message: Message) -> None:
        kind = message.pop("m")
        self._chatty = self._chatty or kind != "done"
        if kind == "done":
            self._verdict = from_message(message, {"pid": self._child.pid})
            self.fit = not message.get("dirty") and self._live.asked is None and self._stage == 0
        elif kind in QUESTIONS:
            self._send(self._answered(kind, message))
        else:
            self._desk.remark(kind, message)

    def _answered(self, kind: str, body: dict[str, Any]) -> Message:
        try:
            return {"m": "answer", "ok": self._desk.answer(kind, body)}
        except Parked as error:
            return {"m": "answer", "no": ["parked", error.reason, error.after_s]}
        except MillraceError as error:
            return {"m": "answer", "no": [error.type, str(error)]}

    # ---- ending

    def _escalate(self) -> None:
        """Take the next step towards the end of an attempt that shall end."""
        now = self._clock.monotonic()
        if self._stage == 0:
            if self._live.asked is None and self._next is not None and now < self._next:
                return
            self._live.ask(TIMEOUT)
            self._stage = 1
            self._send({"m": "stop", "why": self._live.asked})
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
        self._child.kill()
        self._verdict = Verdict(
            "crashed", error=JobError("Crashed", f"the job's process was killed: {why}"), reason=why
        )

    def _died(self) -> None:
        """Its last words may still stand in the socket; a verdict among them counts."""
        gone = self._child.gone
        try:
            while self._verdict is None and (data := self._child.sock.recv(CHUNK)):
                for line in self._child.lines.feed(data):
                    self._hear(decode(line))
        except (OSError, ProtocolError):
            pass
        self.fit = False
        if self._verdict is not None or gone is None:
            return
        if gone.status is None:
            error = JobError("ForkServerDied", "the process that all children descend from was killed")
            self._verdict = Verdict("lost", error=error)
            return
        how = gone.words()
        facts = {"pid": self._child.pid, "signal": gone.signal_name, "exit_code": gone.exit_code, **gone.facts}
        self._verdict = Verdict(
            "crashed", error=JobError("Crashed", f"the job's process {how}"), reason=how, facts=facts
        )

    def _finish(self) -> None:
        """Leave a child that is fit, or none."""
        if not self.fit:
            self._child.kill()
        while self._chatty and (data := self._child.read_output()):  # ends: whoever could write more is idle or dead
            self._output.feed(data)
        self._output.close()

    def _told(self, verdict: Verdict) -> Verdict:
        """Say why an attempt that was asked to end has ended. One that finished all the same did its work."""
        asked = self._live.asked
        if verdict.kind == "ok":
            return verdict
        if asked is None:
            return unasked(verdict)
        if self._stage == 0 and asked != CANCELLED:
            return verdict  # it ended by itself before anything was done to it
        return stopped(asked, verdict, self._live, {**verdict.facts, "ended_by": _MEANS[self._stage]})


def unasked(verdict: Verdict) -> Verdict:
    """Turn a stop that nobody here ordered into a failure: for free, a job that TERMs itself would run for ever."""
    if verdict.kind not in WHYS:
        return verdict
    error = JobError("Terminated", "the attempt was ended by a signal, or an exception, that the daemon did not send")
    return Verdict("failed", error=error, facts=verdict.facts)


def stopped(asked: str, verdict: Verdict, live: Live, facts: dict[str, Any]) -> Verdict:
    """Return the verdict of an attempt that ended because it was asked to."""
    if asked != TIMEOUT:
        return Verdict(asked, facts=facts)
    allowed = "" if live.deadline is None or live.started is None else f" after {live.deadline - live.started:.4g} s"
    trace = verdict.error.traceback if verdict.error else None
    return Verdict("timeout", error=JobError("Timeout", f"the attempt's time was up{allowed}", trace), facts=facts)
