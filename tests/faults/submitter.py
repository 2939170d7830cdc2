"""
The outsider that submits: a process of its own, which writes down each acknowledgement, with fsync, when it has it.
Some jobs go straight into the ledger, as from the command line; some over HTTP, under a key, again and again until
somebody answers: the daemon may be dead, or die between its commit and its answer.

    python submitter.py CONFIG URL TOKEN_FILE QUEUE FIRST COUNT ACKS SEED [EACH]

With EACH, each so-many-th job brings a value that is too large for a row.
"""

from __future__ import annotations

import os
import random
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from millrace.config.load import load_site
from millrace.errors import MillraceError
from millrace.ledger.blobs import LARGE
from millrace.queue.site import open_site
from millrace.queue.submit import Submission

if TYPE_CHECKING:
    from collections.abc import Iterator

    from millrace.queue.submit import Submitter

Payload = dict[str, Any]


def task_of(payload: Payload) -> str:
    """Return the task that takes a payload."""
    return "bulk" if "fill" in payload else "mark"


def direct(submitter: Submitter, queue: str, chunk: list[Payload]) -> Iterator[tuple[str, int]]:
    """Submit a chunk in one commit of our own; yield what was acknowledged."""
    for verdicts in submitter.submit_many(
        Submission(task_of(payload), payload=payload, queue=queue) for payload in chunk
    ):
        for payload, verdict in zip(chunk, verdicts, strict=True):
            if isinstance(verdict, MillraceError):
                raise verdict
            yield verdict.id, payload["n"]


def posted(client: httpx.Client, queue: str, chunk: list[Payload]) -> Iterator[tuple[str, int]]:
    """Send one request after another, each until it is answered; yield what was acknowledged."""
    for payload in chunk:
        body = {"task": task_of(payload), "queue": queue, "payload": payload, "key": f"n{payload['n']}"}
        while True:
            try:
                answer = client.post("/api/v1/jobs", json=body)
            except httpx.TransportError:
                threading.Event().wait(0.02)
                continue
            break
        if answer.status_code not in {200, 202}:
            raise SystemExit(f"{answer.status_code}: {answer.text}")
        yield answer.json()["id"], payload["n"]


def main(argv: list[str]) -> int:
    """Submit COUNT jobs, in commits of random sizes and by both doors."""
    config, url, token, queue, first, count, acks, seed, *each = argv
    dice = random.Random(seed)
    numbers = range(int(first), int(first) + int(count))
    wanted: list[Payload] = [{"n": n, "ms": dice.choice((0, 0, 0, 1, 10))} for n in numbers]
    for payload in wanted[:: int(each[0])] if each else ():
        del payload["ms"]
        payload["fill"] = "x" * LARGE
    log = os.open(acks, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    headers = {"Authorization": f"Bearer {Path(token).read_text().strip()}"}
    with (
        open_site(load_site(Path(config))) as site,
        httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=60) as client,
    ):
        while wanted:
            over_http = dice.random() < 0.3
            size = dice.randint(1, 15 if over_http else 100)
            chunk, wanted = wanted[:size], wanted[size:]
            heard = posted(client, queue, chunk) if over_http else direct(site.submitter, queue, chunk)
            for job, n in heard:
                os.write(log, f"{job} {n}\n".encode())
                if over_http:
                    os.fsync(log)
            os.fsync(log)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
