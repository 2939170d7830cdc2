"""The schemas of the interface's description: what the contract promises of a job, a page, a problem."""

from __future__ import annotations

from typing import Any, Final

from millrace.ledger.states import Status
from millrace.web.problems import MEDIA_TYPE as PROBLEM_TYPE
from millrace.web.problems import TITLES, URN
from millrace.web.settlement import Settlement

Schema = dict[str, Any]
_TEXT: Final[Schema] = {"type": "string"}
_TIME: Final[Schema] = {"type": ["string", "null"], "format": "date-time"}
_MAYBE: Final[Schema] = {"type": ["string", "null"]}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_SECONDS: Final[Schema] = {"type": ["number", "null"], "description": "Seconds"}

_ERROR: Final[Schema] = {
    "type": ["object", "null"],
    "properties": {"type": _TEXT, "message": _TEXT, "traceback": _MAYBE},
    "description": "Its last failure",
}
_SOURCE: Final[Schema] = {
    "type": "object",
    "properties": {
        "kind": {"type": "string", "enum": ["api", "cli", "schedule", "watch", "hook", "stage"]},
        "name": _TEXT,
    },
    "description": "Who, or what, submitted it",
}
_JOB_FIELDS: Final[Schema] = {
    "id": {"type": "string", "format": "uuid", "description": "A UUID version 7"},
    "task": _TEXT,
    "queue": _TEXT,
    "client": _TEXT,
    "status": {"type": "string", "enum": [status.value for status in Status]},
    "reason": {**_MAYBE, "description": "Why a waiting job waits"},
    "priority": {"type": "integer", "description": "Higher first"},
    "attempt": {**_COUNT, "description": "How often it was claimed"},
    "max_attempts": {"type": "integer", "minimum": 1, "description": "Retries + 1: the bound of `failures`"},
    "payload": {"type": "object", "description": 'In a page `{"$large": bytes}` if it has more than 50,000 bytes'},
    "result": {"description": "Whatever the task returned; in a page as the payload"},
    "error": _ERROR,
    "key": {**_MAYBE, "description": "Its idempotency key, unique within the client"},
    "run_id": _MAYBE,
    "stage": _MAYBE,
    "record": _MAYBE,
    "source": _SOURCE,
    "failures": _COUNT,
    "crashes": {**_COUNT, "description": "How many of its processes died"},
    "correlation_id": _TEXT,
    **dict.fromkeys(("created_at", "queued_at", "due_at", "started_at", "finished_at"), _TIME),
    "duration_s": _SECONDS,
}
_PROGRESS: Final[Schema] = {
    "type": ["object", "null"],
    "properties": {
        "done": _COUNT,
        "total": {"type": ["integer", "null"]},
        "percent": {"type": ["number", "null"]},
        "rate_per_s": {"type": ["number", "null"]},
        "left_s": _SECONDS,
        "at": _TIME,
    },
    "description": "How far it says it is, if it goes through its work with `track`",
}
_ATTEMPT: Final[Schema] = {
    "type": "object",
    "properties": {
        "attempt": _COUNT,
        "outcome": _TEXT,
        "daemon": _MAYBE,
        "started_at": _TIME,
        "ended_at": _TIME,
        "duration_s": _SECONDS,
        "error": _ERROR,
        "facts": {"type": "object"},
    },
}
_EVENT: Final[Schema] = {
    "type": "object",
    "properties": {"at": _TIME, "event": _TEXT, "reason": _MAYBE, "actor": _TEXT, "facts": {"type": "object"}},
}
_COUNTS: Final[Schema] = {
    "type": "object",
    "additionalProperties": {"type": "object", "additionalProperties": _COUNT},
    "description": "How many jobs (and skips, as `skipped`) each stage has in each status",
}
_RUN_FIELDS: Final[Schema] = {
    "id": {"type": "string", "format": "uuid", "description": "A UUID version 7"},
    "pipeline": _TEXT,
    "client": _TEXT,
    "status": {"type": "string", "enum": ["running", "succeeded", "partial", "failed", "cancelled"]},
    "inputs": {"type": "object"},
    "counts": _COUNTS,
    "records": {
        "type": "object",
        "additionalProperties": _COUNT,
        "description": "How many items each fan-out has handed on",
    },
    "edition": {"type": "integer", "minimum": 1, "description": "How often it has collected, or will have"},
    "source": _SOURCE,
    "correlation_id": _TEXT,
    "key": {**_MAYBE, "description": "Its idempotency key, unique within the client"},
    "created_at": _TIME,
    "finished_at": _TIME,
    "cancel_requested": {"type": "boolean", "description": "Whether somebody asked for its end"},
}
_RUN_SUBMISSION: Final[Schema] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "inputs": {"type": "object", "description": "The pipeline's inputs by name", "default": {}},
        "client": {"type": "string", "description": "For whom; `default` when left out"},
        "priority": {"type": "integer", "minimum": -1_000_000, "maximum": 1_000_000, "default": 0},
        "key": {"type": "string", "minLength": 1, "maxLength": 255, "description": "Idempotency key"},
    },
}
_SUBMISSION: Final[Schema] = {
    "type": "object",
    "required": ["task"],
    "additionalProperties": False,
    "properties": {
        "task": {"type": "string", "description": "What to run: see /api/v1/tasks"},
        "payload": {"type": "object", "description": "The task's parameters by name", "default": {}},
        "client": {"type": "string", "description": "For whom; `default` when left out"},
        "queue": {"type": "string", "description": "Another queue than the task's own"},
        "priority": {"type": "integer", "minimum": -1_000_000, "maximum": 1_000_000, "default": 0},
        "due_at": {"type": "string", "format": "date-time", "description": "Not before this time"},
        "key": {"type": "string", "minLength": 1, "maxLength": 255, "description": "Idempotency key"},
    },
}
_PROBLEM: Final[Schema] = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "enum": [URN + name for name in TITLES]},
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": _TEXT,
        "job_id": {"type": "string", "description": "The job that has the idempotency key"},
        "run_id": {"type": "string", "description": "The run that has the idempotency key"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "field": {"type": "string", "examples": ["payload.month"]},
                    "reason": _TEXT,
                    "suggestion": _MAYBE,
                },
            },
        },
    },
}


def _all_required(fields: Schema) -> Schema:
    return {"type": "object", "required": list(fields), "properties": fields}


def ref(name: str) -> Schema:
    """Return a reference to a schema of the components."""
    return {"$ref": f"#/components/schemas/{name}"}


def _listed(item: Schema) -> Schema:
    return {"type": "array", "items": item}


EFFECT: Final = _all_required(
    {
        "key": _TEXT,
        "client": _TEXT,
        "status": {"type": "string", "enum": ["begun", "doubt", "done", "not_done"]},
        "call": {**_MAYBE, "description": "The function's name"},
        "result": {"description": "What the call returned"},
        "error": _ERROR,
        "job_id": _TEXT,
        "attempt": _COUNT,
        **dict.fromkeys(("at", "ended_at", "doubt_at", "told_at"), _TIME),
        "settled_by": {**_MAYBE, "description": "Who decided, if a person did"},
    }
)
JOB: Final = ref("Job")
JOB_DETAILS: Final = ref("JobDetails")
PAGE: Final = ref("JobPage")
RUN: Final = ref("Run")
RUN_DETAILS: Final = ref("RunDetails")
RUN_PAGE: Final = ref("RunPage")
TASKS: Final = ref("Tasks")
PIPELINES: Final = ref("Pipelines")
PIPELINE: Final = ref("Pipeline")
QUEUES: Final = ref("Queues")
QUEUE: Final = ref("Queue")
HEALTH: Final = ref("Health")
EXPLANATION: Final = ref("Explanation")
SCHEDULES: Final = ref("Schedules")
TODAY: Final = ref("Today")
FIRED: Final = ref("Fired")
SCHEMAS: Final[Schema] = {
    "Job": _all_required(_JOB_FIELDS),
    "JobDetails": _all_required(
        {
            **_JOB_FIELDS,
            "progress": _PROGRESS,
            "attempts": _listed(_ATTEMPT),
            "events": _listed(_EVENT),
            "effects": _listed(ref("Effect")),
        }
    ),
    "JobPage": _all_required({"jobs": _listed(JOB), "next": _MAYBE}),
    "Submission": _SUBMISSION,
    "Settlement": Settlement.model_json_schema(),
    "Run": _all_required(_RUN_FIELDS),
    "RunDetails": _all_required(
        {
            **_RUN_FIELDS,
            "stages": _listed({"type": "object", "properties": {"name": _TEXT, "kind": _TEXT, "scope": _MAYBE}}),
            "results": {
                "type": "object",
                "additionalProperties": True,
                "description": "What it has come to: the values of the stages of the run's own that no other one needs",
            },
            "dead": _listed(
                {
                    "type": "object",
                    "properties": {"id": _TEXT, "stage": _TEXT, "record": _MAYBE, "error": _ERROR},
                    "description": "The newest of the jobs that died",
                }
            ),
            "waiting": _listed({"type": "object", "description": "A few that wait, with reason and last error"}),
            "working": _listed(
                {
                    "type": "object",
                    "properties": {
                        "id": _TEXT,
                        "stage": _TEXT,
                        "record": _MAYBE,
                        "progress": _PROGRESS,
                    },
                }
            ),
        }
    ),
    "RunPage": _all_required({"runs": _listed(RUN), "next": _MAYBE}),
    "RunSubmission": _RUN_SUBMISSION,
    "Problem": _PROBLEM,
    "Tasks": _all_required({"tasks": _listed({"type": "object"}), "problems": _listed({"type": "object"})}),
    "Pipeline": {
        "type": "object",
        "required": ["name", "summary", "inputs", "stages", "mermaid"],
        "properties": {
            "name": _TEXT,
            "summary": _TEXT,
            "file": _TEXT,
            "line": _COUNT,
            "inputs": _listed({"type": "object"}),
            "stages": _listed({"type": "object"}),
            "mermaid": {"type": "string", "description": "The graph, for Mermaid to draw"},
        },
    },
    "Pipelines": _all_required({"pipelines": _listed(PIPELINE), "problems": _listed({"type": "object"})}),
    "Queue": _all_required(
        {
            "queue": _TEXT,
            "paused": {"type": "boolean"},
            "waiting": _COUNT,
            "queued": _COUNT,
            "running": _COUNT,
            "oldest_queued_s": _SECONDS,
            "kind": {"type": ["string", "null"], "enum": ["process", "thread", None]},
            "workers": {"type": ["integer", "null"]},
            "max_workers": {"type": ["integer", "null"]},
            "max_backlog": {"type": ["integer", "null"]},
        }
    ),
    "Schedule": _all_required(
        {
            "schedule": {**_TEXT, "description": "Its key: the name, and behind an @ the client if there is one"},
            "name": _TEXT,
            "client": _TEXT,
            "kind": {"type": "string", "enum": ["task", "pipeline"]},
            "target": _TEXT,
            "payload": {"type": "object", "description": "The payload, or the inputs"},
            "when": {**_TEXT, "examples": ['cron = "0 6 * * *"']},
            "words": {**_TEXT, "examples": ["every day at 06:00 Europe/Berlin"]},
            "timezone": _TEXT,
            "enabled": {"type": "boolean"},
            "paused": {"type": "boolean"},
            "paused_by": _MAYBE,
            "paused_at": _TIME,
            "catch_up": {"type": "string", "enum": ["none", "latest", "all"]},
            "overlap": {"type": "string", "enum": ["skip", "queue", "allow"]},
            "done_by": _MAYBE,
            "next": _listed({"type": "object", "properties": {"at": _TIME, "local": _TEXT}}),
            "notes": _listed({**_TEXT, "description": "What a clock change does to the next times"}),
            "last_fire": {"type": ["object", "null"]},
            "ahead": {
                "type": ["object", "null"],
                "description": "Times to come that a clock that was ahead has decided: they do not come again",
            },
            "undecided": {"type": ["object", "null"]},
            "problem": {**_MAYBE, "description": "Why it cannot run"},
        }
    ),
    "Schedules": _all_required({"schedules": _listed(ref("Schedule"))}),
    "Fired": _all_required(
        {"fired": _listed({"type": "object", "properties": {"schedule": _TEXT, "kind": _TEXT, "id": _MAYBE}})}
    ),
    "Today": _all_required(
        {
            "from": _TIME,
            "to": _TIME,
            "gaps": _listed(
                {
                    "type": "object",
                    "properties": {
                        "schedule": _TEXT,
                        "kind": {**_TEXT, "examples": ["missed", "dead", "failed", "overdue", "done_late"]},
                        "due_at": _TIME,
                        "since": _TIME,
                        "count": _COUNT,
                        "why": _MAYBE,
                        "job_id": _MAYBE,
                        "run_id": _MAYBE,
                    },
                }
            ),
            "schedules": _listed({"type": "object", "description": "How many times were due, and what they came to"}),
        }
    ),
    "AuditRow": _all_required(
        {
            "id": {"type": "integer", "minimum": 1, "description": "Its number, without gaps"},
            "at": _TIME,
            "actor": {**_TEXT, "examples": ["cli:ann"]},
            "action": {**_TEXT, "examples": ["job.retry"]},
            "subject": {**_TEXT, "description": "An id, or a name"},
            "facts": {"type": "object", "description": "What else matters"},
            "hash": {**_TEXT, "description": "SHA-256 of the row before and of this one"},
        }
    ),
    "AuditPage": _all_required({"audit": _listed(ref("AuditRow")), "next": {"type": ["integer", "null"]}}),
    "Client": _all_required(
        {
            "client": {**_TEXT, "description": "As submissions name it"},
            "name": {**_MAYBE, "description": "As people name it"},
            "timezone": {**_TEXT, "description": "Its own, or the site's"},
            "weight": {"type": "number", "description": "Its share of a busy queue against the others' 1"},
            "configured": {"type": "boolean", "description": "False for one that left config.toml and still has jobs"},
            "counts": {"type": "object", "additionalProperties": _COUNT, "description": "Its jobs by status"},
            "open": {**_COUNT, "description": "Jobs that wait, are queued, or run"},
            "finished": {**_COUNT, "description": "Jobs that are over and were not pruned"},
        }
    ),
    "Clients": _all_required({"clients": _listed(ref("Client"))}),
    "Effect": EFFECT,
    "Effects": _all_required({"effects": _listed(ref("Effect"))}),
    "Queues": _all_required({"queues": _listed(QUEUE)}),
    "Explanation": _all_required(
        {
            "kind": {"type": "string", "enum": ["job", "run", "queue", "schedule"]},
            "id": _TEXT,
            "name": _TEXT,
            "status": _TEXT,
            "code": {**_TEXT, "description": "The reason that decides, one of those in `because`"},
            "because": _listed(_all_required({"at": _TIME, "code": _TEXT, "text": _TEXT})),
            "change": _listed(_all_required({"text": _TEXT, "command": _MAYBE})),
            "facts": {"type": "object", "description": "What the sentences were made of"},
        }
    ),
    "Health": {
        "type": "object",
        "required": ["status"],
        "properties": {
            "status": {"type": "string", "enum": ["pass", "warn", "fail"]},
            "checks": {"type": "object", "additionalProperties": {"type": "object"}},
        },
    },
}
_HEADERS: Final = [
    {"name": "Idempotency-Key", "in": "header", "schema": _TEXT, "description": "The same as the field `key`"},
    {"name": "X-Correlation-Id", "in": "header", "schema": {"type": "string", "maxLength": 128}},
]


def body_of(schema: Schema) -> dict[str, Any]:
    """
    Return the description of a body of JSON.

    A route reads it by itself (`body.read_body`): the framework would read the body of whoever asks, of any length,
    before it looks who that is.
    """
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


BODY: Final[Schema] = {**body_of(ref("Submission")), "parameters": _HEADERS}
RUN_BODY: Final[Schema] = {**body_of(ref("RunSubmission")), "parameters": _HEADERS}
LINES: Final = "application/x-ndjson"
LINES_BODY: Final[Schema] = {
    "requestBody": {"required": True, "content": {LINES: {"schema": _TEXT}}},
}


def shown_as(status: int, meaning: str, schema: Schema, media_type: str = "application/json") -> dict[int | str, Any]:
    """Return the description of an answer."""
    return {status: {"description": meaning, "content": {media_type: {"schema": schema}}}}


_MEANINGS: Final = {
    401: "No token, or one that is not valid",
    403: "The token does not allow it",
    404: "There is no such thing",
    409: "The job's status does not allow it, or the idempotency key belongs to another submission",
    413: "Too large",
    422: "Something does not fit; `errors` names each field",
    503: "Busy, or the queue is full; `Retry-After` says when to come back",
    507: "The disk is full: nothing was written",
}


def problems(*statuses: int, guarded: bool = True) -> dict[int | str, Any]:
    """Return the descriptions of the errors that a route may answer with."""
    all_ = (*((401, 403) if guarded else ()), *statuses)
    found: dict[int | str, Any] = {}
    for status in all_:
        found |= shown_as(status, _MEANINGS[status], ref("Problem"), PROBLEM_TYPE)
    return found


def with_ours(found: Schema) -> Schema:
    """
    Return the framework's description of the interface with our schemas.

    It gives each route with a parameter an answer 422 of a shape that never leaves this house: what does not fit is a
    problem like all others, and a word of the address always fits.
    """
    for verbs in found["paths"].values():
        for about in verbs.values():
            answers = about["responses"]
            if "application/json" in answers.get("422", {}).get("content", {}):
                del answers["422"]
                if "requestBody" in about or any(one["in"] != "path" for one in about.get("parameters", ())):
                    answers |= {str(status): one for status, one in problems(422, guarded=False).items()}
    schemas = found.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas.update(SCHEMAS)
    return found
