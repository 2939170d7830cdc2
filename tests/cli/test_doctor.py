from __future__ import annotations

import json
import os
import socket
from typing import TYPE_CHECKING, Any

import apsw
import pytest

from millrace.cli.main import cli
from millrace.cli.session import Session
from millrace.clock import SYSTEM
from millrace.ledger.blobs import LARGE, folder_of
from millrace.ledger.checkup import flaws, sqlite_version
from millrace.ledger.reads import Reads
from millrace.ledger.rows import DaemonRow, NewJob, TokenRow
from millrace.process.lock import take_lock
from millrace.web.tokens import hash_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Done, Past, Site

    Call = Callable[..., Done]

CHECKS = [
    "settings", "jobs", "sqlite", "state", "rights", "disk", "ledger", "conservation", "audit", "orphans", "values",
    "files", "backup", "clock", "token", "listen", "daemon",
]  # fmt: skip


def examined(call: Call) -> dict[str, Any]:
    """Return what each check found, by its name; the last one of a name counts."""
    return {check["name"]: check for check in call("doctor", "--json").json["checks"]}


def test_a_site_that_is_well_is_exit_0(call: Call, past: Past) -> None:
    """Each thing is looked at; that the daemon does not run is no failure."""
    past.succeeded()
    done = call("doctor")
    assert done.code == 0
    assert [line.split()[1] for line in done.out.splitlines() if not line.startswith(" ")] == CHECKS
    assert done.out.count("ok  ") >= len(CHECKS) - 1
    assert "not running" in done.out
    assert "→ millrace serve" in done.out
    assert call("doctor", "--json").json["status"] == "warn"


def test_a_fresh_folder_is_well_too(site: Site, call: Call) -> None:
    """Before the first start there is nothing to repair, and looking makes nothing."""
    assert call("doctor").code == 0
    assert not site.state.exists()


def test_pipelines_count_as_what_can_be_run(parcels: Site, call: Call) -> None:
    """A site that has nothing else is no empty one."""
    assert examined(call)["jobs"]["text"] == "2 tasks and 1 pipeline can be run"
    (parcels.root / "cli_jobs" / "sums.py").unlink()
    assert examined(call)["jobs"]["text"] == "1 pipeline can be run"
    (parcels.root / "cli_jobs" / "parcels.py").unlink()
    assert examined(call)["jobs"]["level"] == "warn"


def test_broken_jobs_and_settings_are_named_with_their_lines(site: Site, call: Call) -> None:
    """The line to go to."""
    (site.root / "cli_jobs" / "broken.py").write_text("x = 1\ndef task(:\n")
    found = [check for check in call("doctor", "--json").json["checks"] if check["name"] == "jobs"]
    assert [check["level"] for check in found] == ["fail", "ok"]
    assert found[0]["text"].startswith("cli_jobs/broken.py:2: SyntaxError")

    site.config.write_text('[web]\nlisten = "127.0.0.1:8420"\nlimit = 3\n[queues.io]\nworkers = 0\n')
    done = call("doctor", "--json")
    texts = [check["text"] for check in done.json["checks"] if check["name"] == "settings"]
    assert done.code == 1
    assert [text.split(": ")[0].rpartition(":")[2] for text in texts] == ["3", "5"]


def test_a_config_that_is_no_toml_ends_the_examination_with_its_line(site: Site, call: Call) -> None:
    """Where the state is cannot be known then."""
    site.config.write_text("[web\n")
    done = call("doctor")
    assert done.code == 1
    assert "is not valid TOML" in done.out
    assert "Traceback" not in done.err


def test_a_missing_jobs_folder_is_a_failure_that_names_the_folder(site: Site, call: Call) -> None:
    """It was moved, or `jobs` is misspelt."""
    (site.root / "cli_jobs").rename(site.root / "elsewhere")
    found = examined(call)["jobs"]
    assert found["level"] == "fail"
    assert f"there is no folder {site.root / 'cli_jobs'}" in found["text"]


def test_a_token_that_others_may_read_is_a_failure(site: Site, call: Call) -> None:
    """It is the key to everything; the repair can be copied."""
    site.state.mkdir()
    token = site.state / "admin.token"
    token.write_text("mr_secret")
    token.chmod(0o644)
    done = call("doctor")
    assert done.code == 1
    assert f"chmod 600 {token}" in done.out
    assert "mr_secret" not in done.out
    token.chmod(0o600)
    assert examined(call)["token"]["level"] == "ok"


def test_a_damaged_ledger_is_a_failure(site: Site, call: Call, past: Past) -> None:
    """A page that was overwritten is found by the check, before a job stumbles over it."""
    for _ in range(200):
        past.job(payload='{"left":1}')
    past.ledger.close()
    size = site.ledger.stat().st_size
    with site.ledger.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xa5" * 16384)
    found = examined(call)
    assert found["ledger"]["level"] == "fail"
    assert "restore a backup" in found["ledger"]["repair"]


def test_values_that_were_changed_are_a_failure(call: Call, past: Past) -> None:
    """Each of the first with its job; nothing else would tell before somebody trusts one."""
    jobs = [past.job(payload='{"left":1}') for _ in range(5)]
    assert examined(call)["values"]["level"] == "ok"
    past.ledger.writer.submit(lambda tx: tx.run("UPDATE job SET payload = '{\"left\":2}'")).wait()
    found = examined(call)
    assert (found["ledger"]["level"], found["values"]["level"], call("doctor").code) == ("ok", "fail", 1)
    assert found["values"]["text"].startswith(f"5 values not as written: payload of {jobs[0]}, ")
    assert found["values"]["text"].endswith(" and 2 more")


def test_a_changed_row_of_the_audit_log_is_a_failure(call: Call, past: Past) -> None:
    """With its number; the file itself is sound."""
    past.moves.audit("cli:ann", "job.look", "x").wait()
    assert examined(call)["audit"]["text"] == "the chain of 1 row holds"
    past.ledger.writer.submit(lambda tx: tx.run("UPDATE audit SET actor = 'cli:bob' WHERE id = 1")).wait()
    found = examined(call)
    assert (found["ledger"]["level"], found["audit"]["level"], call("doctor").code) == ("ok", "fail", 1)
    assert found["audit"]["text"] == "the chain is broken at row 1: row 1, or the one before it, was changed"


def test_a_ledger_of_a_newer_version_is_not_to_be_replaced(site: Site, call: Call, past: Past) -> None:
    """A backup put in its place would throw away what the newer version has taken."""
    past.ledger.close()
    with apsw.Connection(str(site.ledger)) as connection:
        connection.pragma("user_version", 99)
    found = examined(call)["ledger"]
    assert (found["level"], "install the newer version" in found["text"]) == ("fail", True)
    assert found["repair"] == "go on with that version: a backup would lack what it has taken since"
    with apsw.Connection(str(site.ledger)) as connection:
        connection.pragma("application_id", 7)
    assert "name the ledger of this site" in examined(call)["ledger"]["repair"]


def test_a_sound_ledger_has_no_flaws(site: Site, past: Past) -> None:
    """And the version is one with the WAL fix."""
    past.job()
    reads = Reads.open(site.ledger)
    assert flaws(reads) == []
    assert tuple(map(int, sqlite_version().split("."))) >= (3, 51, 3)
    reads.close()


class Earlier:
    """A clock that was set back by an hour."""

    def now_ms(self) -> int:
        from millrace.clock import SYSTEM

        return SYSTEM.now_ms() - 3_600_000


def test_rows_from_the_future_are_a_warning(site: Site, past: Past, capsys: pytest.CaptureFixture[str]) -> None:
    """The clock was set back: due times would be late by as much."""
    past.job()
    session = Session(site.config, clock=Earlier())  # type: ignore[arg-type] # all that is asked of it
    command = cli.get_command(None, "doctor")  # type: ignore[arg-type] # the table needs no context
    assert command is not None
    command.main([], standalone_mode=False, obj=session)
    assert "ahead of the clock" in capsys.readouterr().out


def test_an_address_that_is_taken_or_open_to_others_is_told(site: Site, call: Call) -> None:
    """A second program on the port would keep the daemon from starting."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        site.config.write_text(f'[site]\njobs = "cli_jobs"\n[web]\nlisten = "127.0.0.1:{port}"\n')
        found = examined(call)["listen"]
        assert found["level"] == "fail"
        assert "in use" in found["text"]
    site.config.write_text('[site]\njobs = "cli_jobs"\n[web]\nlisten = "0.0.0.0:0"\n')
    found = examined(call)["listen"]
    assert (found["level"], "other machines" in found["text"]) == ("warn", True)


def test_a_daemon_that_makes_no_progress_is_a_failure(site: Site, call: Call, past: Past) -> None:
    """It holds the lock, and that is all it does."""
    past.moves.sign_in(
        DaemonRow("daemon-1", os.getpid(), "host", "9.9", 1_800_000_000_000, 1_790_000_000_000, None)
    ).wait()
    lock = take_lock(site.ledger)
    try:
        found = examined(call)["daemon"]
    finally:
        os.close(lock)
    assert found["level"] == "fail"
    assert "no progress" in found["text"]


def test_jobs_that_nothing_moves_are_named(call: Call, past: Past, site: Site) -> None:
    """They look like any that waits, and would do so for ever."""
    held = past.claimed()
    past.moves.park(held, "doubt", due_at=None, duration_s=0.1).wait()
    assert examined(call)["orphans"]["level"] == "ok"
    connection = apsw.Connection(str(site.ledger))
    connection.execute("UPDATE job SET reason = 'backoff' WHERE id = ?", (held.job_id,))
    connection.close()

    check = examined(call)["orphans"]

    assert check["level"] == "warn"
    assert f"never_ready: 1 job or run: {held.job_id}" in check["text"]
    assert "millrace explain" in check["repair"]


def test_what_only_the_daemon_sees_is_told_from_its_note(call: Call, past: Past) -> None:
    """A queue without workers is no flaw of the ledger: the daemon that has none for it knows."""
    job_id = past.job(queue="nowhere")
    ids = [{"kind": "no_workers", "id": job_id, "detail": "queue nowhere has no workers"}]
    past.moves.note("orphans", json.dumps({"count": 1, "ids": ids})).wait()

    assert f"no_workers: 1 job or run: {job_id}" in examined(call)["orphans"]["text"]


def test_large_values_that_are_lost_are_named_and_strays_counted(call: Call, past: Past) -> None:
    """Somebody has cleaned up in the state folder; better to hear it before the job runs."""
    ids = [past.ledger.moves.accept([NewJob("add", "q", '"' + "x" * LARGE + '"')]).wait()[0].id for _ in range(2)]
    assert examined(call)["files"]["text"].startswith("large values in files: 1")
    folder = folder_of(past.ledger.path)
    stray = folder / "01a2014c-7523-70c8-ae41-7a06017a94e7"
    stray.write_text("{}")
    os.utime(stray, (0, 0))
    assert examined(call)["files"]["text"].startswith("1 file that no value has")
    next(path for path in folder.iterdir() if path != stray).unlink()
    found = [check for check in call("doctor", "--json").json["checks"] if check["name"] == "files"]
    assert [check["level"] for check in found] == ["fail", "ok"]
    assert found[0]["text"].startswith("1 large value lost: ")
    assert any(job_id in found[0]["text"] for job_id in ids)


def test_a_token_of_another_ledger_is_told(call: Call, past: Past, site: Site) -> None:
    """After the backup of another site was put back, the file is there and opens nothing."""
    token = site.state / "admin.token"
    token.write_text("mr_of_another_ledger\n")
    token.chmod(0o600)
    check = examined(call)["token"]
    assert (check["level"], "none of this ledger's" in check["text"]) == ("warn", True)
    assert check["repair"].startswith("millrace tokens create")
    row = TokenRow("t1", "first", "admin", None, 0, None, None)
    past.moves.add_token(row, hash_of("mr_of_another_ledger"), actor="cli:ann").wait()
    assert examined(call)["token"]["level"] == "ok"


@pytest.mark.parametrize(
    ("notes", "level", "said"),
    [
        ({}, "ok", "the daemon has made none yet"),
        ({"backup": {"at": 0}}, "ok", "the last is"),
        ({"backup": {"at": -3 * 86_400_000}}, "warn", "the last good backup is"),
        ({"backup": {"at": -10}, "backup_failed": {"at": 0, "reason": "no space"}}, "fail", "failed: no space"),
        ({"backup": {"at": 0}, "restore_test": {"problems": ["a page is torn"]}}, "fail", "a page is torn"),
    ],
)
def test_backups_that_fail_are_told(
    call: Call, past: Past, notes: dict[str, dict[str, Any]], level: str, said: str
) -> None:
    """The day on which one is needed is too late to hear of it."""
    config = past.ledger.path.parents[1] / "config.toml"
    config.write_text(config.read_text() + '\n[backup]\nevery = "1d"\n')
    now_ms = SYSTEM.now_ms()
    for name, note in notes.items():
        past.moves.note(name, json.dumps(note | {"at": now_ms + note["at"]} if "at" in note else note)).wait()
    check = examined(call)["backup"]
    assert (check["level"], said in check["text"]) == (level, True), check


def test_over_a_ledger_that_is_none_no_start_is_advised(call: Call, past: Past, site: Site) -> None:
    """The start would be refused as well."""
    past.ledger.close()
    site.ledger.write_text("no ledger at all, but long enough to be read as one " * 100)
    found = examined(call)
    assert found["ledger"]["level"] == "fail"
    assert (found["daemon"]["level"], found["daemon"]["repair"]) == ("fail", "first see what is said of the ledger")
