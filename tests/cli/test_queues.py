from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Done, Past, Site

    Call = Callable[..., Done]


def test_configured_queues_are_listed_before_there_is_a_ledger(site: Site, call: Call) -> None:
    """What can be used, also when nothing was submitted yet."""
    assert [row["queue"] for row in call("queues", "list", "--json").json] == ["default", "io"]
    assert not site.state.exists()


def test_depths_are_shown(call: Call, past: Past) -> None:
    """A queue that left config.toml with jobs in it is shown as well."""
    past.claimed(queue="io")
    past.job(queue="io")
    past.job(queue="old", due_at=4_000_000_000_000)
    rows = {row.pop("queue"): row for row in call("queues", "list", "--json").json}
    assert set(rows) == {"default", "io", "old"}
    assert (rows["io"]["running"], rows["io"]["queued"], rows["old"]["waiting"]) == (1, 1, 1)
    assert rows["io"]["oldest_queued_s"] >= 0
    assert set(rows["io"]) == {"paused", "waiting", "queued", "running", "oldest_queued_s"}
    assert call("queues", "list").out.splitlines()[0].split() == [
        "QUEUE",
        "WAITING",
        "QUEUED",
        "RUNNING",
        "OLDEST",
        "STATE",
    ]


def test_a_paused_queue_gives_out_nothing_until_it_is_resumed(call: Call, past: Past) -> None:
    """Pausing twice says so, and is no error: the queue is as wanted."""
    past.job(queue="io")
    assert call("queues", "pause", "io").out == "io  paused\n"
    assert "It was paused before" in call("queues", "pause", "io").err
    assert past.moves.claim("io", 1).wait() == []
    assert "paused" in call("queues", "list").out
    assert call("queues", "resume", "io").out == "io  resumed\n"
    assert "It was not paused" in call("queues", "resume", "io").err
    assert len(past.moves.claim("io", 1).wait()) == 1


def test_an_unknown_queue_is_exit_4_with_a_suggestion(call: Call) -> None:
    """Pausing a name that nobody uses would look like success."""
    for move in ("pause", "resume"):
        done = call("queues", move, "defualt")
        assert (done.code, done.err) == (4, 'millrace: no queue "defualt". Did you mean "default"?\n')
