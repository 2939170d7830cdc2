"""A site opened by a command, with and without a daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from millrace.config.load import load_site
from millrace.errors import UnknownTask
from millrace.events import Event, JobFileBroken
from millrace.ledger.wake import Listener
from millrace.queue.site import open_site
from millrace.queue.submit import Submission

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

JOB = "from millrace import task\n\n\n@task\ndef add(n: int = 0) -> int:\n    return n\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A site with one good job file and one broken."""
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "good.py").write_text(JOB)
    (tmp_path / "jobs" / "broken.py").write_text("def nothing(:\n")
    return tmp_path


def test_a_command_submits_whether_a_daemon_runs_or_not(folder: Path, config: Callable[[str], Path]) -> None:
    """The job is in the file; a daemon that listens is woken, one that is down does not matter."""
    events: list[Event] = []
    site = load_site(config(""), {})
    with open_site(site, emit=events.append) as opened:
        opened.submitter.submit(Submission("add"))
        listener = Listener(site.places.state)
        job = opened.submitter.submit(Submission("add", payload={"n": 2}))
        assert listener.wait(20.0)
        listener.close()
        with pytest.raises(UnknownTask):
            opened.submitter.submit(Submission("ad"))
    (broken,) = [event for event in events if isinstance(event, JobFileBroken)]
    assert broken.file.endswith("broken.py")
    assert broken.line == 1
    with open_site(site) as again:
        assert again.ledger.reads.job(job.id).payload == '{"n":2}'
        assert again.ledger.reads.status_counts()["queued"] == 2
