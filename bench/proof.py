"""
Proof: what it costs requests that the daemon compares the rows of all its jobs with the counters. One request after
another goes to a daemon that has just started, and counts; and then, as the scale, to the same one when it has counted.
"""

from __future__ import annotations

from pathlib import Path
from statistics import median
from time import monotonic, perf_counter
from typing import Any, Final

import httpx
from figure import Figure, in_child, main, percentile
from idle import environment, served
from scratch import folder, make_site

from millrace.config.load import load_site
from millrace.ledger.ledger import Ledger
from millrace.ledger.rows import NewJob

JOBS: Final = 1_000_000
QUICK_JOBS: Final = 100_000
CHUNK: Final = 1_000
LEAST: Final = 200
WARM_UP: Final = 3
MORE_MS: Final = 50.0
LIMIT_S: Final = 300.0
PAYLOAD: Final = '{"company":"Analytical Engines Ltd","email":"ada@example.com","employees":1850}'


def child(place: str, count: str) -> dict[str, Any]:
    """Fill a ledger with jobs that wait in a queue that is paused; return the id of one."""
    site = load_site(Path(place) / "config.toml", {})
    with Ledger(site.places.ledger) as ledger:
        for queue in ("thread", "process"):  # one is full; what is submitted meanwhile goes into the other
            ledger.moves.pause(queue, actor="bench").wait()
        for _ in range(int(count) // CHUNK // 20):
            tickets = [
                ledger.moves.accept([NewJob("noop", "thread", PAYLOAD) for _ in range(CHUNK)]) for _ in range(20)
            ]
            accepted = [ticket.wait() for ticket in tickets]
    return {"job": accepted[0][0].id}


def asked(client: httpx.Client, job: str, least: int, until_s: float, *, while_counting: bool) -> list[float]:
    """Send requests until enough were answered and, if so wanted, the count is done; return the seconds of each."""
    took: list[float] = []
    while monotonic() < until_s:
        for call in (
            lambda: client.get(f"/api/v1/jobs/{job}"),
            lambda: client.get("/readyz"),
            lambda: client.post("/api/v1/jobs", json={"task": "noop", "queue": "process", "payload": {}}),
        ):
            began = perf_counter()
            answer = call()
            took.append(perf_counter() - began)
            if answer.status_code not in {200, 202}:
                raise RuntimeError(f"{answer.status_code}: {answer.text}")
        if len(took) % 30 == 0 or not while_counting:
            counted = client.get("/health").json()["checks"]["conservation"]["rows"]
            if counted is not None and counted["took_s"] > 0 and (while_counting or len(took) >= least):
                return took
    raise RuntimeError("the rows were never counted")


def figures(quick: bool) -> list[Figure]:  # noqa: FBT001 - the one option that all scripts have
    """Return what the proof costs requests."""
    jobs = QUICK_JOBS if quick else JOBS
    with folder() as place:
        site = make_site(place, workers=1)
        job = in_child(__file__, place, jobs, limit_s=600.0)["job"]
        variables = environment(site.places.state)
        with served(site.places.state, variables, str(place / "config.toml")):
            token = (site.places.state / "admin.token").read_text(encoding="ascii").strip()
            url = f"http://{variables['MILLRACE_WEB__LISTEN']}"
            headers = {"Authorization": f"Bearer {token}"}
            with httpx.Client(base_url=url, headers=headers, trust_env=False, timeout=LIMIT_S) as client:
                until = monotonic() + LIMIT_S
                for _ in range(WARM_UP):  # the first ones pay for what is imported and read once
                    client.post("/api/v1/jobs", json={"task": "noop", "queue": "process", "payload": {}})
                    client.get(f"/api/v1/jobs/{job}")
                    client.get("/health")
                during = asked(client, job, 0, until, while_counting=True)
                report = client.get("/health").json()["checks"]["conservation"]
                after = asked(client, job, max(LEAST, len(during)), until, while_counting=False)
    if report["difference"] or report["rows"]["difference"]:
        raise RuntimeError(f"the balance is not zero: {report}")
    more_ms = (max(during) - max(after)) * 1000  # as many were sent: a busy machine has its own longest one
    words = ", ".join(
        f"{name} {median(took) * 1000:.1f} / {percentile(took, 0.99) * 1000:.1f} / {max(took) * 1000:.1f} ms"
        for name, took in (("during", during), ("after", after))
    )
    return [
        Figure(
            f"longest request while {jobs:,} rows are counted",
            f"< {MORE_MS:g} ms more than without",
            f"{more_ms:+.0f} ms",
            more_ms < MORE_MS,
            f"{len(during)} requests during {report['rows']['took_s']:.1f} s; median / p99 / longest: {words}",
        )
    ]


if __name__ == "__main__":
    main(__doc__, figures, child)
