"""How the open files that a process may have are shared out."""

from __future__ import annotations

import pytest

from millrace.errors import SettingsError
from millrace.process.descriptors import FEWEST_CONNECTIONS, OWN, PER_WORKER, connections
from millrace.web.server import MOST


def test_connections_get_what_is_left() -> None:
    """Up to a bound that is enough for anybody, and down to one below which nothing works."""
    need = OWN + 3 * PER_WORKER
    assert connections(need + FEWEST_CONNECTIONS, 3) == FEWEST_CONNECTIONS
    assert connections(need + 100, 3) == 100
    assert connections(1_000_000, 3) == MOST


def test_too_few_are_refused_with_what_is_needed() -> None:
    """The message names the limit, the need, and what can be done."""
    need = OWN + 3 * PER_WORKER + FEWEST_CONNECTIONS
    with pytest.raises(SettingsError, match=rf"only {need - 1} files .* {need} are needed for 3 workers.*ulimit -n"):
        connections(need - 1, 3)
