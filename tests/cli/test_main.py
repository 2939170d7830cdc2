from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import millrace

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Done, Past, Site
    from tests.conftest import Until


def test_the_version_is_that_of_the_package(call: Callable[..., Done]) -> None:
    """What a report of a bug begins with."""
    assert call("--version").out == f"millrace {millrace.__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["sbmit"], 'there is no command "sbmit". Did you mean "submit"?'),
        (["jobs", "lst"], "No such command"),
        (["jobs", "list", "--stauts", "dead"], "--status"),
        (["jobs", "list", "--status", "deaf"], "'dead'"),
        (["jobs", "list", "--limit", "0"], "1<=x<=1000"),
        (["jobs", "list", "--since", "tomorrow"], '"tomorrow" is neither a duration such as "2h" nor a time'),
        (["jobs", "show"], "Missing argument 'ID'"),
    ],
)
def test_a_mistake_in_the_words_is_one_line_and_exit_2(call: Callable[..., Done], words: list[str], said: str) -> None:
    """One line says what is wrong and where to read on; a page of usage would hide it."""
    done = call(*words)
    assert done.code == 2
    assert done.out == ""
    assert said in done.err
    assert done.err.startswith("millrace: ")
    assert done.err.count("\n") == 1
    assert "--help)" in done.err


def test_a_group_by_itself_is_answered_with_its_help(call: Callable[..., Done]) -> None:
    """Whoever types `millrace jobs` wants to know what there is; the page is theirs, without a word around it."""
    done = call("jobs")
    assert (done.code, done.out) == (2, "")
    assert done.err.rstrip("\n") == call("jobs", "--help").out.rstrip("\n")


def test_a_named_config_that_is_missing_is_exit_78(site: Site) -> None:
    """Falling back to another site would be worse than an error."""
    done = site.process("-c", "elsewhere.toml", "status")
    assert done.code == 78
    assert done.err == "millrace: elsewhere.toml: no such file (named by -c)\n"


def in_folder(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Call the command line in a folder, without a word about the site."""
    folder.mkdir(exist_ok=True)
    path = str(Path(__file__).resolve().parents[2] / "daemon")
    argv = [sys.executable, "-m", "millrace.cli.main", *words]
    environ = {"PATH": "/usr/bin:/bin", "PYTHONPATH": path}
    return subprocess.run(argv, cwd=folder, env=environ, capture_output=True, text=True, check=False, timeout=60)


def test_a_folder_without_a_site_is_named(tmp_path: Path, call: Callable[..., Done]) -> None:
    """In the wrong folder, "the daemon is not running" would send somebody to start a second one."""
    nowhere = tmp_path / "nowhere"
    done = in_folder(nowhere, "status")
    assert done.returncode == 3
    assert done.stderr.startswith(f"There is no site in {nowhere}, and no /etc/millrace/")
    assert "There is no site" not in call("status").err


@pytest.mark.parametrize(
    "words",
    [
        "serve",
        "submit report month=2026-01",
        "run leads",
        "jobs retry 01",
        "runs cancel 01",
        "dead retry --all --yes",
        "queues pause default",
        "schedules pause nightly",
        "backfill nightly --from 2026-01-01 --to 2026-01-02",
        "tokens create ann",
        "effects settle x --done",
        "backup all.tar.gz",
        "prune --yes",
        "reload",
        "config check",
    ],
)
def test_what_would_write_refuses_where_no_site_is(tmp_path: Path, words: str) -> None:
    """In the wrong folder it would make a second ledger there, and what was submitted would wait for ever."""
    nowhere = tmp_path / "nowhere"
    done = in_folder(nowhere, *words.split())
    assert done.returncode == 78
    assert done.stderr.startswith(f"millrace: {nowhere} has no config.toml")
    assert "millrace init DIR" in done.stderr
    assert "-c FILE" in done.stderr
    assert list(nowhere.iterdir()) == []


def test_a_ledger_that_is_none_is_exit_78(site: Site, call: Callable[..., Done]) -> None:
    """A file of something else must neither be read as empty nor be overwritten."""
    site.state.mkdir()
    site.ledger.write_bytes(b"these are not the jobs that you are looking for" * 100)
    for words in (["jobs", "list"], ["submit", "add", "left=1"], ["queues", "pause", "io"]):
        done = call(*words)
        assert done.code == 78, words
        assert "Traceback" not in done.err
    assert site.ledger.read_bytes().startswith(b"these are")


def test_a_reader_that_goes_away_is_no_error_to_speak_of(site: Site, past: Past) -> None:
    """`millrace jobs list | head` must not end in a traceback."""
    for _ in range(300):
        past.job()
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        site.argv("jobs", "list", "--limit", "300"), stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize("words", ["--help", "submit --help", "jobs list --limit 5", "export jobs"])
def test_a_reader_that_is_gone_before_a_short_answer_is_none_either(site: Site, past: Past, words: str) -> None:
    """What stays in the buffer until the end meets the closed pipe there; `--help | true` never comes to a command."""
    past.job()
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(site.argv(*words.split()), stdout=writer, stderr=subprocess.PIPE, timeout=60, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (141, b"")


def test_an_interrupt_is_exit_130(site: Site, past: Past, until: Until) -> None:
    """Ctrl-C in a wait ends the wait, and shells know it by this code."""
    job_id = past.job()
    waiting = subprocess.Popen(
        site.interruptible("jobs", "wait", job_id), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert waiting.stderr is not None
    assert b"daemon is not running" in waiting.stderr.readline()
    waiting.send_signal(signal.SIGINT)
    _, err = waiting.communicate(timeout=20)
    assert waiting.returncode == 130
    assert b"Traceback" not in err


CTRL_C = b"\x03"


def on_a_terminal(site: Site, *words: str, answer: bytes = b"", **environ: str) -> tuple[int, str]:
    """Call the command line on a pseudo-terminal of 80 columns."""
    ours, theirs = pty.openpty()
    env = {**os.environ, "TERM": "xterm", "COLUMNS": "80", **environ}
    process = subprocess.Popen(site.interruptible(*words), stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    seen = b""
    if answer == CTRL_C:
        while b"[y/N]" not in seen:
            seen += os.read(ours, 4096)
        for _ in range(10):  # one that comes right before the read begins does not wake it
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(2)
                break
    else:
        with suppress(OSError):  # it may have ended
            os.write(ours, answer)
    try:
        while piece := os.read(ours, 4096):
            seen += piece
    except OSError:  # the other end was closed
        pass
    os.close(ours)
    return process.wait(20), seen.decode().replace("\r\n", "\n")


def test_a_terminal_gets_colors_and_lines_that_fit(site: Site, past: Past) -> None:
    """What people look at fits their window."""
    past.dead(task="a-task-with-a-name-that-is-far-too-long-for-one-line-of-a-table", message="a long story " * 30)
    for words in (["jobs", "list"], ["dead", "list"], ["status"]):
        _, seen = on_a_terminal(site, *words)
        assert "\x1b[" in seen
        _, plain = on_a_terminal(site, *words, NO_COLOR="1")
        assert "\x1b[" not in plain
        lines = [
            line for line in plain.splitlines() if str(site.ledger) not in line
        ]  # a path is worth nothing shortened
        assert max(map(len, lines)) <= 80, words
        assert "…" in plain


def test_what_a_job_says_cannot_write_to_the_terminal(site: Site, past: Past) -> None:
    """Messages come from outside; an escape sequence could recolor the screen, or hide what happened."""
    job_id = past.dead(message="\x1b]0;owned\x07\x1b[2Jgone", payload='{"left":"\x9b31m"}')
    for words in (["jobs", "show", job_id], ["dead", "list"], ["status"], ["jobs", "wait", job_id]):
        done = site.process(*words)
        assert "gone" in done.out + done.err
        assert not [character for character in done.out + done.err if ord(character) in (0x1B, 0x07, 0x9B)]


def test_a_question_is_asked_and_no_means_no(site: Site, past: Past) -> None:
    """Deciding about several jobs takes a yes."""
    ids = [past.dead(), past.dead()]
    code, seen = on_a_terminal(site, "dead", "discard", "--all", answer=b"n\n")
    assert code == 1
    assert "Discard 2 dead letters?" in seen
    assert "nothing was changed" in seen
    code, seen = on_a_terminal(site, "dead", "discard", "--all", answer=CTRL_C)
    assert code == 130, seen
    assert {past.ledger.reads.job(job_id).status for job_id in ids} == {"dead"}

    code, seen = on_a_terminal(site, "dead", "discard", "--all", answer=b"y\n")
    assert code == 0
    assert {past.ledger.reads.job(job_id).status for job_id in ids} == {"cancelled"}


@pytest.mark.parametrize(
    "words",
    [
        "jobs list",
        "jobs list --json",
        "dead list",
        "runs list",
        "runs list --json",
        "effects list",
        "status",
        "queues list",
    ],
)
def test_every_list_refuses_where_the_ledger_is_gone(call: Callable[..., Done], site: Site, words: str) -> None:
    """An empty list would be read as: nothing was ever submitted. The file is gone."""
    site.open().close()
    site.ledger.unlink()
    done = call(*words.split())
    assert (done.code, done.out) == (78, "")
    assert "is gone: it was made here before" in done.err
    site.ledger.with_name("millrace.db.made").unlink()
    assert call("jobs", "list").code == call("dead", "list").code == call("runs", "list").code == 0
