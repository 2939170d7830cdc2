"""Who may do what: every route against every kind of token."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

OPEN = [("GET", "/livez"), ("GET", "/readyz"), ("GET", "/health"), ("GET", "/api/openapi.json")]
LOOKING = [
    ("GET", "/api/v1/jobs"),
    ("GET", "/api/v1/jobs/0199"),
    ("GET", "/api/v1/jobs/0199/explain"),
    ("GET", "/api/v1/dead"),
    ("GET", "/api/v1/tasks"),
    ("GET", "/api/v1/pipelines"),
    ("GET", "/api/v1/pipelines/nope"),
    ("GET", "/api/v1/runs"),
    ("GET", "/api/v1/runs/0199"),
    ("GET", "/api/v1/runs/0199/explain"),
    ("GET", "/api/v1/queues"),
    ("GET", "/api/v1/queues/nope/explain"),
    ("GET", "/api/v1/schedules"),
    ("GET", "/api/v1/schedules/nope/explain"),
    ("GET", "/api/v1/today"),
    ("GET", "/api/v1/effects"),
    ("GET", "/api/v1/clients"),
    ("GET", "/api/v1/audit"),
    ("GET", "/metrics"),
]
CHANGING = [
    ("POST", "/api/v1/jobs"),
    ("POST", "/api/v1/jobs/batch"),
    ("POST", "/api/v1/jobs/0199/retry"),
    ("POST", "/api/v1/jobs/0199/cancel"),
    ("POST", "/api/v1/jobs/0199/discard"),
    ("POST", "/api/v1/pipelines/nope/runs"),
    ("POST", "/api/v1/runs/0199/cancel"),
    ("POST", "/api/v1/runs/0199/resume"),
    ("POST", "/api/v1/queues/nope/pause"),
    ("POST", "/api/v1/queues/nope/resume"),
    ("POST", "/api/v1/schedules/nope/pause"),
    ("POST", "/api/v1/schedules/nope/resume"),
    ("POST", "/api/v1/schedules/nope/fire"),
    ("POST", "/api/v1/effects/settle"),
]
WHOLE_SITE = {
    "/api/v1/queues",
    "/api/v1/queues/nope/explain",
    "/metrics",
    "/api/v1/queues/nope/pause",
    "/api/v1/queues/nope/resume",
}
ADMINS_ALONE = {"/api/v1/audit"}
REFUSED = (401, 403)


def test_the_lists_above_name_every_route(rig: Any) -> None:
    """A route that is added must be given its place here."""
    with rig.client(None) as client:
        paths = client.get("/api/openapi.json").json()["paths"]
    known = {
        (verb, path.replace("runs/0199", "runs/{run_id}").replace("0199", "{job_id}").replace("nope", "{name}"))
        for verb, path in LOOKING + CHANGING + OPEN
    }
    told = {(verb.upper(), path) for path, verbs in paths.items() for verb in verbs}
    assert told - {("GET", "/boom")} == known - {("GET", "/api/openapi.json")}


@pytest.mark.parametrize(("verb", "path"), OPEN)
def test_open_routes_want_no_token(rig: Any, verb: str, path: str) -> None:
    """Supervisors and load balancers carry none; a bad one must not lock them out either."""
    for token in (None, "expired", "viewer"):
        with rig.client(token) as client:
            assert client.request(verb, path).status_code == 200


@pytest.mark.parametrize(("verb", "path"), LOOKING + CHANGING)
@pytest.mark.parametrize("token", [None, "expired", "revoked"])
def test_no_valid_token_opens_nothing(rig: Any, verb: str, path: str, token: str | None) -> None:
    """And the answer says how to come with one, but not what was wrong with this one."""
    with rig.client(token) as client:
        answer = client.request(verb, path)
    assert (answer.status_code, answer.json()["type"]) == (401, "urn:millrace:problem:not-authenticated")
    assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer mr_wrong", "Basic bXI6eA==", "mr_x", "Bearer \udcff"])
def test_a_malformed_header_is_not_a_token(rig: Any, header: str) -> None:
    """Nothing that can be put into a header may end in an error of ours."""
    with rig.client(None) as client:
        answer = client.get("/api/v1/jobs", headers={"Authorization": header.encode(errors="surrogateescape")})
    assert answer.status_code == 401


@pytest.mark.parametrize(("verb", "path"), LOOKING + CHANGING)
@pytest.mark.parametrize("token", ["viewer", "operator", "admin", "acme_viewer", "acme_operator"])
def test_roles_open_what_they_should(rig: Any, verb: str, path: str, token: str) -> None:
    """
    A viewer changes nothing, an operator and an admin do. Who did what is for admins; a token of one client sees
    nothing of the whole site.
    """
    too_little = path in ADMINS_ALONE and token != "admin"
    changes_as_viewer = verb == "POST" and token.endswith("viewer")
    beyond_its_client = path in WHOLE_SITE and token.startswith("acme")
    with rig.client(token) as client:
        answer = client.request(verb, path)
    assert (answer.status_code == 403) == (too_little or changes_as_viewer or beyond_its_client), answer.text
    if answer.status_code == 403:
        assert answer.json()["type"] == "urn:millrace:problem:not-permitted"
    else:
        assert answer.status_code not in REFUSED


def test_a_token_of_one_client_submits_for_that_client(rig: Any) -> None:
    """Also without naming it; naming another is refused."""
    body = {"task": "add", "payload": {"a": 1}}
    with rig.client("acme_operator") as client:
        assert client.post("/api/v1/jobs", json=body).json()["client"] == "acme"
        assert client.post("/api/v1/jobs", json={**body, "client": "acme"}).json()["client"] == "acme"
        assert client.post("/api/v1/jobs", json={**body, "client": "globex"}).status_code == 403
        assert client.get("/api/v1/jobs", params={"client": "globex"}).status_code == 403
        line = client.post("/api/v1/jobs/batch", content=b'{"task":"add","payload":{"a":1},"client":"globex"}').json()
    assert line["status"] == 403


def test_a_token_of_one_client_sees_no_other(make_rig: Callable[..., Any]) -> None:
    """Not even that a job exists: an unknown id and another client's give the same answer."""
    rig = make_rig()
    own, other = rig.submit(client="acme")["id"], rig.submit(client="globex")["id"]
    unknown = "0199c0de-0000-7000-8000-000000000000"
    with rig.client("acme_operator") as client:
        assert [job["id"] for job in client.get("/api/v1/jobs").json()["jobs"]] == [own]
        assert client.get(f"/api/v1/jobs/{own}").status_code == 200
        for verb, path in (("GET", ""), ("POST", "/retry"), ("POST", "/cancel"), ("POST", "/discard")):
            answers = [client.request(verb, f"/api/v1/jobs/{job_id}{path}") for job_id in (other, unknown)]
            assert [answer.status_code for answer in answers] == [404, 404]
            texts = [
                answer.text.replace(job_id, "ID") for answer, job_id in zip(answers, (other, unknown), strict=True)
            ]
            assert texts[0] == texts[1]
        prefix = client.get(f"/api/v1/jobs/{other[:6]}")  # of both jobs: the candidates would give the other away
        assert other not in prefix.text


def test_a_revoked_token_is_refused_at_once(make_rig: Callable[..., Any]) -> None:
    """Revoking is what one does in a hurry."""
    rig = make_rig()
    reads, moves = rig.site.ledger.reads, rig.site.ledger.moves
    with rig.client("admin") as client:
        assert client.get("/api/v1/jobs").status_code == 200
        moves.revoke_token(next(row.id for row in reads.tokens() if row.name == "admin"), actor="test").wait()
        assert client.get("/api/v1/jobs").status_code == 401


def test_details_of_health_are_for_viewers(rig: Any) -> None:
    """The status is for all, the figures are for those who may look at the whole site."""
    with rig.client(None) as nobody, rig.client("viewer") as viewer, rig.client("acme_viewer") as acme:
        assert set(nobody.get("/health").json()) == set(acme.get("/health").json()) == {"status"}
        assert set(viewer.get("/health").json()) == {"status", "checks"}
