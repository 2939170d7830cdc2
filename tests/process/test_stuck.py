"""A job in a thread that ignores its time: the daemon cannot end it, and says so wherever somebody asks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tests.process.scratch import until

if TYPE_CHECKING:
    from tests.process.scratch import Scratch

DEAF = """\
import threading
from pathlib import Path

from millrace import task


@task(queue="io", timeout="100ms", retries=0)
def deaf() -> None:
    while not Path("deaf.go").exists():
        threading.Event().wait(0.01)
"""


def test_a_job_beyond_its_time_is_told_by_explain_and_doctor(site: Scratch) -> None:
    """The log has it once; who looks later asks these."""
    (site.root / "jobs" / "deaf.py").write_text(DEAF)
    daemon = site.serve()
    job_id = site.submit("deaf", queue="io")
    assert daemon.await_event("thread.stuck")["job_id"] == job_id

    def explained() -> str:
        return str(json.loads(site.run("explain", job_id, "--json").stdout)["code"])

    until(lambda: explained() == "running.stuck", "the note of it")
    doctor = json.loads(site.run("doctor", "--json").stdout)["checks"]
    (found,) = [check for check in doctor if check["name"] == "threads"]
    assert found["level"] == "warn"
    assert f"job {job_id} (deaf) runs in a thread of io" in found["text"]

    (site.root / "deaf.go").touch()
    site.await_final(job_id)
    assert explained() != "running.stuck"
    assert "beyond its time" not in site.run("doctor").stdout
    assert daemon.stop() == 0
