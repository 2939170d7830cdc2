"""The page of the HTTP interface: from its OpenAPI description."""
# ruff: noqa: INP001 - scripts beside the pages that they write

from __future__ import annotations

import json
import types
from typing import TYPE_CHECKING, Any, Final, cast

from docs.writers.words import anchor, sentence, unwrapped
from millrace.events import ignore
from millrace.web.app import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from millrace.web.house import House


VERBS: Final = ("get", "post", "put", "patch", "delete")


def openapi() -> dict[str, Any]:
    """Return the description that `/api/openapi.json` gives; no route is called for it."""
    house = cast("House", types.SimpleNamespace(emit=ignore))
    return create_app(house).openapi()


def http() -> Iterator[str]:
    """Yield the page of the HTTP interface."""
    spec = openapi()
    yield "# HTTP\n"
    yield "Served at `[web] listen`, by default http://127.0.0.1:8420. The machine-readable description is at"
    yield "`/api/openapi.json`. Bodies are JSON in UTF-8; times are RFC 3339 in UTC, durations seconds.\n"
    yield "A request shows its token as `Authorization: Bearer mr_…`. A fresh site writes its first one, with the role"
    yield "`admin`, to `admin.token` in the state folder. `viewer` may look, `operator` may also submit and steer,"
    yield "`admin` also sees who did what.\n"
    yield "| route | what |\n|---|---|"
    routes = [(verb, path, about) for path, verbs in spec["paths"].items() for verb, about in verbs.items()]
    routes = [route for route in routes if route[0] in VERBS]
    for verb, path, about in routes:
        yield f"| [`{verb.upper()} {path}`](#{anchor(f'{verb} {path}')}) | {about['summary']} |"
    yield ""
    for verb, path, about in routes:
        yield from _route(verb, path, about)
    yield "## Shapes\n"
    for name, schema in sorted(spec["components"]["schemas"].items()):
        if "properties" in schema:
            yield from _shape(name, schema)


def _route(verb: str, path: str, about: dict[str, Any]) -> Iterator[str]:
    yield f"## {verb.upper()} {path}\n"
    open_to_all = "" if about.get("security") else " Open to all."
    yield f"{about['summary']}. {sentence(unwrapped(about.get('description', '')))}{open_to_all}\n"
    if about.get("parameters"):
        yield "| parameter | in | type | meaning |\n|---|---|---|---|"
        for one in about["parameters"]:
            required = " (required)" if one.get("required") else ""
            meaning = one.get("description") or one["schema"].get("description", "")
            yield f"| `{one['name']}`{required} | {one['in']} | {_type(one['schema'])} | {meaning} |"
        yield ""
    body = about.get("requestBody", {}).get("content", {})
    for media, content in body.items():
        yield f"Body: `{media}`, {_type(content.get('schema', {}))}.\n"
    yield "| status | meaning | body |\n|---|---|---|"
    for status, answer in sorted(about["responses"].items()):
        shapes = [_type(content["schema"]) for content in answer.get("content", {}).values() if content.get("schema")]
        if answer["description"] not in ("Successful Response", "Validation Error"):
            yield f"| {status} | {answer['description']} | {', '.join(shapes)} |"
    yield ""


def _shape(name: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"### {name}\n\n| field | type | meaning |\n|---|---|---|"
    for field, about in schema["properties"].items():
        must = " (required)" if name == "Submission" and field in schema.get("required", ()) else ""
        yield f"| `{field}`{must} | {_type(about)} | {about.get('description', '')} |"
    yield ""


def _type(schema: dict[str, Any]) -> str:
    """Return the words for a JSON schema."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})" if name != "Status" else "status"
    if "anyOf" in schema:
        return " or ".join(_type(one) for one in schema["anyOf"] if one != {"type": "null"})
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(one)}`" for one in schema["enum"])
    kinds = schema.get("type", "anything")
    words = " or ".join(kinds) if isinstance(kinds, list) else kinds
    if words == "array":
        return f"list of {_type(schema.get('items', {}))}"
    low, high = (schema.get(key) for key in ("minimum", "maximum"))
    bounds = [f"≥ {low:,}"] if low is not None else []
    bounds += [f"≤ {high:,}"] if high is not None else []
    bounds += [f"default {json.dumps(schema['default'])}"] if schema.get("default") is not None else []
    return ", ".join([words.replace("string or null", "text or null").replace("string", "text"), *bounds])
