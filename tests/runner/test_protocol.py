from __future__ import annotations

import pytest

from millrace.ledger.rows import JobError
from millrace.runner.protocol import Lines, ProtocolError, decode, encode
from millrace.runner.verdict import Verdict, as_message, from_message


def test_messages_survive_any_cut_of_the_stream() -> None:
    """A socket gives bytes, not lines: the same messages come out wherever it cuts."""
    messages = [{"m": "log", "text": "ä\n\0"}, {"m": "done", "v": "ok", "r": "x" * 5000}, {"m": "progress"}]
    stream = b"".join(map(encode, messages))
    for size in (1, 2, 7, 4096, len(stream)):
        lines = Lines()
        found = [line for at in range(0, len(stream), size) for line in lines.feed(stream[at : at + size])]
        assert [decode(line) for line in found] == messages


def test_a_line_without_end_is_refused_in_time() -> None:
    """A job that writes into the socket must not fill the daemon's memory."""
    lines = Lines(limit=1000)
    lines.feed(b"x" * 1000)

    with pytest.raises(ProtocolError, match="more than 1000 bytes"):
        lines.feed(b"x")


@pytest.mark.parametrize("line", [b"", b"x", b"[]", b"{}", b'{"m":"run"}', b'{"m":[]}', b"\xff", b"[" * 100_000])
def test_what_is_no_message_of_a_child_is_a_protocol_error(line: bytes) -> None:
    """Foreign code runs at the other end: whatever it writes, the supervisor gets an error that it handles."""
    with pytest.raises(ProtocolError):
        decode(line)


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict("ok", result="{}"),
        Verdict("failed", error=JobError("E", "m", "t"), retryable=False),
        Verdict("retry_later", error=JobError("E", "m"), after_s=1.5),
        Verdict("parked", reason="breaker:crm", after_s=2),
    ],
)
def test_a_verdict_passes_unchanged(verdict: Verdict) -> None:
    """What the child decided is what the daemon records."""
    assert from_message(decode(encode(as_message(verdict, clean_child=True))), {}) == verdict


@pytest.mark.parametrize(
    "message",
    [{}, {"v": "great"}, {"v": []}, {"v": "ok", "r": 1}, {"v": "failed", "e": ["x"]}, {"v": "ok", "after": "x"}],
)
def test_an_impossible_verdict_is_refused(message: dict[str, object]) -> None:
    """A job can write to the socket too."""
    with pytest.raises(ProtocolError):
        from_message(message, {})
