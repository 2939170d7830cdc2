"""
The outsider that submits: a process of its own, which writes down each acknowledgement, with fsync, when it has it.

    python submitter.py CONFIG QUEUE FIRST COUNT ACKS SEED
"""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

from millrace.config.load import load_site
from millrace.errors import MillraceError
from millrace.queue.site import open_site
from millrace.queue.submit import Submission


def main(config: str, queue: str, first: str, count: str, acks: str, seed: str) -> int:
    """Submit `count` jobs in commits of random sizes."""
    dice = random.Random(seed)
    wanted = [
        Submission("mark", payload={"n": n, "ms": dice.choice((0, 0, 0, 1, 10))}, queue=queue)
        for n in range(int(first), int(first) + int(count))
    ]
    log = os.open(acks, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    with open_site(load_site(Path(config))) as site:
        while wanted:
            size = dice.randint(1, 80)
            chunk, wanted = wanted[:size], wanted[size:]
            for verdicts in site.submitter.submit_many(chunk):
                for asked, verdict in zip(chunk, verdicts, strict=True):
                    if isinstance(verdict, MillraceError):
                        raise verdict
                    os.write(log, f"{verdict.id} {asked.payload['n']}\n".encode())
            os.fsync(log)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
