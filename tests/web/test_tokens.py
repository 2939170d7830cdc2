"""The first token of a fresh site."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from millrace.clock import SYSTEM
from millrace.errors import SettingsError
from millrace.ledger.ledger import Ledger
from millrace.web.auth import caller_of
from millrace.web.tokens import FILE, Role, first_token, hash_of, new_text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    """A fresh ledger in the test's own state folder."""
    with Ledger(tmp_path / "millrace.db") as opened:
        yield opened


def role_of(ledger: Ledger, text: str) -> Role:
    """What the token opens."""
    return caller_of(f"Bearer {text}", ledger.reads, SYSTEM).role


def test_a_fresh_site_gets_one_admin_token(ledger: Ledger, tmp_path: Path) -> None:
    """Readable by its owner alone; the ledger keeps no more than its hash; a second start makes none."""
    path = first_token(ledger.reads, ledger.moves, tmp_path)
    assert path == tmp_path / FILE
    text = path.read_text().strip()
    assert path.stat().st_mode & 0o777 == 0o600
    assert role_of(ledger, text) is Role.ADMIN
    assert text.encode() not in b"".join(file.read_bytes() for file in tmp_path.glob("millrace.db*"))

    path.unlink()
    assert first_token(ledger.reads, ledger.moves, tmp_path) is None
    (row,) = ledger.reads.audit()
    assert (row.actor, row.action, row.subject) == ("daemon", "token.create", ledger.reads.tokens()[0].id)
    assert row.as_json()["facts"] == {"name": "first", "role": "admin", "client": None, "expires_at": None}
    assert not path.exists()


def test_a_crash_between_file_and_ledger_is_mended_by_the_next_start(ledger: Ledger, tmp_path: Path) -> None:
    """The file was written, the ledger does not know it: the person may have copied it already."""
    text = new_text()
    handle = os.open(tmp_path / FILE, os.O_WRONLY | os.O_CREAT, 0o600)
    os.write(handle, f"{text}\n".encode())
    os.close(handle)
    assert first_token(ledger.reads, ledger.moves, tmp_path) == tmp_path / FILE
    assert role_of(ledger, text) is Role.ADMIN


@pytest.mark.parametrize("kind", ["readable by others", "cut off", "a link"])
def test_a_file_that_cannot_be_trusted_is_replaced(ledger: Ledger, tmp_path: Path, kind: str) -> None:
    """Somebody else may know its token, or have put it there."""
    path, text = tmp_path / FILE, new_text()
    target = tmp_path / "elsewhere" if kind == "a link" else path
    target.write_text(text[:20] if kind == "cut off" else text)
    target.chmod(0o644 if kind == "readable by others" else 0o600)
    if kind == "a link":
        path.symlink_to(target)

    assert first_token(ledger.reads, ledger.moves, tmp_path) == path
    assert not path.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o600
    assert ledger.reads.token_by_hash(hash_of(text)) is None
    assert role_of(ledger, path.read_text().strip()) is Role.ADMIN


def test_a_file_that_was_left_half_written_does_not_matter(ledger: Ledger, tmp_path: Path) -> None:
    """A crash in the middle of writing leaves the name that is tried next."""
    (tmp_path / FILE).with_suffix(".new").write_text("mr_")
    path = first_token(ledger.reads, ledger.moves, tmp_path)
    assert path is not None
    assert role_of(ledger, path.read_text().strip()) is Role.ADMIN


def test_a_state_folder_that_cannot_be_written_is_named(ledger: Ledger, tmp_path: Path) -> None:
    """The daemon says which file, and does not start without a key to it."""
    with pytest.raises(SettingsError, match=r"admin\.token"):
        first_token(ledger.reads, ledger.moves, tmp_path / "missing")
    assert ledger.reads.tokens() == []
