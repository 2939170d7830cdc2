"""Tokens and the audit log, as an administrator handles them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from millrace.ledger.reads import Reads
from millrace.web.tokens import hash_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Done, Past, Site

DAY_MS = 24 * 3600 * 1000
RFC_3339 = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def test_a_token_is_shown_once_and_kept_as_a_hash(call: Callable[..., Done], site: Site, past: Past) -> None:
    """A copy of the ledger must open no door."""
    done = call("tokens", "create", "deploy", "--role", "operator", "--client", "acme", "--expires", "90d")
    assert done.code == 0
    text = done.out.strip()
    assert text.startswith("mr_")
    assert "not shown again" in done.err
    row = past.ledger.reads.token_by_hash(hash_of(text))
    assert row is not None
    assert (row.name, row.role, row.client) == ("deploy", "operator", "acme")
    assert row.expires_at is not None
    assert abs(row.expires_at - row.created_at - 90 * DAY_MS) < DAY_MS
    past.ledger.close()
    for file in site.state.iterdir():
        assert text.encode() not in file.read_bytes(), file
    listed = call("tokens", "list").out
    assert "deploy" in listed
    assert text not in listed


@pytest.mark.usefixtures("past")
def test_a_revoked_token_is_shown_as_such(call: Callable[..., Done]) -> None:
    """By its name, or by the start of its id."""
    call("tokens", "create", "ci")
    made = call("tokens", "create", "phone", "--json").json
    assert call("tokens", "revoke", "ci", "--yes").code == 0
    assert call("tokens", "revoke", made["id"], "--yes").code == 0
    assert {row["name"]: row["state"] for row in call("tokens", "list", "--json").json} == {
        "ci": "revoked",
        "phone": "revoked",
    }
    again = call("tokens", "revoke", "ci", "--yes")
    assert again.code == 4
    assert 'no valid token "ci"' in again.err


def test_to_revoke_asks_first(call: Callable[..., Done], past: Past) -> None:
    """It is for good: whoever uses the token is locked out from the next request on."""
    call("tokens", "create", "ci")
    done = call("tokens", "revoke", "ci")
    assert done.code == 1
    assert 'Revoke token "ci" (viewer, ' in done.err
    assert "add --yes" in done.err
    assert past.ledger.reads.tokens()[0].revoked_at is None
    assert call("tokens", "revoke", "nobody").code == 4


@pytest.mark.usefixtures("past")
def test_what_cannot_be_is_refused(call: Callable[..., Done]) -> None:
    """Two valid tokens of one name cannot be told apart in the history; a client that is not there sees nothing."""
    assert call("tokens", "create", "ci").code == 0
    assert "already" in call("tokens", "create", "ci").err
    unknown = call("tokens", "create", "other", "--client", "acne")
    assert unknown.code == 4
    assert 'Did you mean "acme"?' in unknown.err


def test_each_use_of_power_is_in_the_audit_log(call: Callable[..., Done], past: Past) -> None:
    """Who, what and which; and the log says that it is whole."""
    dead = past.dead()
    call("tokens", "create", "ci", "--role", "admin")
    call("tokens", "revoke", "ci", "--yes")
    call("dead", "retry", dead)
    call("queues", "pause", "io")
    rows = call("audit", "list", "--json").json
    assert [row["action"] for row in rows] == ["queue.pause", "job.retry", "token.revoke", "token.create"]
    assert rows[1]["subject"] == dead
    assert rows[3]["facts"]["role"] == "admin"
    assert all(row["actor"].startswith("cli:") for row in rows)
    assert "token.create" in call("audit", "list").out
    verified = call("audit", "verify")
    assert verified.code == 0
    assert verified.out.startswith("the chain holds: 4 rows, the newest is 4:")


def test_times_among_the_facts_are_written_out(call: Callable[..., Done], past: Past) -> None:
    """The ledger keeps milliseconds, which the hashes are over; nobody reads those."""
    call("tokens", "create", "ci", "--expires", "1d")
    past.moves.audit(
        "cli:ann", "schedule.backfill", "daily", {"from": 1_790_000_000_000, "to": 1_790_000_060_000}
    ).wait()
    stretch, made = call("audit", "list", "--json").json
    assert stretch["facts"] == {"from": "2026-09-21T14:13:20.000Z", "to": "2026-09-21T14:14:20.000Z"}
    assert re.fullmatch(RFC_3339, made["facts"]["expires_at"])
    assert "from=2026-09-21T14:13:20.000Z" in call("audit", "list").out
    assert '"from":1790000000000' in past.ledger.reads.audit()[1].facts
    assert call("audit", "verify").code == 0


def test_a_changed_row_is_found(call: Callable[..., Done], site: Site, past: Past) -> None:
    """Exit 1, and the row's number."""
    call("queues", "pause", "io")
    call("queues", "resume", "io")
    past.ledger.writer.submit(lambda tx: tx.run("UPDATE audit SET actor = 'cli:bob' WHERE id = 1")).wait()
    done = call("audit", "verify")
    assert done.code == 1
    assert done.out == "the chain is broken at row 1: row 1, or the one before it, was changed\n"
    with_json = call("audit", "verify", "--json")
    assert with_json.json["holds"] is False
    assert Reads.open(site.ledger).audit_head() is not None
