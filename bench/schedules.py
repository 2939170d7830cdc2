"""
Schedules: how soon after its time a function starts, what hundreds of schedules cost while none is due, and how soon a
daemon is there that was down for three days.
"""

from __future__ import annotations

import os
import time
from contextlib import closing
from statistics import median
from threading import Event
from typing import TYPE_CHECKING, Final

from figure import Figure, main, percentile
from idle import LIMIT_S, QUICK_WATCH_S, SETTLE_S, WATCH_S, cpu_share, environment, served
from scratch import folder

from millrace.clock import SYSTEM
from millrace.ledger.ledger import Ledger
from millrace.ledger.reads import Reads

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SAMPLES: Final = 100
QUICK_SAMPLES: Final = 15
MANY: Final = 500
DOWN_S: Final = 3 * 86400
P99_MS: Final = 100.0
CPU: Final = 0.01
READY_S: Final = 3.0
_NEVER: Final = Event()

JOBS: Final = '''
import os
import time

from millrace import task


@task(queue="thread")
def stamp(fifo: str) -> None:
    """Tell when the first line ran, on the wall clock."""
    now = time.time_ns()
    file = os.open(fifo, os.O_WRONLY)
    os.write(file, b"%d\\n" % now)
    os.close(file)


@task(queue="thread")
def noop() -> None:
    """Do nothing."""
'''
CONFIG: Final = '[queues.thread]\nkind = "thread"\nworkers = 2\n'


def site(place: Path, schedules: str) -> str:
    """Write a site; return the path of its config.toml."""
    (place / "jobs").mkdir(exist_ok=True)
    (place / "jobs" / "bench.py").write_text(JOBS, encoding="utf-8")
    config = place / "config.toml"
    config.write_text(CONFIG + schedules, encoding="utf-8")
    return str(config)


def many(when: str) -> str:
    """Return hundreds of schedules as config.toml has them."""
    return "".join(f'[schedules.s{number}]\ntask = "noop"\n{when.format(number % 60)}\n' for number in range(MANY))


def starts(samples: int) -> list[float]:
    """Return the milliseconds from due times, one a second, to the first line of the function."""
    with folder() as place:
        fifo = place / "stamps"
        os.mkfifo(fifo)
        config = site(place, f'[schedules.tick]\ntask = "stamp"\nevery = "1s"\npayload = {{ fifo = "{fifo}" }}\n')
        stamps = os.open(fifo, os.O_RDWR)  # at both ends: it never ends
        with served(place, environment(place), config):
            found = [int(os.read(stamps, 64)) for _ in range(samples + 2)][2:]
        os.close(stamps)
    return [at % 1_000_000_000 / 1e6 for at in found]


def idle_share(schedules: str, watch_s: float) -> float:
    """Return the processor share of a daemon with these schedules."""
    with folder() as place, served(place, environment(place), site(place, schedules)) as running:
        SYSTEM.wait(_NEVER, SETTLE_S)
        return cpu_share(running.process, watch_s)


def after_outage() -> Iterator[float]:
    """Yield the seconds to READY, and until all is decided, of a start after three days down."""
    with folder() as place:
        config, variables = site(place, many('cron = "* * * * *"\noverlap = "allow"')), environment(place)
        with served(place, variables, config):
            pass
        with closing(Ledger(place / "millrace.db")) as ledger:
            ledger.writer.submit(lambda tx: tx.run("UPDATE schedule SET last = last - ?", (DOWN_S * 1000,))).wait()
        with closing(Reads.open(place / "millrace.db")) as reads, served(place, variables, config) as running:
            ready, began = running.ready_s, time.monotonic()
            late = time.time_ns() // 1_000_000 - 2 * 60_000
            while any(state.last < late for state in reads.schedules().values()):
                if time.monotonic() - began > LIMIT_S:
                    raise RuntimeError("not all is decided")
                SYSTEM.wait(_NEVER, 0.02)
            yield from (ready, ready + time.monotonic() - began)


def figures(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one option that all scripts have
    """Return what schedules take and cost."""
    took = starts(QUICK_SAMPLES if quick else SAMPLES)
    watch_s = QUICK_WATCH_S if quick else WATCH_S
    bare, full = idle_share("", watch_s), idle_share(many('cron = "{} 3 1 1 *"'), watch_s)
    ready, decided = after_outage()
    p99 = percentile(took, 0.99)
    return [
        Figure(
            "due time to start of the function, p99",
            f"< {P99_MS:g} ms",
            f"{p99:.1f} ms",
            p99 < P99_MS,
            f"p50 {median(took):.1f} ms, most {max(took):.1f} ms, of {len(took)}",
        ),
        Figure(
            f"processor share of {MANY} idle schedules",
            f"< {CPU:.0%}",
            f"{full - bare:.2%}",
            full - bare < CPU,
            f"the daemon with them {full:.2%}, without {bare:.2%}",
        ),
        Figure(
            f"start after 3 days down, {MANY} minute-schedules",
            f"READY < {READY_S:g} s",
            f"{ready:.2f} s",
            ready < READY_S,
            f"{decided:.2f} s until each due time is decided",
        ),
    ]


if __name__ == "__main__":
    main(__doc__, figures, None)
