"""config.toml as a whole: what is taken, what is refused, and in which words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from millrace.config.load import load_site
from millrace.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


def problems(config: Path | None, environ: Mapping[str, str] | None = None) -> list[str]:
    """Return what is wrong, one line per problem."""
    with pytest.raises(SettingsError) as caught:
        load_site(config, environ or {})
    return str(caught.value).splitlines()


def test_an_empty_file_is_valid(config: Callable[[str], Path]) -> None:
    """Two commands from clone to running: nobody has to write settings first."""
    settings = load_site(config(""), {}).settings

    assert (settings.site.timezone, settings.site.jobs, settings.web.listen) == ("UTC", "jobs", "127.0.0.1:8420")
    assert (settings.defaults.retries, settings.defaults.backoff, settings.defaults.timeout) == (
        3,
        (10.0, 900.0),
        600.0,
    )
    assert (settings.defaults.grace, settings.defaults.drain, settings.defaults.child_idle) == (5.0, 30.0, 60.0)
    assert settings.database.synchronous == "full"
    assert list(settings.queues) == ["default"]
    assert settings == load_site(None, {}).settings


def test_every_key_is_read(config: Callable[[str], Path]) -> None:
    """A key that is taken and then ignored is worse than one that is refused."""
    text = """
        [site]
        name = "Example Ltd"
        timezone = "Europe/London"
        jobs = "work"
        state = "data"
        [web]
        listen = "[::1]:8421"
        max_body = "2MiB"
        [database]
        url = "sqlite:///queue.db"
        synchronous = "normal"
        [defaults]
        retries = 0
        backoff = "1s..PT1H"
        timeout = "1h30m"
        grace = "0s"
        drain = "1m"
        child_idle = "90s"
        fan_out = 100
        [queues.io]
        kind = "thread"
        workers = 4
        max_workers = 32
        max_backlog = 100000
        max_wait = "5s"
        [queues.cpu]
        memory = "1GB"
        workers = 3
        [clients.acme]
        name = "Acme GmbH"
        timezone = "Europe/Vienna"
        weight = 2.5
        settings.leads.threshold = 70
        [settings.leads]
        threshold = 80
    """
    site = load_site(config(text), {})
    settings = site.settings

    assert settings.site.model_dump() == {
        "name": "Example Ltd",
        "timezone": "Europe/London",
        "jobs": "work",
        "state": "data",
    }
    assert settings.web.model_dump() == {"listen": "[::1]:8421", "max_body": 2 * 2**20}
    assert settings.database.model_dump() == {"url": "sqlite:///queue.db", "synchronous": "normal"}
    assert settings.defaults.model_dump() == {
        "retries": 0,
        "backoff": (1.0, 3600.0),
        "timeout": 5400.0,
        "grace": 0.0,
        "drain": 60.0,
        "child_idle": 90.0,
        "fan_out": 100,
    }
    assert settings.queues["io"].model_dump() == {
        "kind": "thread",
        "workers": 4,
        "max_workers": 32,
        "max_backlog": 100_000,
        "memory": None,
        "max_wait": 5.0,
    }
    assert (settings.queues["cpu"].memory, settings.queues["cpu"].max_workers) == (10**9, 3)
    assert settings.queues["default"].workers == 2
    assert settings.clients["acme"].model_dump() == {
        "name": "Acme GmbH",
        "timezone": "Europe/Vienna",
        "weight": 2.5,
        "settings": {"leads": {"threshold": 70}},
    }
    assert site.places.ledger == site.places.root / "data" / "queue.db"
    assert (site.places.listen, site.places.max_body) == (("::1", 8421), 2 * 2**20)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[queus.io]\n", 'config.toml:1: queus: unknown key. Did you mean "queues"?'),
        ("[queues.io]\nwokers = 2\n", 'config.toml:2: queues.io.wokers: unknown key. Did you mean "workers"?'),
        ("[web]\nlisen = 1\n", 'config.toml:2: web.lisen: unknown key. Did you mean "listen"?'),
        ("[web]\nzzz = 1\n", "config.toml:2: web.zzz: unknown key. Known: listen, max_body."),
        ("[clients.a]\nwait = 1\n", 'config.toml:2: clients.a.wait: unknown key. Did you mean "weight"?'),
        (
            "[watches.x]\npath = ''\n",
            "config.toml:1: watches: [watches] is not in this version yet; take the section out",
        ),
        ("web = 3\n", "config.toml:1: web: must be a table, written [web] (is 3)"),
        ("queues = []\n", "config.toml:1: queues: must be a table, written [queues]"),
        ("[queues]\nio = 3\n", "config.toml:2: queues.io: must be a table, written [queues.io] (is 3)"),
    ],
)
def test_an_unknown_key_is_named_with_its_line_and_a_suggestion(
    config: Callable[[str], Path], text: str, problem: str
) -> None:
    """A misspelt key that is ignored shows weeks later, as a pool that never grew."""
    path = config(text)
    assert [line.replace(f"{path.parent}/", "") for line in problems(path)] == [problem]


@pytest.mark.parametrize(
    ("section", "line", "reason"),
    [
        ("site", 'name = ""', 'must not be empty (is "")'),
        ("site", f'name = "{"x" * 201}"', "must be at most 200 characters"),
        ("site", "name = 3", "must be text in quotes (is 3)"),
        ("site", 'timezone = "Europe/Viena"', 'Did you mean "Europe/Vienna"?'),
        ("site", 'timezone = "../etc/passwd"', "is not a time zone"),
        ("site", 'jobs = "my-jobs"', "must be the name of a folder that Python can import"),
        ("site", 'jobs = "../jobs"', "must be the name of a folder that Python can import"),
        ("site", 'state = ""', "must not be empty"),
        ("web", 'listen = "8420"', "is not an address to listen on"),
        ("web", 'max_body = "999B"', 'must be 1kB to 1GB (is "999B")'),
        ("web", 'max_body = "1001MB"', "must be 1kB to 1GB"),
        ("web", "max_body = 1000000", 'must be a size in quotes, such as "500kB" or "1GiB" (is 1000000)'),
        ("database", 'url = "mysql://h/d"', "this version keeps its ledger in SQLite"),
        ("database", 'synchronous = "off"', 'must be one of "normal", "full", "extra" (is "off")'),
        ("defaults", "retries = -1", "must be at least 0 (is -1)"),
        ("defaults", "retries = 101", "must be at most 100 (is 101)"),
        ("defaults", "retries = 2.0", "must be a whole number, such as 2 (is 2.0)"),
        ("defaults", "retries = true", "must be a whole number, such as 2 (is true)"),
        ("defaults", 'retries = "many"', 'must be a whole number (is "many")'),
        ("defaults", 'backoff = "15m..10s"', "must not be longer than the second"),
        ("defaults", 'backoff = "soon"', 'is not a range of durations: write for example "10s..15m"'),
        ("defaults", "backoff = 10", 'must be a range of durations in quotes, such as "10s..15m" (is 10)'),
        ("defaults", "timeout = 600", 'must be a duration in quotes, such as "90s", "5m" or "1h30m" (is 600)'),
        ("defaults", 'timeout = "0s"', "must be 10ms to 30d"),
        ("defaults", 'timeout = "31d"', "must be 10ms to 30d"),
        ("defaults", 'timeout = "ten minutes"', 'is not a duration: write for example "90s"'),
        ("defaults", 'grace = "11m"', "must be 0s to 10m"),
        ("defaults", 'drain = "61m"', "must be 0s to 1h"),
        ("defaults", 'child_idle = "25h"', "must be 0s to 1d"),
        ("queues.io", 'kind = "threads"', 'must be one of "process", "thread" (is "threads")'),
        ("queues.io", "workers = 0", "must be at least 1 (is 0)"),
        ("queues.io", "workers = 257", "must be at most 256 (is 257)"),
        ("queues.io", "max_workers = 1", "max_workers (1) must be at least workers (2)"),
        ("queues.io", "max_workers = 257", "must be at most 256"),
        ("queues.io", "max_backlog = 0", "must be at least 1"),
        ("queues.io", "max_backlog = 1_000_000_001", "must be at most 1000000000"),
        ("queues.io", 'memory = "31MB"', "must be 32MB to 10TB"),
        ("queues.io", 'memory = "11TB"', "must be 32MB to 10TB"),
        ("queues.io", 'kind = "thread"\nmemory = "1GB"', 'a queue of kind "thread" has none'),
        ("queues.io", 'max_wait = "0s"', "must be 10ms to 30d"),
        ("queues.io", 'max_wait = "31d"', "must be 10ms to 30d"),
        ("queues.IO", "workers = 2", "a name is 1 to 63 lower-case letters"),
        ('queues."a b"', "workers = 2", "a name is 1 to 63 lower-case letters"),
        (f"queues.{'q' * 64}", "workers = 2", "a name is 1 to 63 lower-case letters"),
        ("clients.Acme", "weight = 2", "a name is 1 to 63 lower-case letters"),
        ("clients.acme", "weight = 0", "must be more than 0"),
        ("clients.acme", "weight = 1001", "must be at most 1000"),
        ("clients.acme", "weight = nan", "must be a finite number"),
        ("clients.acme", 'timezone = "Vienna"', "is not a time zone"),
        ("clients.acme", "settings.a.b = nan", "a.b: must be a finite number"),
        ("settings.leads", "since = 2026-01-01", "leads.since: write dates and times in quotes"),
        ("settings.leads", "limits = [1.0, inf]", "leads.limits[1]: must be a finite number"),
    ],
)
def test_a_wrong_value_is_named_with_its_reason(
    config: Callable[[str], Path], section: str, line: str, reason: str
) -> None:
    """Every bound is held, and the message says what would be right."""
    path = config(f"[{section}]\n{line}\n")
    told = problems(path)

    assert len(told) == 1
    assert told[0].startswith(f"{path}:")
    assert reason in told[0]


@pytest.mark.parametrize(
    ("section", "line"),
    [
        ("web", 'max_body = "1kB"'),
        ("web", 'max_body = "1GB"'),
        ("defaults", "retries = 100"),
        ("defaults", 'backoff = "0s..0s"'),
        ("defaults", 'timeout = "10ms"'),
        ("defaults", 'timeout = "30d"'),
        ("defaults", 'grace = "10m"'),
        ("defaults", 'drain = "1h"'),
        ("defaults", 'child_idle = "1d"'),
        ("queues.io", "workers = 1"),
        ("queues.io", "workers = 256"),
        ("queues.io", "max_backlog = 1"),
        ("queues.io", 'memory = "32MB"'),
        ("queues.io", 'memory = "10TB"'),
        (f"queues.{'q' * 63}", "workers = 2"),
        ("clients.3m", "weight = 1000"),
        ("settings.leads", 'words = ["a", 1, 2.5, true, {b = "c"}]'),
    ],
)
def test_a_value_at_its_bound_is_taken(config: Callable[[str], Path], section: str, line: str) -> None:
    """A bound that is off by one refuses somebody's working site."""
    assert load_site(config(f"[{section}]\n{line}\n"), {}).origins


def test_all_problems_are_told_at_once(config: Callable[[str], Path]) -> None:
    """One problem per try makes a morning of ten tries."""
    path = config('[web]\nlisten = 1\n[queues.io]\nwokers = 2\nkind = "x"\n[defaults]\ntimeout = 5\n')
    assert {line.split(": ")[1] for line in problems(path)} == {
        "web.listen",
        "queues.io.wokers",
        "queues.io.kind",
        "defaults.timeout",
    }


def test_a_password_in_a_database_url_is_not_repeated(config: Callable[[str], Path]) -> None:
    """Messages end in logs and tickets."""
    path = config('[database]\nurl = "postgresql://user:hunter2@db.example/millrace"\n')
    assert "hunter2" not in "".join(problems(path))


def test_a_key_whose_line_is_not_found_names_the_file(config: Callable[[str], Path]) -> None:
    """The finder of lines is a help; without it the message still stands."""
    path = config('"a\\"b" = 1\n')
    assert problems(path)[0].startswith(f'{path}: a"b: unknown key.')


def test_no_toml_is_an_error_with_its_line(config: Callable[[str], Path]) -> None:
    """The parser knows where; somebody who is told only "invalid" searches."""
    assert "config.toml:2: is not valid TOML" in problems(config("[web]\nlisten = \n"))[0]


def test_the_environment_wins_over_the_file(config: Callable[[str], Path]) -> None:
    """One image, many machines: what differs is set outside the file."""
    path = config("[queues.io]\nworkers = 4\n[settings.leads]\nthreshold = 80\nlabel = 'warm'\n")
    environ = {
        "MILLRACE_QUEUES__IO__WORKERS": "32",
        "MILLRACE_QUEUES__CPU__MEMORY": "1GB",
        "MILLRACE_DEFAULTS__BACKOFF": "1s..2s",
        "MILLRACE_DEFAULTS__RETRIES": "5",
        "MILLRACE_SETTINGS__LEADS__THRESHOLD": "90",
        "MILLRACE_SETTINGS__LEADS__TAGS": '["a", "b"]',
        "MILLRACE_CLIENTS__ACME__WEIGHT": "2",
        "MILLRACE_CONFIG": str(path),
        "MILLRACE_OTHER": "somebody else's",
    }
    site = load_site(path, environ)

    assert site.settings.queues["io"].workers == 32
    assert site.settings.queues["cpu"].memory == 10**9
    assert (site.settings.defaults.backoff, site.settings.defaults.retries) == ((1.0, 2.0), 5)
    assert site.settings.settings == {"leads": {"threshold": 90, "label": "warm", "tags": ["a", "b"]}}
    assert site.settings.clients["acme"].weight == 2
    assert site.origin("queues.io.workers") == "MILLRACE_QUEUES__IO__WORKERS"
    assert site.origin("settings.leads.label") == f"{path}:5"
    assert site.origin("web.listen") == "default"


@pytest.mark.parametrize(
    ("environ", "problem"),
    [
        ({"MILLRACE_QUEUS__IO__WORKERS": "3"}, 'queus: unknown key. Did you mean "queues"?'),
        ({"MILLRACE_QUEUES__IO__WOKERS": "3"}, 'queues.io.wokers: unknown key. Did you mean "workers"?'),
        ({"MILLRACE_QUEUES__IO__WORKERS": "x"}, 'queues.io.workers: must be a whole number (is "x")'),
        ({"MILLRACE_QUEUES__IO__WORKERS": ""}, 'queues.io.workers: must be a whole number (is "")'),
        ({"MILLRACE_WEB__LISTEN": ""}, "web.listen: "),
        ({"MILLRACE_WEB": "{}"}, "use one variable per key: MILLRACE_WEB__KEY"),
        ({"MILLRACE_CLIENTS__ACME__SETTINGS": "x"}, "must be a JSON list or object here"),
    ],
)
def test_a_wrong_variable_is_named(environ: dict[str, str], problem: str) -> None:
    """Not the file, which somebody would search for a line that is not there."""
    told = problems(None, environ)

    assert len(told) == 1
    assert told[0].startswith(f"{next(iter(environ))}: ")
    assert problem in told[0]


def test_two_keys_that_do_not_fit_together_name_where_one_of_them_is(config: Callable[[str], Path]) -> None:
    """Each alone is right; the place is the table, or the variable that changed it."""
    environ = {"MILLRACE_QUEUES__IO__MAX_WORKERS": "1"}

    assert problems(None, environ)[0].startswith("MILLRACE_QUEUES__IO__…: queues.io: max_workers (1) must be at least")
    path = config("\n[queues.io]\nworkers = 2\n")
    assert problems(path, environ)[0].startswith(f"{path}:2: queues.io: max_workers (1) must be at least")


def test_the_process_environment_is_not_read_behind_the_callers_back(
    config: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A test, or a preview of another site, hands its own environment over and means it."""
    monkeypatch.setenv("MILLRACE_QUEUES__IO__WORKERS", "7")

    assert "io" not in load_site(config(""), {}).settings.queues
    assert load_site(config("")).settings.queues["io"].workers == 7


def test_a_clients_values_overlay_the_sites_table_by_table(config: Callable[[str], Path]) -> None:
    """A client changes one threshold and keeps the rest; nobody else sees it."""
    text = """
        [settings.leads]
        threshold = 80
        words = { hot = "now", cold = "later" }
        tags = ["a", "b"]
        [clients.acme.settings]
        leads.threshold = 70
        leads.words.hot = "sofort"
        leads.tags = ["c"]
        mail = { from = "acme@example.test" }
    """
    settings = load_site(config(text), {}).settings
    site = {"leads": {"threshold": 80, "words": {"hot": "now", "cold": "later"}, "tags": ["a", "b"]}}

    assert settings.for_client("acme") == {
        "leads": {"threshold": 70, "words": {"hot": "sofort", "cold": "later"}, "tags": ["c"]},
        "mail": {"from": "acme@example.test"},
    }
    assert settings.for_client("default") == site
    assert settings.for_client("left-last-year") == site
    settings.for_client("acme")["leads"]["words"]["hot"] = "changed"
    assert settings.for_client("default") == site


def test_the_default_client_is_always_known(config: Callable[[str], Path]) -> None:
    """A submission without a client has to belong to somebody."""
    assert load_site(config(""), {}).settings.client_names() == {"default"}
    assert load_site(config("[clients.acme]\n"), {}).settings.client_names() == {"default", "acme"}


def test_settings_do_not_change_after_loading(config: Callable[[str], Path]) -> None:
    """A reload replaces them as a whole; a change in place would be seen by half of the daemon."""
    settings = load_site(config(""), {}).settings
    with pytest.raises(ValueError, match="frozen"):
        settings.defaults.retries = 7  # type: ignore[misc]  # that it is refused is the point


RULES = """\
[[rules.segment]]
when = { occupation = "Student", points = ">=60" }
then = { branch = "campus" }
[[rules.segment]]
then = "other"
[[rules.points]]
add = 35
[[rules.points]]
when.visits = ["0..1", ""]
add = -2.5
"""


def test_decision_tables_are_plain_values_once_they_are_read(config: Callable[[str], Path]) -> None:
    """A child process is handed them as JSON; a number stays the number that was written."""
    settings = load_site(config(RULES), {}).settings

    assert settings.rule_tables() == {
        "segment": [
            {"when": {"occupation": "Student", "points": ">=60"}, "then": {"branch": "campus"}},
            {"when": {}, "then": "other"},
        ],
        "points": [{"when": {}, "add": 35}, {"when": {"visits": ["0..1", ""]}, "add": -2.5}],
    }
    assert isinstance(settings.rule_tables()["points"][0]["add"], int)


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            'when = { a = ">=sixty" }\nthen = 1',
            '2: rules.t row 1 when: a: ">=sixty" compares with no number and no date',
        ),
        ('when = { a = "=60" }\nthen = 1', 'a: "=60" begins with =: write "60" alone'),
        ('when = { a = "=>60" }\nthen = 1', 'a: "=>60" begins with =>: write ">=60"'),
        ('when = { a = "20..10" }\nthen = 1', 'a: "20..10" is a range that falls'),
        ('when = { a = "10.." }\nthen = 1', 'a: "10.." is half a range: write both ends, such as "10..20", or ">=10"'),
        ('when = { a = "1..2026-01-31" }\nthen = 1', "is half a range"),
        ('when = { a = "2026-13-01..2026-14-01" }\nthen = 1', 'is no range: there is no day "2026-13-01"'),
        ('when = { a = "2026-01-01..2026-02-30" }\nthen = 1', 'is no range: there is no day "2026-02-30"'),
        ('when = { a = "!==5" }\nthen = 1', 'a: "!==5" begins with !==: write "!=5"'),
        ("when = { a = [] }\nthen = 1", "is an empty list, which nothing matches"),
        ("when = { a = [[1]] }\nthen = 1", "has a list in a list"),
        ("when = { a = 2026-01-31 }\nthen = 1", "a date in quotes"),
        ("when = { a = { b = 1 } }\nthen = 1", "write text, a number, true, false or a list of them"),
        ('when = "a"\nthen = 1', "2: rules.t row 1 when: must be a table"),
        ("whne = { a = 1 }\nthen = 1", '2: rules.t row 1 whne: unknown key. Did you mean "when"?'),
        ("when = { a = 1 }", "1: rules.t row 1: a row has either then (what it gives) or add"),
        ("then = 1\nadd = 1", "a row has either then (what it gives) or add"),
        ("then = 2026-01-31", "write dates and times in quotes"),
        ("add = true", "2: rules.t row 1 add: must be a number, such as 10 or -2.5 (is true)"),
        ("add = nan", "must be a number, such as 10 or -2.5"),
        ("add = 1\n[[rules.t]]\nthen = 1", "1: rules.t: row 1 has add and row 2 has then: a table has one of them"),
        ("add = 1\n[[rules.t]]\nadd = 1\n[[rules.t]]\nwhen.a = '<x'\nadd = 1", "6: rules.t row 3 when: a: "),
    ],
)
def test_a_row_that_cannot_decide_is_named_with_its_reason(
    config: Callable[[str], Path], row: str, reason: str
) -> None:
    """At the start of the daemon, and not when the first lead comes along."""
    path = config(f"[[rules.t]]\n{row}\n")
    told = problems(path)

    assert len(told) == 1
    assert told[0].startswith(f"{path}:")
    assert reason in told[0]


def test_a_table_from_the_environment_is_told_by_its_variable(config: Callable[[str], Path]) -> None:
    """A line of the file would be searched in vain."""
    environ = {"MILLRACE_RULES__T": '[{"when": {"a": ">x"}, "then": 1}]'}

    assert problems(config(""), environ)[0].startswith("MILLRACE_RULES__T: rules.t row 1 when: a: ")
    assert load_site(None, {"MILLRACE_RULES__T": '[{"then": 1}]'}).settings.rules["t"][0].then == 1
