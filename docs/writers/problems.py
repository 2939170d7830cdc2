"""The page of errors: from their tree and the problems of the HTTP interface."""
# ruff: noqa: INP001 - scripts beside the pages that they write

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import TYPE_CHECKING

from docs.writers.words import unwrapped
from millrace import errors
from millrace.errors import MillraceError
from millrace.web.problems import TITLES, URN

if TYPE_CHECKING:
    from collections.abc import Iterator


def all_errors() -> Iterator[str]:
    """Yield the page of errors."""
    yield "# Errors\n"
    tree = (ast.get_docstring(ast.parse(Path(inspect.getfile(errors)).read_text())) or "").partition("\n\n")[2]
    yield f"```text\n{inspect.cleandoc(tree)}\n```\n"
    yield "## Problems over HTTP\n"
    yield f"Errors are `application/problem+json` (RFC 9457): `type` is `{URN}` and one of these words. Hold on to it"
    yield "rather than to the text. `errors` names each field that does not fit; `job_id` the job that has the key.\n"
    yield "| type | title | status |\n|---|---|---|"
    statuses = {kind.type: kind.http_status for kind in error_classes()}
    fixed = {"bug": 500, "parameter": 422, "too-slow": 408, "no-route": 404, "method-not-allowed": 405, "http": "4xx"}
    for name, title in TITLES.items():
        yield f"| `{name}` | {title} | {fixed.get(name) or statuses[name]} |"
    yield "\n## Classes\n\n| class | exit | HTTP | type | meaning |\n|---|---|---|---|---|"
    for kind in error_classes():
        meaning = unwrapped(inspect.getdoc(kind) or "").splitlines()[0]
        yield f"| `{kind.__name__}` | {kind.exit_code} | {kind.http_status} | `{kind.type}` | {meaning} |"
    yield "\nIn a job, `RetryLater`, `GiveUp` and `StopJob` mean something: [write a job](../how-to/write-a-job.md).\n"


def error_classes() -> Iterator[type[MillraceError]]:
    """Yield the classes of errors in the order in which they stand."""
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, MillraceError):
            yield value
