"""What any submission, of a job or of a run, must keep to, whatever it asks for."""

from __future__ import annotations

from typing import Final

from millrace.errors import PayloadError, Problem

MAX_PRIORITY: Final = 1_000_000
MAX_KEY: Final = 255
LATEST_MS: Final = 253_402_300_799_999  # the last millisecond of the year 9999: later ones have no text form
COMMIT_S: Final = 30.0  # how long a caller waits for a lock that another process keeps


def check_bounds(priority: int, key: str | None, correlation_id: str, due_at: int | None = None) -> None:
    """Raise PayloadError that names each of these which is out of bounds."""
    problems = []
    if not -MAX_PRIORITY <= priority <= MAX_PRIORITY:
        problems.append(Problem("priority", f"must lie between -{MAX_PRIORITY} and {MAX_PRIORITY}"))
    if key is not None and not 1 <= len(key) <= MAX_KEY:
        problems.append(Problem("key", f"must have 1 to {MAX_KEY} characters"))
    if key is not None and not key.isprintable():
        problems.append(Problem("key", "must consist of printable characters"))
    if due_at is not None and not 0 <= due_at <= LATEST_MS:
        problems.append(Problem("due_at", "must lie between the years 1970 and 9999"))
    if len(correlation_id) > MAX_KEY or not correlation_id.isprintable():
        problems.append(Problem("correlation_id", f"must have at most {MAX_KEY} characters, all printable"))
    if problems:
        raise PayloadError(problems)
