"""What the description promises, against what is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from millrace.ledger.rows import JobFilter
from millrace.ledger.run_rows import RunFilter
from tests.web.test_runs import claim, start, with_a_dead_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CONFIG = """
[queues.small]
[clients.acme]
weight = 2.5
[schedules.sum]
task = "add"
payload = { a = 1 }
cron = "0 6 * * *"
"""
SETTINGS = """
[clients.acme.settings.crm]
key = "hush"
[settings.crm]
key = ""
"""
TYPES: Final[dict[str, type | tuple[type, ...]]] = {
    "object": dict, "array": list, "string": str, "integer": int, "number": (int, float), "boolean": bool,
    "null": type(None),
}  # fmt: skip
# What is no JSON, or made by the rig.
OTHERS = {"/metrics", "/boom"}


def unfit(value: Any, schema: dict[str, Any], spec: dict[str, Any], at: str = "$") -> Iterator[str]:
    """Yield where a value is not what its schema says, keys that it does not name included."""
    if "$ref" in schema:
        schema = spec["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    kinds = schema.get("type", [])
    kinds = kinds if isinstance(kinds, list) else [kinds]
    if kinds and not any(isinstance(value, TYPES[kind]) for kind in kinds):
        yield f"{at}: {value!r} is not of type {kinds}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{at}: {value!r} is none of {schema['enum']}"
    if isinstance(value, list):
        for number, item in enumerate(value):
            yield from unfit(item, schema.get("items", {}), spec, f"{at}[{number}]")
    if isinstance(value, dict):
        yield from unfit_object(value, schema, spec, at)


def unfit_object(value: dict[str, Any], schema: dict[str, Any], spec: dict[str, Any], at: str) -> Iterator[str]:
    """Yield what an object lacks, has too much, or has in another form."""
    yield from (f"{at}: {name} is missing" for name in schema.get("required", ()) if name not in value)
    known, others = schema.get("properties", {}), schema.get("additionalProperties", not schema.get("properties"))
    for name, item in value.items():
        if name not in known and others is False:
            yield f"{at}: {name} is not described"
        yield from unfit(item, known.get(name, others if isinstance(others, dict) else {}), spec, f"{at}.{name}")


@pytest.fixture(scope="module")
def busy(make_rig: Callable[..., Any]) -> Any:
    """A site in which something of each kind has happened."""
    rig = make_rig(CONFIG)
    rig.kill(rig.submit()["id"])
    run = start(rig, key="k")
    with_a_dead_record(rig, run)
    start(rig)
    rig.site.ledger.moves.daemon = "test"
    (held,) = rig.site.ledger.moves.claim("small", 1).wait()
    rig.site.ledger.moves.progress(held, 1, 4).wait()
    rig.submit(due_at="2099-01-01T00:00:00Z")
    with rig.client("admin") as client:
        assert client.post("/api/v1/schedules/sum/fire").status_code == 202
    return rig


def paths_of(spec: dict[str, Any], rig: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the address of each GET route, filled in with all that there is for it, and its description."""
    reads = rig.site.ledger.reads
    known = {
        "{job_id}": [job.id for job in reads.jobs(JobFilter(limit=1000)).jobs],
        "{run_id}": [run.id for run in reads.runs(RunFilter(limit=1000)).runs],
        "/pipelines/{name}": ["parcels"],
        "/queues/{name}": ["default"],
        "/schedules/{name}": ["sum"],
    }
    for path, verbs in spec["paths"].items():
        if "get" not in verbs or path in OTHERS:
            continue
        found = next((place for place in known if place in path), None)
        for word in known[found] if found else [""]:
            place = found[found.index("{") :] if found else ""
            yield (path.replace(place, word) if place else path), verbs["get"]


def test_each_answer_is_as_it_is_described(busy: Any) -> None:
    """Of all GET routes: what is required is there, and nothing that is not described."""
    with busy.client("admin") as client:
        spec = client.get("/api/openapi.json").json()
        flaws, seen = [], 0
        for path, about in paths_of(spec, busy):
            answer = client.get(path)
            told = about["responses"][str(answer.status_code)]["content"][answer.headers["content-type"]]
            assert answer.status_code in (200, 503), path
            flaws += [f"{path} {flaw}" for flaw in unfit(answer.json(), told["schema"], spec)]
            seen += 1
    assert not flaws
    assert seen > 25


def test_what_does_not_fit_is_described_as_the_problem_that_it_is(rig: Any) -> None:
    """The framework's own shape is never sent, and a word of the address cannot be unfit."""
    with rig.client() as client:
        spec = client.get("/api/openapi.json").json()
        refused = client.get("/api/v1/jobs?limit=0")
    assert not {name for name in spec["components"]["schemas"] if "ValidationError" in name}
    for path, verbs in spec["paths"].items():
        for verb, about in verbs.items():
            for status in (status for status in about["responses"] if status >= "4" and path.startswith("/api/")):
                assert list(about["responses"][status]["content"]) == ["application/problem+json"], (verb, path)
    assert "422" in spec["paths"]["/api/v1/jobs/{job_id}/discard"]["post"]["responses"]
    assert "422" not in spec["paths"]["/api/v1/jobs/{job_id}/retry"]["post"]["responses"]
    assert not list(unfit(refused.json(), {"$ref": "#/components/schemas/Problem"}, spec))


@pytest.mark.parametrize(
    ("verb", "path", "allowed"),
    [
        ("PUT", "/api/v1/jobs", "GET, POST"),
        ("PUT", "/api/v1/runs", "GET"),
        ("DELETE", "/api/v1/jobs/batch", "GET, POST"),
        ("POST", "/livez", "GET, HEAD"),
        ("POST", "/api/openapi.json", "GET"),
    ],
)
def test_a_405_names_every_method_of_the_address(rig: Any, verb: str, path: str, allowed: str) -> None:
    """Each route of an address knows its own alone."""
    with rig.client() as client:
        answer = client.request(verb, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)


def test_the_audit_log_is_for_admins_and_in_pages(make_rig: Callable[..., Any]) -> None:
    """Newest first, the rows as the command line has them."""
    rig = make_rig()
    with rig.client("admin") as client:
        whole = client.get("/api/v1/audit").json()
        first = client.get("/api/v1/audit?limit=3").json()
        second = client.get(f"/api/v1/audit?limit=1000&after={first['next']}").json()
        odd = client.get("/api/v1/audit?after=first")
    assert whole["audit"] == [row.as_json() for row in rig.site.ledger.reads.audit_newest(100)]
    assert (first["audit"] + second["audit"], second["next"], whole["next"]) == (whole["audit"], None, None)
    assert len(first["audit"]) == 3
    assert (odd.status_code, odd.json()["type"]) == (422, "urn:millrace:problem:parameter")
    for who, status in (("operator", 403), ("acme_operator", 403), (None, 401)):
        with rig.client(who) as client:
            assert client.get("/api/v1/audit").status_code == status


def test_clients_are_listed_with_what_there_is_of_them(make_rig: Callable[..., Any]) -> None:
    """With their weight, never with their settings; a token of one sees that one."""
    rig = make_rig(CONFIG + SETTINGS)
    rig.submit(client="acme")
    rig.kill(rig.submit(client="acme")["id"])
    with rig.client("viewer") as client:
        answer = client.get("/api/v1/clients")
    acme, default = answer.json()["clients"]
    assert (acme["client"], acme["weight"], acme["open"], acme["finished"]) == ("acme", 2.5, 1, 1)
    assert (acme["timezone"], acme["counts"]["dead"], acme["configured"]) == ("UTC", 1, True)
    assert (default["client"], default["weight"], default["open"]) == ("default", 1.0, 0)
    assert "hush" not in answer.text
    with rig.client("acme_viewer") as client:
        assert [one["client"] for one in client.get("/api/v1/clients").json()["clients"]] == ["acme"]


def test_a_filter_that_fits_nothing_is_told_as_a_parameter(make_rig: Callable[..., Any]) -> None:
    """One type of problem for whatever stands behind the question mark."""
    rig = make_rig(CONFIG)
    run = start(rig)
    wrong = [
        *(
            f"/api/v1/jobs?{one}"
            for one in ("since=soon", "task=ad", "client=acne", "queue=smal", "run=ffff", "limit=0")
        ),
        "/api/v1/dead?status=queued",
        *(f"/api/v1/runs?{one}" for one in ("since=soon", "pipeline=parcel", "client=acne", "status=dead")),
    ]
    with rig.client() as client:
        for path in wrong:
            answer = client.get(path)
            assert (answer.status_code, answer.json()["type"]) == (422, "urn:millrace:problem:parameter"), path
            assert answer.json()["errors"][0]["field"] == path.partition("?")[2].partition("=")[0]
        (job,) = client.get(f"/api/v1/jobs?run={run['id'][:20]}").json()["jobs"]
    assert job["run_id"] == run["id"]
    assert claim(rig, run, "parcel", "small")[0].job_id == job["id"]
    with rig.client("acme_viewer") as client:
        told = client.get(f"/api/v1/jobs?run={run['id']}").json()["detail"]
    assert told == f'run: there is no run "{run["id"]}"', "whether it exists is none of the caller's business"
