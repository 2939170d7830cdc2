"""
What the recorder of power cuts traces: a daemon, the outsider who submits to it, and one who moves the log into the
database all the time, so that there is much to be caught in the midst of; from one process, so that all that they write
stands in one order.

    python recorded.py CONFIG STATE URL QUEUE COUNT ACKS SEED
"""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import apsw
import httpx

from millrace.clock import SYSTEM
from millrace.ledger.reads import Reads
from tests.process.scratch import until

SUBMITTER = Path(__file__).with_name("submitter.py")
LIMIT_S = 60
PAUSE_S = 0.05
EACH = "100"  # so many jobs for one with a large value


def main(argv: list[str]) -> int:
    """Serve, submit COUNT jobs, wait until they are over, stop."""
    config, state, url, queue, count, acks, seed = argv
    daemon = subprocess.Popen([sys.executable, "-m", "millrace.cli.main", "-c", config, "serve"])
    token = Path(state) / "admin.token"
    until(lambda: token.exists() and serves(url), "the daemon to serve", LIMIT_S)
    ledger, over = Path(state) / "millrace.db", threading.Event()
    mover = threading.Thread(target=move_log, args=(ledger, over))
    mover.start()
    words = [config, url, str(token), queue, "1", count, acks, seed, EACH]
    subprocess.run([sys.executable, str(SUBMITTER), *words], check=True)
    until(lambda: rests(ledger), "all jobs to be over", LIMIT_S)
    over.set()
    mover.join()
    daemon.terminate()
    return daemon.wait(LIMIT_S)


def move_log(ledger: Path, over: threading.Event) -> None:
    """Do what the daemon does each 2,000 pages."""
    with closing(apsw.Connection(str(ledger))) as connection:
        connection.execute("SELECT count(*) FROM job").fetchall()  # before it has read, it does not know of the log
        while not SYSTEM.wait(over, PAUSE_S):
            connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)


def serves(url: str) -> bool:
    """Return whether the daemon takes work."""
    try:
        return httpx.get(f"{url}/readyz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def rests(ledger: Path) -> bool:
    """Return whether all jobs are over."""
    with closing(Reads.open(ledger)) as reads:
        counts = reads.status_counts()
    return not any(counts.get(status, 0) for status in ("waiting", "queued", "running"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
