"""A site served on a real socket, over a real ledger, with a token of each kind."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from millrace.clock import SYSTEM
from millrace.config.load import load_site
from millrace.ledger.ids import new_id
from millrace.ledger.rows import TokenRow
from millrace.observe.bus import Bus
from millrace.observe.conservation import ConservationCheck
from millrace.observe.facts import Facts
from millrace.observe.health import Health
from millrace.observe.metrics import Metrics
from millrace.queue.pool import PoolState
from millrace.queue.site import open_site
from millrace.web.app import create_app
from millrace.web.house import House
from millrace.web.server import WebServer
from millrace.web.tokens import hash_of, new_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fastapi import FastAPI

    from millrace.events import Event
    from millrace.queue.site import OpenSite

NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # else each client loads all certificates of the machine
CONFIG = """
[web]
max_body = "20kB"
[queues.small]
max_backlog = 2
[clients.acme]
[clients.globex]
"""
JOBS = '''
from typing import Annotated
from pydantic import Field
from millrace import task

@task
def add(a: int, b: Annotated[int, Field(ge=0)] = 0, note: str = "") -> int:
    """Add two numbers."""
    return a + b

@task(queue="small")
def slow(seconds: float) -> None:
    """Take a while."""
'''

FLOW = '''
"""Parcels, priced."""
from collections.abc import Iterator
from millrace import Pipeline, Results

parcels = Pipeline("parcels", inputs={"day": str, "rate": (int, 2)})

@parcels.stage(queue="small")
def parcel(day: str) -> Iterator[int]:
    yield 1

@parcels.stage
def price(parcel: int, rate: int) -> int:
    return parcel * rate

@parcels.collect
def total(price: Results[int]) -> int:
    return sum(price)
'''


@dataclass
class Rig:
    """A served site, and what a test may turn."""

    site: OpenSite
    app: FastAPI
    server: WebServer
    events: list[Event]
    tokens: dict[str, str]
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}"

    def client(self, who: str | None = "operator") -> httpx.Client:
        """A client with a token: viewer, operator, admin, expired, revoked, acme_viewer, acme_operator, or None."""
        headers = {"Authorization": f"Bearer {self.tokens[who]}"} if who else {}
        return httpx.Client(base_url=self.url, headers=headers, timeout=20, trust_env=False, verify=NO_TLS)

    def submit(self, **submission: Any) -> dict[str, Any]:
        with self.client() as client:
            answer = client.post("/api/v1/jobs", json={"task": "add", "payload": {"a": 1}, **submission})
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()
        return job

    def kill(self, job_id: str, queue: str = "default") -> None:
        """Let a job die, as a runner would."""
        from millrace.ledger.rows import JobError

        moves = self.site.ledger.moves
        moves.daemon = "test"
        held = next(claim for claim in moves.claim(queue, 100).wait() if claim.job_id == job_id)
        moves.give_up(held, JobError("ValueError", "no good"), duration_s=0.1, cause="gave up").wait()


@pytest.fixture(scope="module")
def make_rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Rig]]:
    """Serve a site of its own to a test that counts what is in it."""
    made: list[Rig] = []

    def make(config: str = CONFIG) -> Rig:
        rig = _rig(tmp_path_factory.mktemp("site"), config)
        made.append(rig)
        return rig

    yield make
    for rig in made:
        rig.server.stop(2)
        rig.site.ledger.close()


@pytest.fixture(scope="module")
def rig(make_rig: Callable[..., Rig]) -> Rig:
    """One site for the tests of a module: they submit their own jobs and look at nobody else's."""
    return make_rig()


def _rig(root: Path, config: str) -> Rig:
    (root / "jobs").mkdir()
    (root / "jobs" / "sums.py").write_text(JOBS)
    (root / "jobs" / "flow.py").write_text(FLOW)
    (root / "config.toml").write_text(config)
    loaded = load_site(root / "config.toml", {})
    metrics = Metrics(version="1.2.3")
    events: list[Event] = []
    bus = Bus([metrics, events.append])
    site = open_site(loaded, emit=bus.emit)
    reads, moves = site.ledger.reads, site.ledger.moves
    state: dict[str, Any] = {"accepting": True, "ages": {"upkeep": 0.1}, "metrics": metrics}
    pool = PoolState("default", "thread", 2, 4, 2, 1, 0, 4)
    state["pools"] = [pool]
    facts = Facts(
        ledger=site.ledger.path,
        reads=reads,
        writer_alive=lambda: site.ledger.writer.alive,
        pools=lambda: state["pools"],
        ages=lambda: state["ages"],
        accepting=lambda: state["accepting"],
        registry=site.registry,
        settings=loaded.settings,
        conservation=ConservationCheck(reads),
        clock=SYSTEM,
        failing=lambda: state.get("failing", {}),
        refusals=lambda: state.get("refusals", (0, "")),
    )
    state["conservation"] = facts.conservation
    metrics.watch(facts)
    health = Health(facts)
    house = House(
        submitter=site.submitter,
        moves=moves,
        reads=reads,
        registry=site.registry,
        settings=loaded.settings,
        health=health.report,
        unfit=health.unfit,
        metrics=metrics.text,
        clock=SYSTEM,
        emit=bus.emit,
    )
    app = create_app(house)

    @app.get("/boom")
    async def boom() -> None:
        raise RuntimeError("the secret is 42")

    server = WebServer(app, "127.0.0.1", 0)
    server.start()
    return Rig(site, app, server, events, _tokens(site), state)


def _tokens(site: OpenSite) -> dict[str, str]:
    now = SYSTEM.now_ms()
    bounds: dict[str, tuple[str, str | None, int | None]] = {
        "viewer": ("viewer", None, None),
        "operator": ("operator", None, now + 3_600_000),
        "admin": ("admin", None, None),
        "expired": ("admin", None, now - 1),
        "revoked": ("admin", None, None),
        "acme_viewer": ("viewer", "acme", None),
        "acme_operator": ("operator", "acme", None),
    }
    texts = {}
    for name, (role, client, expires_at) in bounds.items():
        texts[name] = new_text()
        row = TokenRow(new_id(now), name, role, client, now, expires_at, None)
        site.ledger.moves.add_token(row, hash_of(texts[name]), actor="test").wait()
        if name == "revoked":
            site.ledger.moves.revoke_token(row.id, actor="test").wait()
    return texts
