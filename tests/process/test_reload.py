"""New settings under a daemon that runs, as systemd, an editor and `millrace reload` ask for them."""

from __future__ import annotations

import json
import os
import pty
import signal
from typing import TYPE_CHECKING

from millrace.clock import SYSTEM, parse_time
from tests.process.scratch import until
from tests.process.test_daemon import Manager, manager

if TYPE_CHECKING:
    from tests.process.conftest import MakeSite
    from tests.process.scratch import Scratch, Served

__all__ = ["manager"]
PLACE = '[settings.greeting]\nword = "{}"\n'


def rewrite(site: Scratch, old: str, new: str) -> None:
    """Change config.toml as an editor does: a new file in place of the old one."""
    text = site.config.read_text()
    assert old in text
    fresh = site.config.with_suffix(".new")
    fresh.write_text(text.replace(old, new))
    fresh.replace(site.config)


def greeted(site: Scratch) -> str:
    """Return what a new job finds in its settings."""
    job = site.await_final(site.submit("greeting"))
    assert job.result is not None, job.error
    return str(json.loads(job.result))


def awaits(daemon: Served, name: str, count: int = 1) -> dict[str, object]:
    """Wait for the so many-th event of a name."""
    until(lambda: len(daemon.events(name)) >= count or not daemon.alive, name)
    return daemon.events(name)[count - 1]


def test_hup_lets_new_settings_hold_for_the_next_job(make_site: MakeSite, manager: Manager) -> None:
    """A threshold is changed in the middle of the day, and nothing is interrupted for it."""
    site = make_site(config=PLACE.format("Hello"))
    daemon = site.launch(manager.environ)
    manager.hears_of("READY")
    assert greeted(site) == "Hello"

    rewrite(site, "Hello", "Good morning")
    daemon.signal(signal.SIGHUP)

    assert int(manager.hears_of("RELOADING")["MONOTONIC_USEC"]) > 0
    assert manager.hears_of("READY")["READY"] == "1"
    assert awaits(daemon, "settings.reloaded")["applied"] == "settings.greeting.word"
    assert greeted(site) == "Good morning"
    assert [row.action for row in site.reads.audit()] == ["token.create", "settings.start", "settings.reload"]


def test_settings_that_were_changed_while_the_daemon_was_down_are_in_the_audit_log(make_site: MakeSite) -> None:
    """Who asks later which settings held on a day finds each change, and no row for a start that changed nothing."""
    site = make_site(config=PLACE.format("Hello"))
    for word in ("Hello", "Hello", "Good night"):
        rewrite(site, "Hello", word)
        assert site.serve().stop() == 0
    first, second = (row for row in site.reads.audit() if row.action != "token.create")
    assert (first.action, second.action) == ("settings.start", "settings.start")
    before, after = json.loads(first.facts), json.loads(second.facts)
    assert before["before"] is None
    assert after["before"] == before["version"] != after["version"]


def test_a_changed_file_is_read_without_being_asked(make_site: MakeSite) -> None:
    """Whoever saves the file expects it to hold."""
    site = make_site(config=PLACE.format("Hello"))
    daemon = site.serve()
    rewrite(site, "Hello", "Good evening")
    assert awaits(daemon, "settings.reloaded")["why"] == "config.toml was changed"
    assert greeted(site) == "Good evening"


def test_a_file_that_is_wrong_changes_nothing_and_is_told_once(make_site: MakeSite) -> None:
    """All or nothing: half a file would be worse than the old one."""
    site = make_site(config=PLACE.format("Hello"))
    daemon = site.serve()
    rewrite(site, 'word = "Hello"', 'word = "Bonjour"\n[defaults.extra]\nretires = 3')
    refused = awaits(daemon, "settings.refused")
    assert "config.toml" in str(refused["reason"])
    assert "retires" in str(refused["reason"]) or "extra" in str(refused["reason"])
    assert greeted(site) == "Hello"
    daemon.signal(signal.SIGUSR1)  # a turn of the main loop goes by
    awaits(daemon, "daemon.state")
    assert len(daemon.events("settings.refused")) == 1


def test_reload_tells_what_holds_and_what_waits(make_site: MakeSite) -> None:
    """A port cannot change under those who are connected to it; nobody shall believe that it did."""
    site = make_site(config=PLACE.format("Hello"))
    daemon = site.serve()
    (site.root / "jobs" / "late.py").write_text("")
    rewrite(site, "workers = 2", "workers = 1\nmax_workers = 2\n[settings.other]\nx = 1")
    done = site.run("reload", code=None)
    assert done.returncode == 0, done.stderr
    assert "settings.other  holds now" in done.stdout
    assert "queues.io.workers  holds now" in done.stdout
    assert "jobs/late.py  was changed; its code is read at the next start" in done.stdout
    assert daemon.alive


def test_reload_of_a_wrong_file_says_where_and_asks_nobody(make_site: MakeSite) -> None:
    """Exit 78, the line and the reason, and a daemon that goes on."""
    site = make_site()
    daemon = site.serve()
    rewrite(site, "workers = 2", "workers = 0")
    done = site.run("reload", code=None)
    assert done.returncode == 78
    assert "queues.io.workers" in done.stderr
    assert "the daemon goes on with the old settings" in done.stderr
    assert daemon.alive


def test_reload_answers_for_this_moment_and_this_daemon(make_site: MakeSite) -> None:
    """A job file that was changed just now is named, and code that a restart has read is not called unread."""
    site = make_site(config=PLACE.format("Hello"))
    daemon = site.serve()
    rewrite(site, "Hello", "Good morning")
    awaits(daemon, "settings.reloaded")  # by itself
    (site.root / "jobs" / "late.py").write_text("")
    seen = json.loads(site.run("reload", "--json").stdout)
    assert (seen["applied"], seen["jobs_changed"]) == (["settings.greeting.word"], ["jobs/late.py"])
    assert parse_time(seen["at"]) <= SYSTEM.now_ms()
    assert json.loads(site.run("reload", "--json").stdout)["applied"] == [], "it was told"

    daemon.stop()
    site.serve()
    done = site.run("reload")
    assert (done.stdout, done.stderr) == ("", "The settings are as they were.\n")


def test_what_a_daemon_applied_before_this_one_is_no_answer(make_site: MakeSite) -> None:
    """The file is as it was then, and yet it was read at the start."""
    site = make_site(config=PLACE.format("Hello"))
    daemon = site.serve()
    rewrite(site, "Hello", "Good morning")
    awaits(daemon, "settings.reloaded")
    daemon.stop()
    site.serve()
    assert json.loads(site.run("reload", "--json").stdout)["applied"] == []


def test_the_address_is_the_one_that_is_served(site: Scratch) -> None:
    """Whoever opens the one of config.toml would find nobody there until the next start."""
    daemon = site.serve()
    served = f"127.0.0.1:{site.port}"
    rewrite(site, served, "127.0.0.1:1")
    assert "web.listen  holds after the next start" in site.run("reload").stdout
    later = "config.toml says 127.0.0.1:1, from the next start on"
    shown = site.run("status").stdout
    assert f"http://{served}\n         {later}\n" in shown
    facts = json.loads(site.run("status", "--json").stdout)
    assert (facts["listen"], facts["listen_later"]) == (served, "127.0.0.1:1")
    checks = [one for one in json.loads(site.run("doctor", "--json").stdout)["checks"] if one["name"] == "listen"]
    assert [(one["level"], one["text"]) for one in checks] == [
        ("ok", f"{served}, for this machine only"),
        ("warn", later),
    ]
    rewrite(site, "127.0.0.1:1", served)
    assert later not in site.run("status").stdout
    rewrite(site, served, "127.0.0.1:1")
    daemon.stop()
    assert json.loads(site.run("status", "--json", code=3).stdout)["listen"] == "127.0.0.1:1"


def test_reload_without_a_daemon_says_so(site: Scratch) -> None:
    """Exit 3, as `status` has it."""
    done = site.run("reload", code=None)
    assert done.returncode == 3
    assert "the daemon is not running" in done.stderr


def test_usr1_writes_the_state_into_the_log(site: Scratch) -> None:
    """What does it do right now? Without stopping it."""
    daemon = site.serve()
    job = site.submit("hold", name="a")
    site.await_file("a.running-1")
    daemon.signal(signal.SIGUSR1)
    state = awaits(daemon, "daemon.state")
    assert f"{job} hold" in str(state["running"])
    assert "ledger-writer" in str(state["threads"])
    (site.root / "a.go").touch()


def test_quit_writes_the_stacks_and_goes_on(site: Scratch) -> None:
    """For a daemon that seems to hang, while it hangs."""
    daemon = site.serve()
    daemon.signal(signal.SIGQUIT)
    until(lambda: "Current thread" in daemon.text() or not daemon.alive, "the stacks")
    assert "most recent call first" in daemon.text()
    assert site.await_final(site.submit("add", a=1, b=2)).status == "succeeded"
    assert daemon.alive


def test_a_closed_terminal_ends_what_was_started_in_it(site: Scratch) -> None:
    """`make run` in a window that is closed must not go on unseen and keep the ledger."""
    ours, theirs = pty.openpty()
    daemon = site.launch({}, stdin=theirs)
    os.close(theirs)
    daemon.await_event("daemon.started")
    os.close(ours)
    daemon.signal(signal.SIGHUP)
    assert daemon.end() == 0
    assert [line["why"] for line in daemon.events("daemon.stopping")] == ["SIGHUP"]
