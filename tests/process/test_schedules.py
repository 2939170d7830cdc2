"""Schedules in the real daemon: they fire, once, whatever happens to the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.process.scratch import until

if TYPE_CHECKING:
    from tests.process.conftest import MakeSite

SECOND = """
[schedules.each-second]
task = "add"
payload = { a = 1, b = 2 }
every = "1s"
"""


def test_a_schedule_of_a_task_fires_in_the_daemon(make_site: MakeSite) -> None:
    """What it is all for."""
    site = make_site(SECOND)
    daemon = site.serve()

    fired = daemon.await_event("schedule.fired")
    job = site.await_status(fired["work_id"], "succeeded")

    assert (job.task, job.result, tuple(job.source)) == ("add", "3", ("schedule", "each-second"))
    assert fired["outcome"] == "on_time"
    until(lambda: len(site.reads.fires("each-second")) > 1, "the second fire")
    times = [row.due_at for row in site.reads.fires("each-second")]
    assert times[0] - times[-1] == (len(times) - 1) * 1000
    assert daemon.stop() == 0
