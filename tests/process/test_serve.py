"""What stops a daemon from starting, what does not, and what a restart finds."""

from __future__ import annotations

import json
import socket
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import apsw

from tests.process.scratch import until

if TYPE_CHECKING:
    from tests.process.conftest import MakeSite
    from tests.process.scratch import Scratch


def test_a_fresh_site_gets_one_token_that_only_its_owner_reads(site: Scratch) -> None:
    """The key to everything must not lie open, and a restart must not make a second one."""
    daemon = site.serve()
    token = site.state / "admin.token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600
    assert site.ask("GET", "/api/v1/tasks").status_code == 200
    text = token.read_text()
    assert text.strip() not in daemon.text()
    daemon.stop()
    site.serve()
    assert token.read_text() == text
    assert site.ask("GET", "/api/v1/tasks").status_code == 200


def test_the_second_daemon_on_a_ledger_names_the_first_and_ends(site: Scratch) -> None:
    """Two daemons would run each job twice: exit 75, and a person learns which process is in the way."""
    first = site.serve()
    second = site.run("serve", code=75)
    assert f"pid {first.pid}" in second.stderr
    assert str(site.ledger) in second.stderr
    assert "Traceback" not in second.stderr
    job = site.submit("add", a=1, b=2)
    assert site.await_final(job).status == "succeeded", "the first one was disturbed"


def test_a_port_in_use_is_a_matter_of_configuration(site: Scratch) -> None:
    """Systemd must not start it over and over (RestartPreventExitStatus=78); the message says which setting."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", site.port))
        other.listen()
        refused = site.run("serve", code=78)
    assert f'[web] listen = "127.0.0.1:{site.port}"' in refused.stderr
    assert "Traceback" not in refused.stderr
    assert site.serve().stop() == 0, "the failed start left something in the way"


def test_a_bad_setting_is_named_with_its_place(make_site: MakeSite) -> None:
    """Nothing starts half-way: the ledger is not even made."""
    site = make_site(config="[queues.cpu]\nworker = 3\n")
    refused = site.run("serve", code=78)
    assert "config.toml" in refused.stderr
    assert 'Did you mean "workers"?' in refused.stderr
    assert not site.ledger.exists()


def test_a_file_of_another_program_is_left_alone(site: Scratch) -> None:
    """A ledger path that points at somebody else's data must not cost them that data."""
    site.state.mkdir()
    site.ledger.write_text("not a database, but somebody's notes\n" * 100)
    before = site.ledger.read_bytes()
    refused = site.run("serve", code=78)
    assert "Traceback" not in refused.stderr
    assert site.ledger.read_bytes() == before


def test_a_broken_job_file_does_not_stop_the_others(site: Scratch) -> None:
    """One colleague's typing error is not everybody's outage; health says where it is."""
    (site.root / "jobs" / "broken.py").write_text("from millrace import task\n\ndef oops(:\n")
    daemon = site.serve()
    assert site.await_final(site.submit("add", a=2, b=3)).result == "5"
    (told,) = daemon.events("jobs.broken")
    assert told["file"].endswith("broken.py")
    assert told["line"] == 3
    health = site.ask("GET", "/health")
    assert (health.status_code, health.json()["status"]) == (200, "warn")
    assert "broken.py" in json.dumps(health.json()["checks"]["jobs"])
    assert site.ask("GET", "/readyz").status_code == 200


def test_a_missing_jobs_folder_keeps_what_was_accepted(site: Scratch) -> None:
    """A deployment that forgot its jobs loses nothing: what waits for its task runs when the task is back."""
    jobs, away = site.root / "jobs", site.root / "away"
    job = site.submit("add", a=4, b=5)
    jobs.rename(away)
    daemon = site.serve()
    row = site.await_status(job, "waiting")
    assert (row.reason, row.failures) == ("unknown_task", 0)
    health = site.ask("GET", "/health").json()
    assert health["status"] == "warn"
    assert daemon.events("jobs.broken")
    daemon.stop()
    away.rename(jobs)
    site.serve()
    assert site.await_final(job).result == "9"


def test_what_was_submitted_while_it_was_down_runs_when_it_is_up(site: Scratch) -> None:
    """The ledger is the queue: the command line needs no daemon to accept work."""
    early = site.run("submit", "add", "a=1", "b=2").stdout.strip()
    daemon = site.serve()
    assert site.await_final(early).result == "3"
    late = site.run("submit", "add", "a=3", "b=4", "--wait")
    assert late.stdout.strip() == "7"
    assert daemon.alive


def test_a_running_job_is_cancelled_from_the_command_line(site: Scratch) -> None:
    """Cancel means that its process ends, not that a flag is set somewhere."""
    site.serve()
    job = site.submit("hold", name="a")
    site.await_file("a.running-1")
    pid = int((site.root / "a.pid").read_text())
    site.run("jobs", "cancel", job)
    row = site.await_status(job, "cancelled")
    assert row.failures == 0
    until(lambda: not Path(f"/proc/{pid}").exists(), "its process to end")
    assert [attempt.outcome for attempt in site.reads.attempts(job)] == ["stopped"]


def test_a_queued_job_is_cancelled_from_the_command_line(site: Scratch) -> None:
    """It must not start afterwards, also not after a restart."""
    site.serve()
    for number in range(2):  # both workers are busy
        site.submit("hold", name=f"n{number}")
        site.await_file(f"n{number}.running-1")
    waits = [site.submit("hold", name=f"w{number}") for number in range(2)]
    site.run("jobs", "cancel", "--yes", *waits)
    for job in waits:
        site.await_status(job, "cancelled", limit_s=5)
    for number in range(2):
        (site.root / f"n{number}.go").touch()
    after = site.submit("add", a=1, b=1)
    assert site.await_final(after).status == "succeeded"
    assert not list(site.root.glob("w*.running-*"))


def test_a_row_that_vanished_while_no_daemon_ran_is_on_the_screen(make_site: MakeSite) -> None:
    """`status` cannot count a million rows; it tells what the daemon found when it did, and when that is over."""
    site = make_site()
    site.submit("add", a=1, b=2)
    kept = site.submit("add", a=1, b=2)
    connection = apsw.Connection(str(site.ledger))
    (row,) = connection.execute("SELECT * FROM job WHERE id = ?", (kept,)).fetchall()
    connection.execute("DELETE FROM job WHERE id = ?", (kept,))
    daemon = site.serve()
    daemon.await_event("conservation.broken")
    until(lambda: "DIFFERENCE OF 1" in site.run("status").stdout, "the note of it")
    assert daemon.stop() == 0

    connection.execute(f"INSERT INTO job VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608
    connection.close()
    daemon = site.serve()
    until(lambda: "is accounted for" in site.run("status").stdout, "the note of its end")
    assert daemon.stop() == 0


def test_local_time_is_utc_for_all_jobs_wherever_the_daemon_was_started(site: Scratch) -> None:
    """A report that was made in a thread would else bear another date than one that was made in a process."""
    site.serve({"TZ": "America/New_York"})
    for task, queue in (("offset", "default"), ("offset_here", "io")):
        assert site.await_final(site.submit(task, queue=queue)).result == "0.0", task
