"""On which line a key stands."""

from __future__ import annotations

from millrace.config.lines import key_lines, line_of

TEXT = """\
title = "x"                # 1
[site]                     # 2
name = "y"                 # 3

[queues.io]                # 5
"max_workers" = 3          # 6
[clients."acme"]           # 7
settings.leads.top = 1     # 8
[[rules.segment]]          # 9
when = { a = 1 }           # 10
not a line of toml
[[rules.segment]]          # 12
[rules.segment.when]       # 13
b = 1                      # 14
"""


def test_keys_and_tables_are_found_however_they_are_written() -> None:
    """Dotted, quoted, in a table or in an array of tables: TOML has many ways to say the same."""
    lines = key_lines(TEXT)

    assert lines[("title",)] == 1
    assert lines[("site",)] == 2
    assert lines[("site", "name")] == 3
    assert lines[("queues", "io", "max_workers")] == 6
    assert lines[("clients", "acme", "settings", "leads", "top")] == 8
    assert lines[("rules", "segment", "0", "when")] == 10
    assert lines[("rules", "segment", "1", "when", "b")] == 14


def test_a_key_without_a_line_of_its_own_is_shown_at_the_table_around_it() -> None:
    """A missing key, or one inside an inline table, is best looked for there."""
    lines = key_lines(TEXT)

    assert line_of(["queues", "io", "workers"], lines) == 5
    assert line_of(["queues"], lines) == 5
    assert line_of(["rules", "segment", 0, "when", "a"], lines) == 10
    assert line_of(["rules", "segment", 1, "when", "a"], lines) == 13
    assert line_of(["rules", "segment", 1, "then"], lines) == 12
    assert line_of(["rules", "segment"], lines) == 9
    assert line_of(["clients", "acme", "settings"], lines) == 8
    assert line_of(["web", "listen"], lines) is None


def test_what_only_looks_like_a_key_is_passed_over() -> None:
    """The finder reads lines, not TOML: it may miss one, and must not stumble."""
    assert key_lines("[a b]\nc = 1\n") == {(): 1, ("c",): 2}
