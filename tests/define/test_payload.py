"""JSON at the border: what is read, what is refused and where, and what a result becomes."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from millrace.define.payload import MAX_DEPTH, canonical, read, result_json, strict_json
from millrace.errors import PayloadError, ResultNotJSON, TooLarge

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=15,
)


def problems_of(text: str | bytes) -> list[str]:
    """Return the problems of a text that must be refused."""
    with pytest.raises(PayloadError) as caught:
        strict_json(text)
    return [str(problem) for problem in caught.value.problems]


@given(PLAIN)
def test_plain_values_come_back_from_their_canonical_text(value: object) -> None:
    """The stored payload must be the one that was submitted."""
    assert strict_json(canonical(value)) == value


def test_the_canonical_text_does_not_depend_on_how_it_was_written() -> None:
    """The same payload under one idempotency key is no conflict, however a client orders and spaces it."""
    left, right = '{"b": 1, "a": {"y": [1, 2], "x": "ü"}}', '{"a":{"x":"\\u00fc","y":[1,2]},\n "b":1}'

    assert canonical(strict_json(left)) == canonical(strict_json(right)) == '{"a":{"x":"ü","y":[1,2]},"b":1}'


@given(
    st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), PLAIN, max_size=4),
    st.sampled_from(
        [{}, {"ensure_ascii": False, "separators": (",", ":")}, {"indent": 1, "separators": (" ,", " : ")}]
    ),
)
def test_an_object_is_read_as_the_standard_librarys_reader_does(
    value: dict[str, object], spelling: dict[str, Any]
) -> None:
    """Everyday objects take a faster way: neither a value nor the kept text may show which way it was."""
    text = json.dumps(value, **spelling)
    found, kept = read(text)
    assert repr(found) == repr(json.loads(text))
    assert kept == json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


@given(st.lists(st.tuples(st.sampled_from(["a", "b:", 'c"', "d"]), st.sampled_from(["1", '":"', "{}", "[]", "null"]))))
def test_a_key_that_comes_twice_is_always_seen(pairs: list[tuple[str, str]]) -> None:
    """The faster way counts colons, which also stand in texts and keys: it may doubt too often, never too seldom."""
    text = "{" + ", ".join(f"{json.dumps(key)} : {value}" for key, value in pairs) + "}"
    if len(dict(pairs)) == len(pairs):
        assert strict_json(text) == json.loads(text)
    else:
        assert "stands twice in one object" in "; ".join(problems_of(text))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "payload: is empty (the smallest payload is {})"),
        (" \n", "payload: is empty (the smallest payload is {})"),
        ('{"a": 1', "payload: is not JSON: expecting ',' delimiter at column 8"),
        ('{"a": 1}}', "payload: is not JSON: extra data at column 9"),
        ('{\n"a": x}', "payload: is not JSON: expecting value at line 2, column 6"),
        ("{'a': 1}", "expecting property name enclosed in double quotes at column 2 (JSON wants double quotes)"),
        ('{"a": "\n"}', "payload: is not JSON: invalid control character at"),
        (b'{"a": "\xff"}', "payload: is not UTF-8: byte 7 is 0xff (save it as UTF-8)"),
        (b"\xef\xbb\xbf{}", "payload: begins with a byte order mark (save it as UTF-8 without BOM)"),
        ('{"a": 1}'.encode("utf-16"), "payload: is not UTF-8: byte 0 is 0xff"),
        ('{"a": NaN}', "payload.a: is no finite number (write a number that has an end, or leave the field out)"),
        ('{"a": {"b": [0, -Infinity]}}', "payload.a.b[1]: is no finite number"),
        ('{"a": 1e999}', "payload.a: is no finite number"),
        ('{"a": "\\ud83d"}', "payload.a: holds half of a surrogate pair (send the character itself, or both halves)"),
        ('{"\\ud83d": 1}', "payload: holds half of a surrogate pair"),
        ('{"a": 1, "a": 1}', "payload.a: stands twice in one object (keep one of them)"),
        ('{"a": [{"b c": 1, "b c": 2}]}', 'payload.a[0]["b c"]: stands twice in one object'),
        ('{"a": %s}' % ("9" * 4301), "payload: an integer has more digits than can be read (4300)"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "payload: is nested deeper than 32 levels"),
        ("[" * 2_000_000, "payload: is nested deeper than 32 levels"),
        ('"' + '\\"' * 500_000, "payload: is not JSON: unterminated string starting at column 1"),
    ],
)
def test_what_is_no_strict_json_is_refused_with_its_place(text: str | bytes, problem: str) -> None:
    """Each of these would be taken by a lenient reader, or end it, and fail somewhere later."""
    assert problem in "; ".join(problems_of(text))


def test_brackets_in_strings_do_not_count_as_depth() -> None:
    """A text about JSON is no deep JSON."""
    text = json.dumps({"a": '\\"[{' * 50, "b": [[]] * 40})

    assert strict_json(text) == json.loads(text)


def test_the_deepest_payload_that_is_taken() -> None:
    """The bound is a bound: one level less passes, as text and as a value."""
    text = "[" * MAX_DEPTH + "]" * MAX_DEPTH

    assert canonical(strict_json(text)) == text


@pytest.mark.parametrize("text", ['"üü"', '"üü"'.encode()])
def test_bytes_are_what_is_bounded(text: str | bytes) -> None:
    """A limit in bytes must not let four times as much in as characters."""
    assert strict_json(text, max_bytes=6) == "üü"
    with pytest.raises(TooLarge, match="5 bytes"):
        strict_json(text, max_bytes=5)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"a": date(2026, 1, 1)}, "payload.a: is a date, which JSON does not know"),
        ({"a": [{1: 2}]}, "payload.a[0]: has the key 1, which is no string"),
        ({"a": math.inf}, "payload.a: is no finite number"),
        ({"a": "\ud800"}, "payload.a: holds half of a surrogate pair"),
        ({"a": 10**5000}, "payload: has no JSON form"),
    ],
)
def test_a_python_value_that_is_no_json_is_refused_with_its_place(value: object, problem: str) -> None:
    """A value that was parsed elsewhere, or written in Python, gets the same verdicts as a text."""
    with pytest.raises(PayloadError) as caught:
        canonical(value)
    assert problem in str(caught.value)


def test_levels_around_a_payload_do_not_count_against_its_depth() -> None:
    """A request wraps the payload: it must get the verdict that it gets on the command line."""
    deepest = '{"a":' + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1) + "}"

    assert strict_json(f'{{"task": "t", "payload": {deepest}}}', around=1)["payload"] == strict_json(deepest)
    with pytest.raises(PayloadError, match="nested deeper than 32"):
        strict_json(f'{{"task": "t", "payload": [{deepest}]}}', around=1)


def test_a_value_that_holds_itself_is_too_deep() -> None:
    """It must be refused, and not end the reader."""
    value: list[object] = []
    value.append(value)

    with pytest.raises(PayloadError, match="nested deeper than 32"):
        canonical(value)


class Colour(Enum):
    RED = "red"


class Model(BaseModel):
    day: date


@dataclass
class Found:
    path: Path
    total: Decimal
    models: list[Model]


def test_what_jobs_return_has_a_json_form() -> None:
    """Job authors return the values of their trade; the ledger keeps text."""
    found = Found(Path("/tmp/x"), Decimal("1.10"), [Model(day=date(2026, 1, 1))])
    result = {"found": found, "at": datetime(2026, 1, 1, tzinfo=UTC), "set": {3}, "colour": Colour.RED, "t": (1, None)}

    assert json.loads(result_json(result)) == {
        "found": {"path": "/tmp/x", "total": "1.10", "models": [{"day": "2026-01-01"}]},
        "at": "2026-01-01T00:00:00Z",
        "set": [3],
        "colour": "red",
        "t": [1, None],
    }


def test_a_result_may_be_keyed_by_date() -> None:
    """Totals per day are a natural result."""
    assert json.loads(result_json({date(2026, 1, 1): Decimal(3)})) == {"2026-01-01": "3"}


def holding_itself() -> object:
    """Return a list inside itself."""
    value: list[object] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "value",
    [
        math.nan,
        {"a": [math.inf]},
        {1: [math.nan]},
        object(),
        {"a": json},
        "\udc00",
        holding_itself(),
    ],
)
def test_a_result_without_a_json_form_is_refused(value: object) -> None:
    """The work was done; what cannot be kept must be said, never be kept as something else."""
    with pytest.raises(ResultNotJSON, match="result"):
        result_json(value)
