"""
The wall clock jumps under a real daemon (libfaketime), by hours and days, and at the two changes of the clocks.

Proved: work goes on, no attempt is taken for lost or timed out, what is due on the new time is done once, each time of
a schedule fires once or is made up for as its policy says, and a restart inside the hour that comes twice repeats none.
"""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from millrace.clock import MS, SYSTEM
from millrace.ledger.rows import NewJob
from tests.faults.referee import Referee, judge_log
from tests.process.scratch import until

if TYPE_CHECKING:
    from tests.faults.conftest import MakeSite
    from tests.process.scratch import Scratch, Served

HOUR_S = 3600
PLACES = ("/usr/lib/*/faketime/libfaketime.so.1", "/usr/local/lib/faketime/libfaketime.so.1")
DAILY = """
[schedules.{policy}]
task = "mark"
payload = {{ n = {n} }}
cron = "{cron}"
timezone = "{zone}"
catch_up = "{policy}"
catch_up_window = "30d"
"""
POLICIES = {"none": 0, "latest": 1, "all": 4}  # and how many of four runs are made up for


class FakeTime:
    """The wall clock of the daemons of one site; the monotonic one stays the machine's."""

    def __init__(self, folder: Path) -> None:
        found = [path for place in PLACES for path in Path("/").glob(place[1:])]
        if not found:
            pytest.skip("libfaketime is not installed (apt-get install faketime)")
        self._file = folder / "faketime"
        self.environ = {
            "LD_PRELOAD": str(found[0]),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
        self.by_s(0)

    def by_s(self, offset: float) -> None:
        """Set the clock so many seconds from the machine's."""
        young = self._file.with_suffix(".young")
        young.write_text(f"{offset:+.3f}\n")
        young.rename(self._file)

    def at(self, moment: str) -> None:
        """Set the clock to a moment in UTC; it goes on from there."""
        wanted = dt.datetime.fromisoformat(f"{moment}+00:00").timestamp()
        self.by_s(wanted - SYSTEM.now_ms() / MS)


@pytest.fixture
def clock(tmp_path: Path) -> FakeTime:
    """The clock of the daemons."""
    return FakeTime(tmp_path)


def moment(text: str) -> int:
    """Return the epoch milliseconds of a moment in UTC."""
    return round(dt.datetime.fromisoformat(f"{text}+00:00").timestamp() * MS)


def test_jumps_of_the_clock_cost_no_work_and_blame_nobody(site: Scratch, tmp_path: Path, clock: FakeTime) -> None:
    """An hour on, an hour back, three days on, while jobs run; those that wait for a time go by the new one."""
    referee = Referee(site, tmp_path / "acks.log")
    daemon = site.serve(clock.environ)
    count = 0
    for jump_s in (HOUR_S, -HOUR_S, 72 * HOUR_S, 0):
        before = len(referee.effects())
        long = [
            site.submit("until_file", queue=queue, n=count + n, name=f"go{jump_s}")
            for n, queue in enumerate(("default", "io"))
        ]
        until(lambda: len(referee.effects()) == before + 2, "jobs to run")  # noqa: B023 - called at once
        later = NewJob("mark", "io", f'{{"n":{count + 500}}}', due_at=SYSTEM.now_ms() + (jump_s - 60) * MS)
        clock.by_s(jump_s)
        (due,) = site.put(later)
        assert site.await_final(due).status == "succeeded", "it goes by another clock"
        assert {site.reads.job(job).status for job in long} == {"running"}
        (site.root / f"go{jump_s}").touch()
        assert {site.await_final(job).status for job in long} == {"succeeded"}
        count += 3
    referee.await_rest(60)
    judge_log(daemon, most=4)
    referee.judge()
    assert referee.rows("SELECT max(attempt) FROM job") == [(1,)]
    daemon.kill()


def test_three_days_down_under_each_policy(make_site: MakeSite, clock: FakeTime) -> None:
    """Four mornings were missed: all are made up for, or the last one, or none; and each is told."""
    parts = [DAILY.format(policy=policy, n=n, cron="0 6 * * *", zone="UTC") for n, policy in enumerate(POLICIES)]
    site = make_site("".join(parts))
    clock.at("2026-11-02T05:00:00")
    served(site, clock).kill()
    clock.at("2026-11-05T09:00:00")
    site.serve(clock.environ)
    for policy, ran in POLICIES.items():
        until(lambda: told(site, policy) == 4, f"each morning of {policy} to be told")  # noqa: B023 - called at once
        until(lambda: len(made_up(site, policy)) == ran, f"{ran} runs of {policy}")  # noqa: B023
        assert site.reads.fires(policy)[0].due_at == moment("2026-11-05T06:00:00")
    counts = {policy: len(made_up(site, policy)) for policy in POLICIES}
    assert counts == POLICIES


def served(site: Scratch, clock: FakeTime) -> Served:
    """Start a daemon; return it once it knows the schedules, as one that dies before has never heard of them."""
    daemon = site.serve(clock.environ)
    until(site.reads.schedules, "the schedules to be known")
    return daemon


def told(site: Scratch, policy: str) -> int:
    """Return of how many due times a schedule's history tells."""
    return sum(row.count for row in site.reads.fires(policy))


def made_up(site: Scratch, policy: str) -> list[str]:
    """Return the jobs of a schedule that are done."""
    return [row.job_id for row in site.reads.fires(policy) if row.job_id and row.status == "succeeded"]


@pytest.mark.parametrize(
    ("restarts", "due"),
    [
        (
            ("2026-10-25T00:20:00", "2026-10-25T00:40:00", "2026-10-25T01:20:00", "2026-10-26T01:31:00"),
            ("2026-10-25T00:30:00", "2026-10-26T01:30:00"),
        ),
        (
            ("2027-03-27T12:00:00", "2027-03-28T00:59:00", "2027-03-28T01:20:00", "2027-03-29T00:31:00"),
            ("2027-03-28T01:00:00", "2027-03-29T00:30:00"),
        ),
    ],
    ids=["autumn", "spring"],
)
def test_half_past_one_comes_once_on_the_nights_when_the_clocks_change(
    make_site: MakeSite, clock: FakeTime, restarts: tuple[str, ...], due: tuple[str, ...]
) -> None:
    """London has that time twice in autumn and not at all in spring; the daemon is killed within the hour, twice."""
    site = make_site(DAILY.format(policy="all", n=1, cron="30 1 * * *", zone="Europe/London"))
    for restart in restarts:
        clock.at(restart)
        daemon = served(site, clock)
        passed = sum(moment(one) < moment(restart) for one in due)
        until(lambda: len(made_up(site, "all")) >= passed, f"run {passed}")  # noqa: B023 - called at once
        daemon.kill()
    assert [row.due_at for row in site.reads.fires("all")][::-1] == [moment(one) for one in due]
    assert len(made_up(site, "all")) == len(due)
