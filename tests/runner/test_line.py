"""The child's end of the protocol, and what its birth may come to, over the sockets and pipes that they use."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING, NamedTuple

import pytest

from millrace import Pipeline
from millrace.errors import MillraceError
from millrace.runner import tree
from millrace.runner.attempt import attempt
from millrace.runner.life import Birth, ChildProcess, ServerLost
from millrace.runner.line import SocketLine
from millrace.runner.prctl import die_with_parent
from millrace.runner.protocol import Message, encode
from millrace.runner.stop import StopJob
from millrace.runner.tray import IN_WORDS, Orders, Tray

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Talk(NamedTuple):
    """A line of a child, and the supervisor's ends of it."""

    line: SocketLine
    words: socket.socket
    tray: Tray

    def say(self, *messages: Message) -> None:
        """Speak as the supervisor."""
        self.words.sendall(b"".join(map(encode, messages)))


@pytest.fixture
def talk() -> Iterator[Talk]:
    """Both ends, in this process."""
    tray = Tray()
    words, theirs = socket.socketpair()
    with words, theirs, socket.socket(fileno=tray.theirs.dup().detach()) as orders:
        yield Talk(SocketLine(theirs, Orders(orders)), words, tray)
    tray.close()


def test_a_supervisor_that_goes_between_two_jobs_ends_the_child(talk: Talk) -> None:
    """An order that was announced and never came is none: the child ends in peace, not by an error."""
    assert talk.tray.put(IN_WORDS)
    talk.words.close()

    assert talk.line.next_order() is None


def test_a_supervisor_that_goes_in_the_middle_of_a_question_is_an_error(talk: Talk) -> None:
    """The job must not take silence for an answer."""
    talk.words.shutdown(socket.SHUT_WR)
    with pytest.raises(ConnectionError):
        talk.line.ask("step.get", {"name": "one"})
    with pytest.raises(ConnectionError):
        talk.line.check()


def test_a_stop_before_an_answer_is_kept_for_the_next_look(talk: Talk) -> None:
    """The answer belongs to what has been committed; the job ends at its next point."""
    talk.say({"m": "stop", "why": "cancelled"}, {"m": "answer", "ok": 7})
    assert talk.line.ask("step.get", {"name": "one"}) == 7
    with pytest.raises(StopJob) as stopped:
        talk.line.check()

    assert stopped.value.why == "cancelled"


def test_a_question_that_was_cut_off_is_the_last_one(talk: Talk) -> None:
    """The answer that is on its way would be taken for that of the next: another step's value, another effect's."""

    class TooSlowError(Exception):
        pass

    def late(*_: object) -> None:
        raise TooSlowError

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    try:
        with pytest.raises(TooSlowError):
            talk.line.ask("step.get", {"name": "one"})
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    talk.say({"m": "answer", "ok": "of one"})
    assert talk.line.cut_off
    with pytest.raises(MillraceError, match="whether that was done is not known"):
        talk.line.ask("step.get", {"name": "two"})


def test_a_question_that_is_no_text_is_not_asked_and_bars_no_other(talk: Talk) -> None:
    """Nothing was sent, so no answer is on its way."""
    with pytest.raises(ValueError, match="surrogate"):
        talk.line.ask("step.get", {"name": "caf\udce9.csv"})
    talk.say({"m": "answer", "ok": "of two"})

    assert talk.line.ask("step.get", {"name": "two"}) == "of two"


def test_a_word_for_nobody_stops_no_job(talk: Talk) -> None:
    """That output has been read is for a child that waits for it."""
    talk.say({"m": "read"})
    talk.line.check()

    assert talk.line.asked is None


def test_a_child_whose_output_is_awaited_hears_out_what_came_before(talk: Talk) -> None:
    """A stop that crossed the end of the job is of a job that is over."""
    talk.say({"m": "stop", "why": "timeout"}, {"m": "read"}, {"m": "answer", "ok": 1})
    talk.line.await_reader()

    assert talk.line.receive() == {"m": "answer", "ok": 1}


def test_a_refusal_of_an_unknown_kind_is_an_error_all_the_same(talk: Talk) -> None:
    """A newer daemon may refuse by a name that an older child does not know."""
    talk.say({"m": "answer", "no": ["tomorrow", "not today"]})
    with pytest.raises(MillraceError, match="not today"):
        talk.line.ask("step.get", {"name": "one"})


@pytest.mark.parametrize(
    ("told", "error", "says"),
    [
        (b"", ServerLost, "no answer of the fork server"),
        (b'{"error": "cannot fork: no memory"}\n', Birth, "cannot fork: no memory"),
        (b'{"status": 9, "killed": 0}\n', Birth, "died at its birth"),
    ],
)
def test_a_birth_that_fails_says_why(tmp_path: Path, told: bytes, error: type[Birth], says: str) -> None:
    """The job waits with this reason; a server that does not answer at all is replaced."""
    ours, theirs = socket.socketpair()
    out_r, out_w = os.pipe()
    life_r, life_w = os.pipe()
    child = ChildProcess("default", ours, out_r, life_r, tmp_path / "scratch")
    os.write(life_w, told)
    with pytest.raises(error, match=says):
        child.await_birth(0.01)
    child.close()
    theirs.close()
    for fd in (out_w, life_w):
        os.close(fd)


def test_a_process_attribute_that_the_kernel_refuses_is_an_error() -> None:
    """A child that would not die with its server must not begin."""
    with pytest.raises(OSError, match="Invalid argument"):
        die_with_parent(10_000)


def test_processes_that_do_not_die_are_not_waited_for_for_ever() -> None:
    """One in the hands of the kernel takes no signal; whoever asked is told, and decides."""
    never = tree.Process(2**22 + 1, 1, 1, 1, 0, zombie=False)
    pauses: list[float] = []

    assert tree.kill_all(lambda: [never], pauses.append) is None
    assert len(pauses) == tree.MAX_PASSES
    assert not tree.send(never, signal.SIGKILL)


def test_a_stage_that_is_called_outside_a_run_says_what_it_needs() -> None:
    """It would otherwise fail somewhere in its collecting, by a name that tells nothing."""
    flow = Pipeline("flow", inputs={"n": int})

    @flow.stage
    def twice(n: int) -> int:
        return 2 * n

    verdict = attempt(twice, '{"n":1}')

    assert verdict.error is not None
    assert (verdict.error.type, "outside one" in verdict.error.message) == ("Unsupported", True)
