"""What goes out: JSON as the contract has it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from fastapi.responses import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENCODER: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))
MEDIA_TYPE: Final = "application/json"


def json_line(value: Any) -> bytes:
    """Return a value as JSON on one line."""
    return _ENCODER.encode(value).encode(errors="backslashreplace")


def json_answer(
    value: Any, status: int = 200, headers: Mapping[str, str] | None = None, media_type: str = MEDIA_TYPE
) -> Response:
    """
    Return a value as a JSON response: one line, ended as a line is, so that `curl` leaves the prompt where it belongs.

    Pydantic has no part in it, since it is ours and plain.
    """
    return Response(json_line(value) + b"\n", status, dict(headers or {}), media_type)
