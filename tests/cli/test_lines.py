from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Done, Site

    Call = Callable[..., Done]


def write(site: Site, *lines: Any, name: str = "jobs.jsonl") -> Path:
    """Write a file of JSON lines; text goes in as it is."""
    path = site.root / name
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return path


def test_each_line_is_the_payload_of_a_job(site: Site, call: Call) -> None:
    """More lines than one commit takes; the order is kept, and each job says which line it came from."""
    path = write(site, *({"left": number} for number in range(1200)))
    done = call("submit", "add", "--lines", str(path), "--priority", "3", "--client", "acme")
    assert (done.code, done.out, done.err) == (0, "1,200 jobs added\n", "")
    listed = call("jobs", "list", "--limit", "1000", "--json").json
    assert [job["payload"]["left"] for job in listed] == list(range(1199, 199, -1))
    assert {(job["priority"], job["client"]) for job in listed} == {(3, "acme")}
    assert listed[0]["source"] == {"kind": "cli", "name": f"{path}:1200"}


def test_a_bad_line_is_named_and_the_good_ones_are_kept(site: Site, call: Call) -> None:
    """One bad record never stops the rest; empty lines are none."""
    path = write(site, {"left": 1}, {"left": "x"}, "", "{", {"left": 4}, {"lift": 5}, '{"left": 1, "left": 2}')
    done = call("submit", "add", "--lines", str(path))
    assert (done.code, done.out) == (2, "2 jobs added, 4 lines refused\n")
    errors = done.err.splitlines()
    for number, said in ((2, "payload.left: "), (4, "payload: is not JSON"), (6, "payload.l"), (7, "stands twice")):
        assert any(line.startswith(f"millrace: {path}:{number}: ") and said in line for line in errors), (
            number,
            errors,
        )
    assert len(errors) == 4
    assert sorted(job["payload"]["left"] for job in call("jobs", "list", "--json").json) == [1, 4]


def test_standard_input_is_taken_too(site: Site) -> None:
    """A pipe from another program."""
    done = site.process("submit", "add", "--lines", "-", "--json", stdin=b'{"left": 1}\n{"left": true}\n{"left": 3}')
    assert (done.code, done.json) == (2, {"added": 2, "existed": 0, "refused": 1, "not_taken": None})
    assert done.err.startswith("millrace: stdin:2: payload.left: ")


def test_a_line_that_is_too_long_is_skipped_without_being_kept_in_memory(site: Site, call: Call) -> None:
    """A line of a gigabyte must not end the daemon's machine; the line after it still counts."""
    path = write(site, {"left": 1}, '{"left": "' + "x" * 3_000_000 + '"}', {"left": 3})
    done = call("submit", "add", "--lines", str(path))
    assert (done.code, done.out) == (2, "2 jobs added, 1 line refused\n")
    assert done.err.startswith(f"millrace: {path}:2: ")
    assert "bytes" in done.err


def test_keys_from_a_field_make_a_second_run_add_nothing(site: Site, call: Call) -> None:
    """Whether the first run got through or was cut off, running the file again is right."""
    path = write(site, *({"left": number, "right": 5} for number in range(700)))
    assert call("submit", "add", "--lines", str(path), "--key-from", "left").out == "700 jobs added\n"
    path = write(site, *({"left": number, "right": 5} for number in range(710)))
    done = call("submit", "add", "--lines", str(path), "--key-from", "left")
    assert (done.code, done.out) == (0, "10 jobs added, 700 known by their keys\n")


def test_a_key_with_another_payload_refuses_its_line_alone(site: Site, call: Call) -> None:
    """A changed line under an old key is a conflict to be looked at, not to be swallowed."""
    write(site, {"left": 1}, {"left": 2})
    path = site.root / "jobs.jsonl"
    call("submit", "add", "--lines", str(path), "--key-from", "left")
    write(site, {"left": 1, "right": 9}, {"left": 2}, {"left": 3}, {"right": 3}, {"left": 1.5})
    done = call("submit", "add", "--lines", str(path), "--key-from", "left")
    assert (done.code, done.out) == (2, "1 job added, 1 known by their keys, 3 lines refused\n")
    first, second, third = done.err.splitlines()
    assert f'{path}:1: key "1" was used before with another payload' in first
    assert f"{path}:4: payload.left: is to be the key" in second
    assert f"{path}:5: payload.left: is to be the key" in third


def test_without_a_task_a_line_is_a_whole_submission(site: Site, call: Call) -> None:
    """The form of the API; what the command line says holds for lines that do not."""
    path = write(
        site,
        {"task": "add", "payload": {"left": 1}, "key": "a", "queue": "io", "priority": 5},
        {"task": "greet", "payload": {"name": "Ann"}, "client": "acme", "due_at": "2099-01-01T00:00:00Z"},
    )
    assert call("submit", "--lines", str(path), "--priority", "1").out == "2 jobs added\n"
    greet, add = call("jobs", "list", "--json").json
    assert (add["task"], add["key"], add["queue"], add["priority"]) == ("add", "a", "io", 5)
    assert (greet["client"], greet["status"], greet["priority"]) == ("acme", "waiting", 1)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"payload": {}}, "task: is missing"),
        ({"task": "add", "paylod": {}}, 'paylod: unknown field (Did you mean "payload"?)'),
        ({"task": 5}, "task: must be a string"),
        ({"task": "add", "payload": {"left": 1}, "priority": "high"}, "priority: must be a whole number"),
        ({"task": "add", "payload": {"left": 1}, "due_at": "noon"}, 'due_at: "noon" is not a time'),
        ({"task": "ad", "payload": {"left": 1}}, 'there is no task "ad". Did you mean "add"?'),
        (["add"], "line: must be a JSON object"),
    ],
)
def test_a_whole_submission_that_is_none_is_named(site: Site, call: Call, line: object, said: str) -> None:
    """The place in the line, the reason, a suggestion."""
    done = call("submit", "--lines", str(write(site, line)))
    assert done.code == 2
    assert said in done.err


def test_a_full_queue_ends_it_and_says_where(site: Site, call: Call) -> None:
    """What was taken is kept; the rest can be sent later."""
    site.config.write_text(site.config.read_text() + "[queues.small]\nmax_backlog = 1100\n")
    path = write(site, *({"left": number} for number in range(3000)))
    done = call("submit", "add", "--lines", str(path), "--queue", "small")
    assert done.code == 75
    listed = call("jobs", "list", "--limit", "1000", "--json").json
    taken = len(listed) + len(call("jobs", "list", "--limit", "1000", "--json", "--after", listed[-1]["id"]).json)
    assert 0 < taken <= 2000
    assert done.out == f"{taken:,} jobs added\n"
    reason, which = done.err.splitlines()
    assert reason.startswith(f'millrace: {path}: queue "small" is at its max_backlog of 1100')
    assert which.startswith(f"millrace: {path}: these lines were not taken: {taken + 1}-")
    assert which.endswith("and all after it")
