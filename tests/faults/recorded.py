"""
What the recorder of power cuts traces: a daemon and the outsider who submits to it, from one process, so that all that
both write stands in one order.

    python recorded.py CONFIG STATE URL QUEUE COUNT ACKS SEED
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import httpx

from millrace.ledger.reads import Reads
from tests.process.scratch import until

SUBMITTER = Path(__file__).with_name("submitter.py")
LIMIT_S = 60


def main(argv: list[str]) -> int:
    """Serve, submit COUNT jobs, wait until they are over, stop."""
    config, state, url, queue, count, acks, seed = argv
    daemon = subprocess.Popen([sys.executable, "-m", "millrace.cli.main", "-c", config, "serve"])
    token = Path(state) / "admin.token"
    until(lambda: token.exists() and serves(url), "the daemon to serve", LIMIT_S)
    subprocess.run([sys.executable, str(SUBMITTER), config, url, str(token), queue, "1", count, acks, seed], check=True)
    until(lambda: rests(Path(state) / "millrace.db"), "all jobs to be over", LIMIT_S)
    daemon.terminate()
    return daemon.wait(LIMIT_S)


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
