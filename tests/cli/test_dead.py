from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from millrace.ledger.rows import JobError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Done, Past

    Call = Callable[..., Done]


def test_the_list_names_the_errors(call: Call, past: Past) -> None:
    """What somebody decides on."""
    past.job()
    dead = past.dead(message="the server said no")
    lines = call("dead", "list").out.splitlines()
    assert lines[0].split() == ["ID", "TASK", "DIED", "ERROR"]
    assert lines[1].startswith(dead)
    assert lines[1].endswith("ValueError: the server said no")
    assert len(lines) == 2
    assert [job["id"] for job in call("dead", "list", "--json").json] == [dead]


def test_none_is_a_sentence(call: Call) -> None:
    """And no error: an empty list is the good case."""
    done = call("dead", "list")
    assert (done.code, done.out, done.err) == (0, "", "No dead letters.\n")
    assert call("dead", "list", "--task", "add").err == "No dead letters like that.\n"


def test_show_is_for_dead_letters(call: Call, past: Past) -> None:
    """For any other job it says where to look."""
    dead, queued = past.dead(), past.job()
    assert call("dead", "show", dead).out.splitlines()[0].endswith("dead")
    done = call("dead", "show", queued)
    assert done.code == 5
    assert f"millrace jobs show {queued}" in done.err


def test_all_of_a_task_are_put_back(call: Call, past: Past) -> None:
    """After a cure, its victims go back in one go, and no others."""
    cured = [past.dead(task="greet") for _ in range(3)]
    other = past.dead(task="add")
    done = call("dead", "retry", "--all", "--task", "greet", "--yes")
    assert (done.code, done.out) == (0, "3 dead letters now queued\n")
    assert {past.ledger.reads.job(job_id).status for job_id in cured} == {"queued"}
    assert past.ledger.reads.job(other).status == "dead"


def test_more_than_one_page_is_put_back(call: Call, past: Past) -> None:
    """`--all` means all."""
    for _ in range(1100):
        past.job()
    claims = past.moves.claim("default", 1100).wait()
    tickets = [past.moves.give_up(held, JobError("E", "e"), duration_s=0.1, cause="c") for held in claims]
    assert {str(ticket.wait()) for ticket in tickets} == {"dead"}
    assert len(call("dead", "retry", "--all", "--yes", "--json").json) == 1100
    assert past.ledger.reads.status_counts()["dead"] == 0


def test_discarding_keeps_the_history_and_the_reason(call: Call, past: Past) -> None:
    """Somebody decided against it; who and why can be asked later."""
    job_id = past.dead()
    assert call("dead", "discard", job_id, "--yes", "--reason", "sent by hand").out == f"{job_id}  cancelled\n"
    assert "sent by hand" in call("jobs", "show", job_id).out
    assert call("dead", "discard", job_id, "--yes").code == 5


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("dead retry", 2, "name the ids of dead letters, or say --all"),
        ("dead retry abc --all", 2, "either ids or --all"),
        ("dead discard abc --task add", 2, "go with --all"),
        ("dead discard abc", 1, "add --yes"),
        ("dead retry --all", 1, "Put 1 dead letter back on the queue? There is nobody to ask here"),
    ],
)
def test_what_is_meant_must_be_clear(call: Call, past: Past, words: str, code: int, said: str) -> None:
    """Nothing is decided by accident."""
    job_id = past.dead()
    done = call(*words.split())
    assert done.code == code
    assert said in done.err
    assert past.ledger.reads.job(job_id).status == "dead"
