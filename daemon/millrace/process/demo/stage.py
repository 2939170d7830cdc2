"""The scratch site that a demo plays on, with a real daemon that can be killed and started again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Final, Self

from millrace.errors import MillraceError
from millrace.ledger.reads import Reads
from millrace.process.demo import invitations

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from millrace.clock import Clock

LIMIT_S: Final = 60.0
STOP_S: Final = 20.0
CALLERS: Final = 4
_LOOK_S: Final = 0.01
_TETHER: Final = "millrace.process.demo.tether"
_SHOWN: Final = 5
# What tells a daemon where its site is, who watches it, and what it holds: this one's is another site.
_FOREIGN: Final = ("MILLRACE_", "WATCHDOG_", "LISTEN_", "NOTIFY_", "CREDENTIALS_", "STATE_DIRECTORY")
_CONFIG: Final = f"""\
# The site of a `millrace demo`, in a folder of its own.

[site]
name = "Demo"

[web]
listen = "127.0.0.1:0"      # any port that is free

[defaults]
backoff = "100ms..1s"

[queues.default]
workers = 2

[queues.io]
kind = "thread"
workers = {CALLERS}
max_workers = {CALLERS}
"""


class Stage:
    """
    A site in a temporary folder; it is removed at the end, and its daemon ended before.

    Args:
        program: The command line of Millrace itself, before its options.
        keep: Whether the folder stays.
        interrupted: Whether somebody has asked for the end. It is looked at between two steps: whoever is stopped
            while a process begins does not know of it, cannot end it, and leaves it at work in a folder that goes.
    """

    def __init__(
        self, program: Sequence[str], *, keep: bool, clock: Clock, interrupted: Callable[[], bool] = bool
    ) -> None:
        self._program = program
        self._keep = keep
        self._clock = clock
        self._interrupted = interrupted
        self._daemon: subprocess.Popen[bytes] | None = None
        self._reads: Reads | None = None
        self._starts = 0
        try:
            self.folder = Path(mkdtemp(prefix="millrace-demo-"))
        except OSError as error:
            raise MillraceError(f"there is no place for the demo's site ({error}): set TMPDIR to one") from error
        self.config = self.folder / "config.toml"

    def __enter__(self) -> Self:
        self.config.write_text(_CONFIG)
        jobs = self.folder / "jobs"
        jobs.mkdir()
        shutil.copy(str(invitations.__file__), jobs)
        return self

    def __exit__(self, *_error: object) -> None:
        if self._daemon is not None and self._daemon.poll() is None:
            self.stop()
        if self._reads is not None:
            self._reads.close()
        if not self._keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def reads(self) -> Reads:
        """Looks at the ledger."""
        if self._reads is None:
            self._reads = Reads.open(self.folder / "var" / "millrace.db")
        return self._reads

    def serve(self) -> int:
        """
        Start the daemon; return its pid once it serves.

        Raises: MillraceError with what it said, if it ends instead.
        """
        self._starts += 1
        argv = [sys.executable, "-m", _TETHER, str(os.getpid()), *self._program, "-c", str(self.config), "serve"]
        with self._log.open("wb") as log:
            # Not of our session: a Ctrl-C at the terminal ends the demo, which then ends the daemon in order.
            self._daemon = subprocess.Popen(
                argv,
                cwd=self.folder,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.until(self._serves, "the daemon to serve")
        return self._daemon.pid

    def kill(self) -> None:
        """End the daemon as a crash does; nothing is left for it to do or to say."""
        if self._daemon is not None:
            self._daemon.kill()
            self._daemon.wait()
            self._daemon = None

    def stop(self) -> None:
        """End the daemon in order, and if it does not end, by force."""
        if self._daemon is None:
            return
        self._daemon.terminate()
        try:
            self._daemon.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def command(self, *words: str) -> str:
        """
        Call the command line on this site; return what it prints.

        Raises: MillraceError with what it said, if it fails; KeyboardInterrupt once it has ended.
        """
        done = subprocess.run(
            [*self._program, "-c", str(self.config), *words],
            cwd=self.folder,
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        self._heed()
        if done.returncode:
            raise MillraceError(f"millrace {words[0]} failed in the demo's own site: {done.stderr.strip()}")
        return done.stdout

    def until(self, condition: Callable[[], object], what: str, limit_s: float = LIMIT_S) -> None:
        """
        Wait until something holds, or the daemon has ended.

        Raises: MillraceError if it does not in time, or if the daemon ends first; KeyboardInterrupt.
        """
        end = self._clock.monotonic() + limit_s
        while not condition():
            self._heed()
            if self._daemon is not None and self._daemon.poll() is not None:
                raise MillraceError(
                    f"the demo's daemon ended by itself (exit {self._daemon.returncode}):\n{self._said}"
                )
            if self._clock.monotonic() > end:
                raise MillraceError(f"waited {limit_s:g}s in vain for {what}; the demo's daemon said:\n{self._said}")
            self._clock.wait(threading.Event(), _LOOK_S)

    def _heed(self) -> None:
        if self._interrupted():
            raise KeyboardInterrupt

    @property
    def _log(self) -> Path:
        return self.folder / f"daemon-{self._starts}.log"

    @property
    def _said(self) -> str:
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-_SHOWN:])

    def _serves(self) -> bool:
        lines = self._log.read_text(errors="replace").splitlines(keepends=True)
        whole = [line for line in lines if line.startswith("{") and line.endswith("}\n")]
        return any(json.loads(line)["event"] == "daemon.started" for line in whole)


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
