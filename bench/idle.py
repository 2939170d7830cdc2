"""
Idle: what a daemon costs that has nothing to do, and how soon it and its commands answer. It is `millrace serve` on the
repository's own site, with a state folder and a port of its own.

Memory is PSS (shared pages count in proportion): what the daemon takes from a machine on which nothing else shares
them. A lonely daemon is the strict case, so measure with no other Python of the same build around.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Final, NamedTuple

import psutil
from figure import ROUNDS, Figure, main
from scratch import REPOSITORY, folder

from millrace.clock import SYSTEM

if TYPE_CHECKING:
    from collections.abc import Iterator

MILLRACE: Final = str(Path(sys.executable).with_name("millrace"))
CONFIG: Final = str(REPOSITORY / "config.toml")
LIMIT_S: Final = 30.0
SETTLE_S: Final = 5.0
WATCH_S: Final = 20.0
QUICK_WATCH_S: Final = 5.0
CHILD_IDLE_S: Final = 2.0
WORK: Final = 200
COMMANDS: Final = 7
LEAD: Final = '{"prospect_id": "p1", "lead_source": "reference", "total_visits": 4, "total_time": 900}'
MB: Final = 1_000_000
TARGETS: Final = {"pss_mb": 90.0, "cpu": 0.01, "ready_s": 1.5, "help_ms": 150.0, "status_ms": 250.0}
_NEVER: Final = threading.Event()


class Served(NamedTuple):
    """A daemon that said READY: its process, and the seconds from its start until then."""

    process: psutil.Process
    ready_s: float


def environment(place: Path) -> dict[str, str]:
    """Return the variables under which the repository's site has its state in `place`."""
    ours = {
        "MILLRACE_SITE__STATE": str(place),
        "MILLRACE_WEB__LISTEN": f"127.0.0.1:{_free_port()}",
        "MILLRACE_DEFAULTS__CHILD_IDLE": f"{CHILD_IDLE_S:g}s",
    }
    return {**os.environ, **ours}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def served(place: Path, variables: dict[str, str], config: str = CONFIG) -> Iterator[Served]:
    """Start the daemon of a site as systemd does, wait for its READY, and stop it afterwards."""
    address = place / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, (place / "log").open("ab") as log:
        manager.bind(str(address))
        manager.settimeout(LIMIT_S)
        began = perf_counter()
        process = subprocess.Popen(
            [MILLRACE, "-c", config, "serve"],
            env={**variables, "NOTIFY_SOCKET": str(address)},
            stderr=log,
            cwd=REPOSITORY,
        )
        try:
            while b"READY=1" not in manager.recv(4096):
                pass
            yield Served(psutil.Process(process.pid), perf_counter() - began)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(LIMIT_S)
            address.unlink()


def pss_mb(pid: int) -> float:
    """Return the proportional memory of a process in MB."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024 / MB
    raise RuntimeError(f"no Pss of process {pid}")


def cpu_share(process: psutil.Process, watch_s: float) -> float:
    """Return the share of one processor that a process takes."""
    before, began = process.cpu_times(), monotonic()
    SYSTEM.wait(_NEVER, watch_s)
    after = process.cpu_times()
    return float(after.user + after.system - before.user - before.system) / (monotonic() - began)


def work(served_by: Served, place: Path, variables: dict[str, str]) -> int:
    """Have some jobs done in children, and wait until those are gone; return how many processes are left."""
    lines = place / "leads.jsonl"
    lines.write_text(f"{LEAD}\n" * WORK, encoding="utf-8")
    _run("submit", "lead_score", "--lines", str(lines), variables=variables)
    _run("submit", "lead_score", "--payload", LEAD, "--wait", "--timeout", "30s", variables=variables)
    until = monotonic() + LIMIT_S
    while served_by.process.children(recursive=True) and monotonic() < until:
        SYSTEM.wait(_NEVER, 0.1)
    return len(served_by.process.children(recursive=True))


def command_ms(*words: str, variables: dict[str, str]) -> float:
    """Return the median milliseconds of a command, from its start to its end."""
    took = []
    for _ in range(COMMANDS + 1):
        began = perf_counter()
        _run(*words, variables=variables)
        took.append((perf_counter() - began) * 1000)
    return median(took[1:])


def _run(*words: str, variables: dict[str, str]) -> None:
    argv = [MILLRACE, "-c", CONFIG, *words]
    done = subprocess.run(argv, env=variables, capture_output=True, check=False, timeout=LIMIT_S, cwd=REPOSITORY)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)}: exit {done.returncode}\n{done.stderr.decode()[-1000:]}")


def figures(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one option that all scripts have
    """Return what an idle daemon costs."""
    with folder() as place:
        variables = environment(place)
        starts = []
        for _ in range(2 if quick else ROUNDS):
            with served(place, variables) as running:
                starts.append(running.ready_s)
        with served(place, variables) as running:
            SYSTEM.wait(_NEVER, SETTLE_S)
            pid = running.process.pid
            fresh, helpers = pss_mb(pid), len(running.process.children(recursive=True))
            cpu = cpu_share(running.process, QUICK_WATCH_S if quick else WATCH_S)
            status = command_ms("status", variables=variables)
            left = work(running, place, variables)
            worked = pss_mb(pid)
        usage = command_ms("--help", variables=variables)
    return [
        _figure("memory (PSS) of the idle daemon", "pss_mb", fresh, "{:.1f} MB", "< {:g} MB"),
        _figure(f"the same after {WORK} jobs in children", "pss_mb", worked, "{:.1f} MB", "< {:g} MB"),
        Figure("helper processes, idle and after work", "none", f"{helpers}, {left}", helpers == left == 0),
        _figure("processor share of the idle daemon", "cpu", cpu, "{:.2%}", "< {:.0%}"),
        _figure("start to READY", "ready_s", median(starts), "{:.2f} s", "< {:g} s"),
        _figure("`millrace --help`", "help_ms", usage, "{:.0f} ms", "< {:g} ms"),
        _figure("`millrace status`", "status_ms", status, "{:.0f} ms", "< {:g} ms"),
    ]


def _figure(name: str, key: str, value: float, form: str, bound: str) -> Figure:
    return Figure(name, bound.format(TARGETS[key]), form.format(value), value < TARGETS[key])


if __name__ == "__main__":
    main(__doc__, figures, None)
