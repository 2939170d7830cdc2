"""A scratch site and the real daemon on it, as a process of its own, driven from outside: signals, files, HTTP, CLI."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx

from millrace.clock import SYSTEM
from millrace.ledger.held import holder
from millrace.ledger.ledger import Ledger
from millrace.ledger.reads import Reads
from millrace.ledger.rows import NewJob
from millrace.ledger.states import FINAL
from millrace.ledger.wake import poke

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from millrace.ledger.rows import JobRow

LIMIT_S = 60.0  # a bound, not a measure: a busy machine takes a while to start an interpreter
PROC = Path("/proc")


def until(condition: Callable[[], object], what: str | Callable[[], str], limit_s: float = LIMIT_S) -> None:
    """Look every few milliseconds until a condition holds; raise, and say for what, after the limit."""
    end = SYSTEM.monotonic() + limit_s
    while not condition():
        if SYSTEM.monotonic() > end:
            raise AssertionError(f"waited {limit_s:g} s in vain: {what if isinstance(what, str) else what()}")
        SYSTEM.wait(threading.Event(), 0.01)


def free_port() -> int:
    """Return a port of loopback on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Served:
    """A daemon that was started."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def text(self) -> str:
        """Return all that it has written on stderr."""
        return self._log.read_text(errors="replace")

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the lines of its log that carry an event."""
        lines = [json.loads(line) for line in self.text().splitlines() if line.startswith("{") and line.endswith("}")]
        return [line for line in lines if line["event"] == name]

    def await_event(self, name: str, limit_s: float = LIMIT_S) -> dict[str, Any]:
        """Wait for a line of its log; a daemon that ends instead fails the test with what it said."""
        until(lambda: self.events(name) or not self.alive, f"{name} of the daemon", limit_s)
        found = self.events(name)
        assert found, f"the daemon ended with {self.process.returncode} before {name}:\n{self.text()}"
        return found[0]

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self, limit_s: float = LIMIT_S) -> int:
        """Wait for its end; return the exit code."""
        return self.process.wait(limit_s)

    def stop(self, limit_s: float = LIMIT_S) -> int:
        """TERM it and return its exit code."""
        self.signal(signal.SIGTERM)
        return self.end(limit_s)

    def kill(self) -> None:
        """End it as a crash does."""
        self.process.kill()
        self.process.wait()


class Scratch:
    """
    A site in a folder of its own.

    Args:
        root: The folder; made now.
        jobs: Files that become its job modules.
        config: Text of config.toml, after its [web] section.
    """

    def __init__(self, root: Path, jobs: Sequence[Path], config: str = "") -> None:
        self.root = root
        (root / "jobs").mkdir(parents=True)
        for file in jobs:
            shutil.copy(file, root / "jobs" / file.name)
        self.config = root / "config.toml"
        self.configure(config)
        self.state = root / "var"
        self.ledger = self.state / "millrace.db"
        self.daemons: list[Served] = []
        self._reads: Reads | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        for daemon in self.daemons:
            if daemon.alive:
                daemon.signal(signal.SIGCONT)
                daemon.kill()
        self.forget_reads()

    def configure(self, config: str) -> None:
        """Write config.toml anew, with a free port."""
        self.port = free_port()
        self.config.write_text(f'[web]\nlisten = "127.0.0.1:{self.port}"\n{config}')

    # ---- the daemon and the command line

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "millrace.cli.main", "-c", str(self.config), *words]

    def launch(
        self,
        environ: Mapping[str, str] | None = None,
        stdin: int = subprocess.DEVNULL,
        before: Sequence[str] = (),
        log: Path | None = None,
    ) -> Served:
        """
        Start a daemon and do not wait for it.

        Args:
            before: Words before its command, which must exec it.
            log: Where its log goes; a file of the site's folder when None.
        """
        log = log or self.root / f"daemon-{len(self.daemons)}.log"
        with log.open("wb") as stderr:
            process = subprocess.Popen(
                [*before, *self.argv("serve")],
                cwd=self.root,
                env={**os.environ, **(environ or {})},
                stdin=stdin,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
            )
        self.daemons.append(Served(process, log))
        return self.daemons[-1]

    def serve(self, environ: Mapping[str, str] | None = None, log: Path | None = None) -> Served:
        """Start a daemon and wait until it serves."""
        daemon = self.launch(environ, log=log)
        daemon.await_event("daemon.started")
        return daemon

    def run(self, *words: str, code: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; `code` is the exit code that it must have."""
        done = subprocess.run(self.argv(*words), cwd=self.root, capture_output=True, text=True, timeout=60, check=False)
        assert code is None or done.returncode == code, f"{words}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    # ---- HTTP

    def ask(self, method: str, path: str, *, timeout_s: float = 60.0, **given: Any) -> httpx.Response:
        """Send one request with the site's admin token."""
        with self.client(timeout_s) as client:
            return client.request(method, path, **given)

    def client(self, timeout_s: float = 60.0) -> httpx.Client:
        """Return a client with the site's admin token; the caller closes it."""
        token = (self.state / "admin.token").read_text().strip()
        return httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}",
            headers={"Authorization": f"Bearer {token}"},
            timeout=timeout_s,
            trust_env=False,
        )

    # ---- the ledger

    @property
    def reads(self) -> Reads:
        """The ledger, read by this process."""
        if self._reads is None:
            self._reads = Reads.open(self.ledger)
        return self._reads

    def forget_reads(self) -> None:
        """Close the file, before another one takes its place."""
        if self._reads is not None:
            self._reads.close()
        self._reads = None

    def put(self, *jobs: NewJob) -> list[str]:
        """Accept jobs as a command does: straight into the file; then wake the daemon, if one runs."""
        with Ledger(self.ledger) as ledger:
            ids = [accepted.id for accepted in ledger.moves.accept(jobs).wait(LIMIT_S)]
        poke(self.state)
        return ids

    def submit(self, task: str, *, queue: str = "default", retries: int = 3, **payload: Any) -> str:
        """Accept one job and return its id."""
        text = json.dumps(payload, sort_keys=True, separators=(",", ":"))
        return self.put(NewJob(task, queue, text, max_attempts=retries + 1))[0]

    def await_status(self, job_id: str, status: str, limit_s: float = LIMIT_S) -> JobRow:
        """Wait until a job has a status; return it."""
        until(lambda: self.reads.job(job_id).status == status, f"{job_id} to be {status}", limit_s)
        return self.reads.job(job_id)

    def await_final(self, job_id: str, limit_s: float = LIMIT_S) -> JobRow:
        """Wait until a job is over; return it."""
        until(lambda: self.reads.job(job_id).status in FINAL, f"{job_id} to be over", limit_s)
        return self.reads.job(job_id)

    def await_file(self, name: str, limit_s: float = LIMIT_S) -> Path:
        """Wait until a job has made a file in the site's folder."""
        path = self.root / name
        until(path.exists, f"the file {name}", limit_s)
        return path

    def holder(self) -> int | None:
        """Return the pid of the daemon that has the lock."""
        return holder(self.ledger)

    def marked(self) -> list[int]:
        """Return the pids of processes that carry the ledger's mark: children, and what descends from them."""
        mark = f"MILLRACE_LEDGER={self.reads.ledger_id()}".encode()
        found = []
        for entry in PROC.iterdir():
            if entry.name.isdigit():
                try:
                    environ = (entry / "environ").read_bytes().split(b"\0")
                except OSError:  # it has gone meanwhile
                    continue
                found += [int(entry.name)] if mark in environ else []
        return found
