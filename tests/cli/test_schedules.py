"""`millrace schedules`, `today` and `backfill`: what runs when in words, expected against happened, and the gaps."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from millrace.clock import SYSTEM, parse_time, rfc3339
from millrace.ledger.fire_rows import Decision, NewFire
from millrace.ledger.plan import Plan, PlanStage
from millrace.ledger.rows import JobError, NewJob
from millrace.ledger.run_rows import NewRun

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Done, Past, Site

SCHEDULES = """
[schedules.nightly]
task = "greet"
payload = { name = "Ann" }
cron = "30 2 * * *"
timezone = "Europe/Berlin"
[schedules.each]
task = "add"
payload = { left = 1 }
every = "1h"
clients = ["default", "acme"]
overlap = "queue"
"""
HOUR = 3_600_000


@pytest.fixture
def timed(site: Site) -> Site:
    """Give the site schedules."""
    site.config.write_text(site.config.read_text() + SCHEDULES)
    return site


def add(site: Site, text: str) -> None:
    """Write more into config.toml."""
    site.config.write_text(site.config.read_text() + text)


def decided(past: Past, key: str, *fires: NewFire) -> None:
    """Let a daemon have decided about a schedule."""
    last = past.moves.sync_schedules({key: "f"}).wait()[key].last
    assert past.moves.fire(Decision(key, key, "default", last, last, fires, alone=False)).wait().verdict == "done"


def test_the_list_says_when_in_words_for_each_client(timed: Site, call: Callable[..., Done]) -> None:
    """A schedule is one for each client."""
    done = call("schedules", "list", "--json")
    rows = {row["schedule"]: row for row in done.json}
    assert sorted(rows) == ["each", "each@acme", "nightly"]
    assert rows["nightly"]["words"] == "every day at 02:30 Europe/Berlin"
    assert len(rows["nightly"]["next"]) == 3
    assert "every day at 02:30" in call("schedules", "list").out


def test_times_that_a_clock_ahead_has_decided_are_left_out_of_the_next_ones(
    timed: Site, call: Callable[..., Done], past: Past
) -> None:
    """Nobody waits for what will not come; a note says why."""
    (before,) = (row["next"] for row in call("schedules", "next", "nightly", "--json").json)
    decided(past, "nightly", NewFire(parse_time(before[0]["at"]), "on_time", work=NewJob("greet", "default")))
    (after,) = (row["next"] for row in call("schedules", "next", "nightly", "--json").json)
    assert after[:2] == before[1:]
    assert "is decided already, by a clock that was ahead" in call("schedules", "next", "nightly").out
    assert call("schedules", "list", "--json").json[-1]["next"] == after


def test_a_schedule_of_what_is_not_there_is_told_everywhere(timed: Site, call: Callable[..., Done]) -> None:
    """Whoever looks first shall see it."""
    add(timed, '[schedules.typo]\ntask = "gret"\ncron = "@daily"\n')
    assert 'Did you mean "greet"?' in call("schedules", "list").err
    check = call("config", "check")
    assert (check.code, "schedules.typo" in check.err) == (78, True)
    assert "gret" in call("doctor").out
    assert call("schedules", "next", "typo").code == 0


FILE_JOBS = """
from pathlib import Path
from pydantic import FilePath
from millrace import Pipeline, task

@task
def load(path: FilePath) -> int:
    return len(path.read_bytes())

books = Pipeline("books", inputs={"path": FilePath})

@books.stage
def booked(path: Path) -> int:
    return len(path.read_bytes())
"""
FILE_SCHEDULES = """
[schedules.loaded]
task = "load"
payload = { path = "invoices.csv" }
every = "1h"
[schedules.booked]
pipeline = "books"
inputs = { path = "invoices.csv" }
every = "1h"
"""


def test_a_relative_path_is_one_of_the_site_whoever_asks_from_where(
    site: Site, call: Callable[..., Done], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The file beside config.toml is there, the one beside the caller is not meant."""
    (site.root / "cli_jobs" / "files.py").write_text(FILE_JOBS)
    add(site, FILE_SCHEDULES)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    for folder in (site.root, elsewhere):
        monkeypatch.chdir(folder)
        assert call("config", "check").code == 78
        assert call("schedules", "list").err.count(".path: there is no file") == 2
        assert call("schedules", "fire", "loaded").code == 2
        assert call("backfill", "booked", "--from", "2026-01-01T00:00", "--to", "2026-01-01T02:00", "--yes").code == 2
        (elsewhere / "invoices.csv").write_text("1")
    (elsewhere / "invoices.csv").unlink()
    (site.root / "invoices.csv").write_text("1")
    for folder in (site.root, elsewhere):
        monkeypatch.chdir(folder)
        assert call("config", "check").code == 0
        assert call("schedules", "list").err == ""
        assert "schedules" not in "".join(line for line in call("doctor").out.splitlines() if "fail" in line)
        assert call("schedules", "fire", "loaded", "--anyway").code == 0
        assert call("backfill", "booked", "--from", "2026-01-01T00:00", "--to", "2026-01-01T02:00", "--yes").code == 0
        assert Path.cwd() == folder


@pytest.mark.parametrize(
    "words",
    [
        "submit load path=day.csv",
        "submit load --lines lines.jsonl",
        "submit load --payload @line.json",
        "run books path=day.csv",
        "run books --dry-run path=day.csv",
    ],
)
def test_a_relative_path_in_a_payload_is_one_of_the_site(
    site: Site,
    call: Callable[..., Done],
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
    words: str,
) -> None:
    """The daemon will read it there. The files of the call itself are those of the caller."""
    (site.root / "cli_jobs" / "files.py").write_text(FILE_JOBS)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "day.csv").write_text("1")
    for name in ("line.json", "lines.jsonl"):
        (elsewhere / name).write_text('{"path": "day.csv"}\n')
    monkeypatch.chdir(elsewhere)
    refused = call(*words.split())
    assert refused.code == 2
    assert f"there is no file {site.root / 'day.csv'}" in refused.err
    (site.root / "day.csv").write_text("1")
    assert call(*words.split()).code == 0
    assert Path.cwd() == elsewhere


def test_a_caller_whose_folder_is_gone_is_answered(timed: Site) -> None:
    """Whatever is relative is so to the site."""
    gone = timed.root / "gone"
    gone.mkdir()
    argv = ["sh", "-c", 'rmdir ../gone && exec "$@"', "sh", *timed.argv("schedules", "list")]
    done = subprocess.run(argv, cwd=gone, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "nightly" in done.stdout) == (0, True), done.stderr


def test_the_next_times_are_as_many_as_asked_for(timed: Site, call: Callable[..., Done]) -> None:
    """And a name that is not there is one that was mistyped."""
    assert call("schedules", "next", "nightly", "-n", "5").out.count("  next  ") == 5
    assert call("schedules", "next", "each@acme", "--json").json[0]["client"] == "acme"
    missing = call("schedules", "next", "nigthly")
    assert (missing.code, "nightly" in missing.err) == (4, True)


def test_an_expression_is_explained_with_its_clock_change(site: Site, call: Callable[..., Done]) -> None:
    """Before it is written into config.toml."""
    words = ("schedules", "test", "30 2 * * *", "--timezone", "Europe/Berlin", "--from", "2027-03-27T00:00:00Z")
    out = call(*words).out
    assert "02:30 does not exist on 2027-03-28: runs at 03:00" in out
    assert call("schedules", "test", "15m", "--json").json["words"] == "every 15m"
    assert call("schedules", "test", "2030-12-01T06:00").out.startswith("once, Sun 2030-12-01")


@pytest.mark.parametrize(
    "wrong", [("61 * * * *",), ("0 0 30 2 *",), ("0 0 * * * *",), ("@daily", "--timezone", "Berlin"), ("2026-13-01",)]
)
def test_an_expression_that_means_nothing_is_a_usage_error(site: Site, call: Callable[..., Done], wrong: Any) -> None:
    """With the reason."""
    assert call("schedules", "test", *wrong).code == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("0 77 * * mon",), '"0 77 * * mon": its hour "77" is not right'),
        (("@daily", "--timezone", "Berlin"), '--timezone: "Berlin" is not a time zone'),
        (("@dayly",), ' "@dayly" is not known. Did you mean "@daily"?'),
        (("0 7 * * mon-fir",), '"fir" is no day, did you mean "fri"?'),
    ],
)
def test_what_is_wrong_with_an_expression_is_told_once(
    site: Site, call: Callable[..., Done], words: tuple[str, ...], said: str
) -> None:
    """Which text, a colon, and the reason."""
    err = call("schedules", "test", *words).err
    assert said in err
    assert f'"{words[-1]}"' in err
    assert err.count(words[-1]) == 1


def test_next_without_schedules_says_how_to_make_one(site: Site, call: Callable[..., Done]) -> None:
    """As `list` does."""
    done = call("schedules", "next")
    assert (done.code, done.out) == (0, "")
    assert done.err == call("schedules", "list").err
    assert done.err.startswith("No schedules.")


def test_the_repair_of_a_schedule_names_the_file_that_it_stands_in(timed: Site, call: Callable[..., Done]) -> None:
    """A reload reads config.toml; job files are read at the start."""
    add(timed, '[schedules.typo]\ntask = "gret"\ncron = "@daily"\n')
    (timed.root / "cli_jobs" / "late.py").write_text(
        'from millrace import task\n\n@task(schedule="0 77 * * *")\ndef late() -> None: ...\n'
    )
    checks = [row for row in call("doctor", "--json").json["checks"] if row["name"] == "schedules"]
    repairs = {row["text"].split(":")[0]: row["repair"] for row in checks}
    assert repairs["typo"] == "correct [schedules.typo], then: millrace reload"
    assert "beside the task" in repairs["late"]
    assert "restart the daemon" in repairs["late"]


def test_a_schedule_is_fired_by_hand_and_its_overlap_holds(timed: Site, call: Callable[..., Done]) -> None:
    """Also while no daemon runs."""
    (fired,) = call("schedules", "fire", "nightly", "--json").json
    assert call("jobs", "show", fired["id"], "--json").json["source"] == {"kind": "schedule", "name": "nightly"}
    again = call("schedules", "fire", "nightly")
    assert (again.code, "--anyway" in again.err) == (5, True)
    assert call("schedules", "fire", "nightly", "--anyway").code == 0
    assert call("schedules", "fire", "each").code == 0
    assert [one["id"] for one in call("schedules", "fire", "each", "--json").json] == [None, None], "they wait"


def test_a_pause_is_shown_and_taken_back_and_in_the_audit(timed: Site, call: Callable[..., Done]) -> None:
    """Who did it stands in `schedules next`."""
    assert call("schedules", "pause", "each").out == "each  paused\neach@acme  paused\n"
    rows = {row["schedule"]: row for row in call("schedules", "list", "--json").json}
    assert rows["each@acme"]["paused"]
    assert rows["each"]["paused_by"].startswith("cli:")
    assert " paused" in call("schedules", "list").out
    assert "paused by cli:" in call("schedules", "next", "each").out
    assert "before" in call("schedules", "pause", "each").err
    assert call("schedules", "resume", "each").code == 0
    assert "not paused" in call("schedules", "resume", "each").err
    actions = [row["action"] for row in call("audit", "list", "--json").json]
    assert actions.count("schedule.pause") == 4


def test_today_shows_gaps_first_and_ends_with_1(timed: Site, past: Past, call: Callable[..., Done]) -> None:
    """Expected against happened."""
    now = SYSTEM.now_ms()
    job = NewJob("greet", "default", '{"name":"Ann"}')
    decided(
        past,
        "nightly",
        NewFire(now - 3 * HOUR, "missed", "catch_up = none"),
        NewFire(now - 2 * HOUR, "on_time", expected_by=now - HOUR, work=job),
        NewFire(now - HOUR, "skipped", "paused", now - 90 * 60_000, 30),
    )
    done = call("today", "--json")
    assert done.code == 1
    assert [gap["kind"] for gap in done.json["gaps"]] == ["overdue", "missed"]
    line = next(line for line in done.json["schedules"] if line["schedule"] == "nightly")
    assert (line["expected"], line["missed"], line["open"], line["skipped"]) == (32, 1, 1, 30)
    text = call("today")
    assert text.out.startswith("GAP")
    assert "catch_up = none" in text.out
    command = next(line for line in text.err.splitlines() if "backfill" in line).partition("millrace ")[2].split()
    assert command[:2] == ["backfill", "nightly"]
    assert parse_time(command[3]) <= now - 3 * HOUR <= parse_time(command[5])
    assert call(*command, "--dry-run").code == 0


def test_today_says_what_a_dead_job_died_of(timed: Site, past: Past, call: Callable[..., Done]) -> None:
    """The question of the morning: a gap without a reason sends everybody to another command."""
    job = NewJob("greet", "default", '{"name":"Ann"}')
    decided(past, "nightly", NewFire(SYSTEM.now_ms() - HOUR, "on_time", work=job))
    (held,) = past.moves.claim("default", 1).wait()
    past.moves.give_up(held, JobError("ValueError", "no such month"), duration_s=0.1, cause="gave up").wait()
    done = call("today", "--json")
    (gap,) = done.json["gaps"]
    assert (done.code, gap["kind"], gap["job_id"]) == (1, "dead", held.job_id)
    assert gap["why"] == "ValueError: no such month"
    assert "ValueError: no such month" in call("today").out


def test_today_says_how_much_of_a_run_is_dead(timed: Site, past: Past, call: Callable[..., Done]) -> None:
    """A run has many jobs, and an error for each that died; `runs show` names them."""
    stage = PlanStage("only", "parcels.only", "default", max_attempts=1)
    decided(
        past, "nightly", NewFire(SYSTEM.now_ms() - HOUR, "on_time", work=NewRun("parcels", Plan("parcels", (stage,))))
    )
    (held,) = past.moves.claim("default", 1).wait()
    past.moves.give_up(held, JobError("ValueError", "no"), duration_s=0.1, cause="gave up").wait()
    (gap,) = call("today", "--json").json["gaps"]
    assert (gap["kind"], gap["run_id"], gap["why"]) == ("failed", held.run_id, "1 of its jobs is dead")


def test_today_tells_what_nobody_has_decided(timed: Site, past: Past, call: Callable[..., Done]) -> None:
    """A daemon that is down writes no rows; that must not look like a quiet day."""
    past.moves.sync_schedules({"each": "f"}).wait()
    with timed.open() as ledger:
        ledger.writer.submit(lambda tx: tx.run("UPDATE schedule SET last = last - ?", (5 * HOUR,))).wait()
    done = call("today", "--json")
    (gap,) = done.json["gaps"]
    assert (gap["schedule"], gap["kind"], gap["count"] in (4, 5)) == ("each", "missed", True)
    assert "not running" in gap["why"]
    assert "backfill" not in call("today").err, "the next start decides"


def test_today_without_schedules_says_how_to_make_one(site: Site, call: Callable[..., Done]) -> None:
    """A count of gaps where nothing is expected would be no news."""
    done = call("today")
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("No schedules. Write [schedules.NAME] into config.toml")


def test_like_gaps_of_a_schedule_are_one(timed: Site, past: Past, call: Callable[..., Done]) -> None:
    """A minute-schedule whose job dies each time would fill a screen, and hide what else there is."""
    now = SYSTEM.now_ms()
    job = NewJob("greet", "default", '{"name":"Ann"}')
    due = [now - number * 60_000 for number in range(5, 0, -1)]
    decided(past, "nightly", *(NewFire(at, "on_time", work=job) for at in due))
    for held in past.moves.claim("default", 4).wait():
        past.moves.give_up(held, JobError("E", "e"), duration_s=0.1, cause="c").wait()
    (gap,) = call("today", "--json").json["gaps"]
    dead = call("dead", "list", "--json").json
    assert (gap["kind"], gap["count"], gap["due_at"], gap["since"]) == ("dead", 4, rfc3339(due[3]), rfc3339(due[0]))
    assert (gap["job_id"], gap["why"]) == (dead[0]["id"], "E: e")
    line = next(line for line in call("today", "--json").json["schedules"] if line["schedule"] == "nightly")
    assert (line["expected"], line["failed"], line["open"]) == (5, 4, 1)


def test_what_was_made_up_for_is_no_gap_any_more(timed: Site, past: Past, call: Callable[..., Done]) -> None:
    """Also of due times that share a row, once all of them are."""
    now = SYSTEM.now_ms()
    late = [now - number * HOUR for number in (5, 4, 3, 2)]
    decided(past, "nightly", NewFire(late[2], "missed", "down", late[0], 3), NewFire(late[3], "missed", "down"))
    job = NewJob("greet", "default", '{"name":"Ann"}')
    for at, left in zip((late[3], *late[:3]), (3, 3, 3, 0), strict=True):
        past.moves.backfill(("nightly", "nightly", "default"), [NewFire(at, "on_time", work=job)], actor="ann").wait()
        assert sum(gap["count"] for gap in call("today", "--json").json["gaps"]) == left


def test_what_was_done_too_late_is_a_gap(timed: Site, past: Past, call: Callable[..., Done]) -> None:
    """It succeeded, and is counted so; yet somebody waited for it."""
    now = SYSTEM.now_ms()
    job = NewJob("greet", "default", '{"name":"Ann"}')
    decided(past, "nightly", NewFire(now - 2 * HOUR, "on_time", expected_by=now - HOUR, work=job))
    (held,) = past.moves.claim("default", 1).wait()
    past.moves.succeed(held, "1", duration_s=0.1).wait()
    day = call("today", "--json").json
    assert [(gap["kind"], gap["job_id"]) for gap in day["gaps"]] == [("done_late", held.job_id)]
    assert rfc3339(now - HOUR) in day["gaps"][0]["why"]
    assert [line["succeeded"] for line in day["schedules"] if line["schedule"] == "nightly"] == [1]


def test_of_many_schedules_today_shows_those_with_trouble(site: Site, past: Past, call: Callable[..., Done]) -> None:
    """Hundreds of lines without news are no answer; what is alike shares a line, and the sums leave nothing out."""
    names = [f"s{number:03}" for number in range(60)]
    add(site, "".join(f'[schedules.{name}]\ntask = "add"\nevery = "1d"\npayload = {{ left = 1 }}\n' for name in names))
    now = SYSTEM.now_ms()
    states = past.moves.sync_schedules(dict.fromkeys(names, "f")).wait()
    for name in names[5:]:
        last = states[name].last
        missed = (NewFire(now - HOUR, "missed", "down"),)
        past.moves.fire(Decision(name, name, "default", last, last, missed, alone=False)).wait()
    done = call("today")
    lines = done.out.splitlines()
    assert (done.code, len(lines)) == (1, 1 + 1 + 1 + 1 + 50)
    assert lines[1].split()[:9] == ["missed", "s005,", "s006,", "s007", "and", "52", "more", "1h", "ago"]
    assert not any(line.startswith("s004 ") for line in lines)
    assert "10 more schedules" in done.err
    assert "55 times in the last 24h: 55 gaps." in done.err
    assert len(call("today", "--all").out.splitlines()) == 1 + 55 + 1 + 1 + 60
    assert len(call("today", "--json").json["gaps"]) == 55


def test_today_without_gaps_ends_with_0(timed: Site, call: Callable[..., Done]) -> None:
    """Also before the first start."""
    done = call("today")
    assert (done.code, "no gaps" in done.err) == (0, True)


def test_a_backfill_is_shown_first_and_leaves_out_what_ran(timed: Site, past: Past, call: Callable[..., Done]) -> None:
    """A period is made up for once, and nobody is surprised by how much it is."""
    words = ("backfill", "nightly", "--from", "2026-03-28", "--to", "2026-03-30")
    shown = call(*words, "--dry-run")
    assert shown.out.splitlines()[:3] == [
        "nightly: 3 times to make up for",
        "  Sat 2026-03-28 02:30 +01:00",
        "  Sun 2026-03-29 03:00 +02:00",
    ]
    assert call(*words).code == 1, "there is nobody to ask"
    ran = SYSTEM_RAN
    decided(past, "nightly", NewFire(ran, "on_time", work=NewJob("greet", "default")))
    assert call(*words, "--yes", "--json").json["made_up"] == 2
    again = call(*words, "--yes", "--json").json
    assert again["made_up"] == 0
    assert [time["left_out"] for time in again["schedules"][0]["times"]] == [
        "ran: queued",
        "is made up for",
        "is made up for",
    ]
    with timed.open() as ledger:
        turn = ledger.reads.turn("nightly")
    assert turn.next is not None
    assert turn.next.how == "backfill"


SYSTEM_RAN = 1_774_661_400_000  # 2026-03-28 02:30 in Berlin


def test_a_backfill_wants_times(timed: Site, call: Callable[..., Done]) -> None:
    """Named with the option."""
    done = call("backfill", "nightly", "--from", "yesterday", "--to", "2026-03-30", "--yes")
    assert done.code != 0
    assert "--from" in done.err
    for words in ((), ("--json",), ("--dry-run",)):
        done = call("backfill", "nightly", "--from", "2026-03-30", "--to", "2026-03-29T12:00", "--yes", *words)
        assert (done.code, done.out) == (2, "")
        assert "--from 2026-03-30 is later than --to 2026-03-29T12:00" in done.err
    done = call("backfill", "nightly", "--from", "2026-03-29", "--to", "2026-03-29", "--dry-run")
    assert (done.code, "1 time to make up for" in done.out) == (0, True)
