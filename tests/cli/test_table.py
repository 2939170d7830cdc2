from __future__ import annotations

from millrace.cli.lines import spans
from millrace.cli.table import Column, table
from millrace.cli.times import age, ago

COLUMNS = (Column("ID"), Column("TEXT", elastic=True), Column("N", right=True), Column("MORE", optional=True))
ROWS = (("a1", "a rather long text", "5", "x"), ("b2", "short", "1,000", "yy"))


def plain(text: str) -> list[str]:
    """Return the lines without the styles of their titles."""
    return text.replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()


def test_columns_are_as_wide_as_their_cells() -> None:
    """Numbers stand at the right; no line ends in spaces."""
    assert plain(table(COLUMNS, ROWS, None)) == [
        "ID  TEXT                    N  MORE",
        "a1  a rather long text      5  x",
        "b2  short               1,000  yy",
    ]


def test_a_narrow_terminal_drops_and_shortens() -> None:
    """First what may be left out, then what may be cut."""
    assert plain(table(COLUMNS, ROWS, 29)) == [
        "ID  TEXT                    N",
        "a1  a rather long text      5",
        "b2  short               1,000",
    ]
    assert plain(table(COLUMNS, ROWS, 24)) == [
        "ID  TEXT               N",
        "a1  a rather lon…      5",
        "b2  short          1,000",
    ]


def test_an_optional_column_that_matters_gets_room_first() -> None:
    """Why a job died is worth more than its queue; shortened it fits where its whole text would not."""
    columns = (Column("ID"), Column("QUEUE", optional=True), Column("WHY", optional=True, elastic=True, first=True))
    rows = (("a1", "io", "an error with a very long text"), ("b2", "default", ""))
    assert plain(table(columns, rows, 40))[:2] == ["ID  QUEUE    WHY", "a1  io       an error with a very long …"]
    assert plain(table(columns, rows, 30))[:2] == ["ID  WHY", "a1  an error with a very long…"]
    assert plain(table(columns, rows, 20))[:2] == ["ID  QUEUE", "a1  io"]
    names = (Column("TASK", elastic=True), Column("WHY", elastic=True))
    assert plain(table(names, [("lead_score", "a long reason")], 22))[1] == "lead_score  a long re…"
    assert plain(table(columns, rows[1:], None)) == ["ID  QUEUE", "b2  default"]


def test_control_characters_do_not_leave_a_cell() -> None:
    """A cell is one line, whatever a job wrote."""
    assert plain(table((Column("A"),), (("x\ny\x1b[2J",),), None))[1:] == ["x y [2J"]


def test_times_are_said_as_people_say_them() -> None:
    """The largest unit is enough."""
    now = 1_800_000_000_000
    said = [ago(now - s * 1000, now) for s in (0, 5, 59, 60, 3599, 3600, 86_399, 86_400, 10 * 86_400)]
    assert said == ["now", "5s ago", "59s ago", "1m ago", "59m ago", "1h ago", "23h ago", "1d ago", "10d ago"]
    assert ago(now + 300_000, now) == "in 5m"
    assert (ago(None, now), age(None), age(0.4)) == ("", "", "0s")


def test_numbers_are_told_as_spans() -> None:
    """A thousand lines that were not taken are one word."""
    assert spans([3, 4, 5, 9, 11, 12]) == ["3-5", "9", "11-12"]
    assert spans([]) == []
