"""
Runs the console blocks of a page as its reader would, in one shell, against a scratch copy of the site.

    ```console
    $ command             is run; it must succeed, unless the next command is `echo $?`
    > its next line
    output                must be the command's, see `matches`; no output shown means that it does not matter
    ```

`$ make run` (re)starts the daemon. A block whose info string names a file, as in ```python jobs/greet.py, is saved
there; ```toml +config.toml is appended. Other blocks are for reading.
"""

from __future__ import annotations

import getpass
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import httpx

from millrace.clock import SYSTEM
from millrace.ledger.held import holder

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).resolve().parents[2]
SITE: Final = (
    "config.toml",
    "jobs",
    "systemd",
    "Makefile",
    "pyproject.toml",
    "requirements.lock",
    "requirements-dev.lock",
)
LIMIT_S: Final = 120.0  # of one command; a busy machine may need much of it
SHOWN_ROOT: Final = "/srv/millrace"  # how pages write the folder of their site,
SHOWN_ADDRESS: Final = "127.0.0.1:8420"  # its address
SHOWN_USER: Final = "ada"  # and its user
_BLOCK: Final = re.compile(r"^```(\w*)[ ]?([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SAME: Final = (  # what differs from run to run
    (re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"), "ID"),
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"), "TIME"),
    (re.compile(r"\bpid \d+"), "pid N"),
    (re.compile(r"\bversion \d[\w.]*"), "version N"),
    (re.compile(r"\bnow\b|\bin \S+|\d+[smh] ago"), "WHEN"),
    (re.compile(r"\b\d+(\.\d+)?(ms|s|m\d*s?|h)\b"), "DURATION"),
    (re.compile(r"\s+"), " "),
)


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a page: its text, the output that is shown, and the line of the page where it stands."""

    text: str
    shown: list[str]
    line: int


@dataclass(frozen=True, slots=True)
class Saved:
    """A file that a page has its reader save, or append to."""

    path: str
    text: str
    append: bool


def parts_of(page: Path) -> Iterator[Command | Saved]:
    """Yield what a page has its reader do, in order."""
    text = page.read_text()
    for block in _BLOCK.finditer(text):
        kind, about, body = block.groups()
        if kind == "console":
            yield from _commands(body, text.count("\n", 0, block.start()) + 2)
        elif about:
            yield Saved(about.removeprefix("+"), body, append=about.startswith("+"))


def _commands(body: str, first: int) -> Iterator[Command]:
    command: Command | None = None
    for number, line in enumerate(body.splitlines(), first):
        if line.startswith("$ "):
            if command is not None:
                yield command
            command = Command(line[2:], [], number)
        elif command is not None and line.startswith("> ") and not command.shown:
            command = Command(f"{command.text}\n{line[2:]}", [], command.line)
        elif command is not None:
            command.shown.append(line)
    if command is not None:
        yield command


def matches(shown: list[str], got: list[str]) -> bool:
    """
    Return whether the output shown is the one got: ids, times, durations and blanks aside, "…" standing for anything,
    and a line of its own for any number of lines.
    """
    pattern = "".join(".*" if line == "…" else f"{_any(_plain(line))}\n" for line in _without_blank(shown))
    return re.fullmatch(pattern, "".join(f"{_plain(line)}\n" for line in _without_blank(got)), re.DOTALL) is not None


def _without_blank(lines: list[str]) -> list[str]:
    return [line for line in lines if line.strip()]


def _any(line: str) -> str:
    return "[^\n]*".join(re.escape(part) for part in line.split("…"))


def _plain(line: str) -> str:
    for pattern, word in _SAME:
        line = pattern.sub(word, line)
    return line.strip()


def free_port() -> int:
    """Return a port that nobody uses now."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Reader:
    """Somebody who follows a page: a site, a shell, and a daemon once the page has started one."""

    site: Path
    port: int = field(default_factory=free_port)
    code: int = 0
    _daemon: subprocess.Popen[bytes] | None = None
    _shell: subprocess.Popen[bytes] | None = None

    def __post_init__(self) -> None:
        for name in SITE:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, self.site / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy2(ROOT / name, self.site / name)
        config = self.site / "config.toml"
        config.write_text(config.read_text().replace(SHOWN_ADDRESS, f"127.0.0.1:{self.port}"))
        venv = self.site / ".venv"
        venv.mkdir()
        for name in ("bin", "lib", "pyvenv.cfg"):
            (venv / name).symlink_to(Path(sys.prefix) / name)
        (venv / ".ready").touch()

    def follow(self, part: Command | Saved) -> str | None:
        """Do what a page says next; return what was not as the page has it, None if all was."""
        if isinstance(part, Saved):
            path = self.site / part.path
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a" if part.append else "w") as file:
                file.write(part.text)
            return None
        if part.text == "make run":
            self.restart()
            return None
        got, code = self.run(part.text)
        self.code = code
        if part.shown and not matches(part.shown, got):
            return "prints\n{}\ninstead of\n{}".format("\n".join(got), "\n".join(part.shown))
        return None

    def run(self, text: str) -> tuple[list[str], int]:
        """Run a command in the reader's shell; return its output as the page would show it, and its exit code."""
        shell = self._shell = self._shell or self._open_shell()
        if shell.stdin is None or shell.stdout is None:
            raise RuntimeError("the shell has no pipes")
        mark = "--end-of-command--"
        told = f"{text.replace(SHOWN_ADDRESS, f'127.0.0.1:{self.port}')}\n"
        # The command's own exit code must be there for an `echo $?` that follows.
        shell.stdin.write(f"{told}__code=$?; printf '\\n{mark}%s\\n' $__code; (exit $__code)\n".encode())
        shell.stdin.flush()
        output = _read_until(shell.stdout.fileno(), re.compile(rf"\n{mark}(\d+)\n$"))
        found = re.search(rf"\n{mark}(\d+)\n$", output)
        if found is None:
            raise TimeoutError(f"{text}: not over after {LIMIT_S:g} s, it printed: {output}")
        return self._as_shown(output[: found.start()]).splitlines(), int(found[1])

    def restart(self) -> None:
        """Start the daemon as `make run` does, after ending the one that runs, and wait until it is ready."""
        self._end_daemon()
        with (self.site.parent / "daemon.log").open("ab") as log:
            argv, env = ["make", "run"], _environment()
            self._daemon = subprocess.Popen(argv, cwd=self.site, stdout=log, stderr=log, env=env)
        url = f"http://127.0.0.1:{self.port}/readyz"
        until = SYSTEM.monotonic() + LIMIT_S
        while not _ready(url):
            if SYSTEM.monotonic() > until or self._daemon.poll() is not None:
                raise RuntimeError((self.site.parent / "daemon.log").read_text())
            SYSTEM.wait(threading.Event(), 0.05)

    def close(self) -> None:
        """End the shell and the daemon."""
        if self._shell is not None:
            self._shell.kill()
            self._shell.communicate()
        self._end_daemon()

    def _open_shell(self) -> subprocess.Popen[bytes]:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            ["bash", "--norc", "--noprofile"],  # noqa: S607
            cwd=self.site,
            env=_environment(),
            stdin=pipe,
            stdout=pipe,
            stderr=subprocess.STDOUT,
        )

    def _end_daemon(self) -> None:
        if self._daemon is None:
            return
        until, asked = SYSTEM.monotonic() + LIMIT_S, False
        while self._daemon.poll() is None and SYSTEM.monotonic() < until:
            pid = holder(self.site / "var" / "millrace.db")  # one that is only starting has no lock yet
            if pid and not asked:
                os.kill(pid, signal.SIGTERM)
                asked = True
            SYSTEM.wait(threading.Event(), 0.05)
        self._daemon.wait(0)
        self._daemon = None

    def _as_shown(self, output: str) -> str:
        user = getpass.getuser()
        shown = output.replace(str(self.site), SHOWN_ROOT).replace(f"127.0.0.1:{self.port}", SHOWN_ADDRESS)
        return re.sub(rf"\bcli([: ]){re.escape(user)}\b", rf"cli\1{SHOWN_USER}", shown)


def _environment() -> dict[str, str]:
    return {**{k: v for k, v in os.environ.items() if not k.startswith("MAKE")}, "NO_COLOR": "1", "LC_ALL": "C.UTF-8"}


def _ready(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False


def _read_until(fd: int, end: re.Pattern[str]) -> str:
    data, until = b"", SYSTEM.monotonic() + LIMIT_S
    while not end.search(text := data.decode(errors="replace")):
        ready, _, _ = select.select([fd], [], [], max(0.0, until - SYSTEM.monotonic()))
        piece = os.read(fd, 65536) if ready else b""
        if not piece:
            break
        data += piece
    return text
