"""
JSON at the border, strictly: what comes in is read without guesses, what is kept has one canonical form, and what a job
returns is written so that any JSON reader understands it.

Python's own reader takes more than JSON: duplicate keys (the last wins, silently), NaN and infinities, halves of
surrogate pairs that no UTF-8 file can hold. Each of them would be accepted here and fail somewhere later.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from functools import cache, partial
from typing import TYPE_CHECKING, Any, Final

from millrace.errors import PayloadError, Problem, ResultNotJSON, TooLarge

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAX_DEPTH: Final = 32

_BOM: Final = "\ufeff"
_BYTES_A_CHARACTER: Final = 4
_SHOWN: Final = 60
_INSTEAD_OF_NAN: Final = "write a number that has an end, or leave the field out"
# The quantifiers are possessive, or a long run of escaped quotes would be tried from each of them anew.
_TOKENS: Final = re.compile(r'"(?:[^"\\]++|\\.)*+"?|[\[\]{}]', re.DOTALL)
_WRITER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":"))


def strict_json(text: str | bytes, *, max_bytes: int | None = None, where: str = "payload", around: int = 0) -> Any:
    """
    Read JSON as the standard has it: no duplicate keys, NaN, infinities or lone surrogates, nested at most 32 deep.

    Args:
        text: The JSON text; bytes must be UTF-8 without a byte order mark.
        max_bytes: The most bytes of UTF-8 that are taken, ≥ 0; None means any number.
        where: What problems call the outermost value.
        around: Levels that stand around the payload, as a request does: they do not count against its depth.
    Returns: Plain Python values.
    Raises: PayloadError with the place and the reason; TooLarge.
    """
    return read(text, max_bytes=max_bytes, where=where, around=around)[0]


def read(
    text: str | bytes, *, max_bytes: int | None = None, where: str = "payload", around: int = 0
) -> tuple[Any, str]:
    """Read JSON as `strict_json` does; return the value and its canonical text, which was needed for the checks."""
    decoded = _decoded(text, max_bytes, where)
    _refuse_depth(decoded, where, MAX_DEPTH + around)
    value = _read_plain(decoded)
    return (value, _written(value, where)) if value is not None else _read_carefully(decoded, where)


def _read_plain(text: str) -> dict[str, Any] | None:
    """
    Read an everyday object in a third of the time; None if only the careful reader can tell what it is.

    A text has at least as many colons as its objects have pairs. If the members of one are as many, no key was lost to
    a second of its name.
    """
    try:
        value = _plain_reader()(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) and len(value) == text.count(":") else None


@cache
def _plain_reader() -> Callable[[str], Any]:
    """Load pydantic with the first payload, not with the command line."""
    from pydantic_core import from_json

    return partial(from_json, allow_inf_nan=False, cache_strings="keys")


def _read_carefully(decoded: str, where: str) -> tuple[Any, str]:
    try:
        value = _READER.decode(decoded)
    except _DuplicateKeyError:
        raise PayloadError(_duplicates(decoded, where)) from None
    except json.JSONDecodeError as error:
        raise PayloadError([_syntax_problem(error, where)]) from None
    except ValueError:
        raise PayloadError([Problem(where, "an integer has more digits than can be read (4300)")]) from None
    return value, _written(value, where)


def canonical(value: object, *, where: str = "payload") -> str:
    """
    Return the one JSON text of a value: keys sorted, no spaces, characters as they are.

    Raises: PayloadError if the value has no JSON form: another type, a key that is no string, NaN, too deep.
    """
    problems = list(_foreign(value, where, 0))
    if problems:
        raise PayloadError(problems)
    return _written(value, where)


def result_json(value: object) -> str:
    """
    Return what a job returned as JSON text; models, dataclasses, dates, paths, decimals, sets and enums have a form.

    Raises: ResultNotJSON, if a part of it has none.
    """
    if value is None:  # what most jobs return
        return "null"
    try:
        text = _result_text(value)
        text.encode()
    except UnicodeEncodeError:
        raise ResultNotJSON("the result holds half of a surrogate pair, which no UTF-8 text can carry") from None
    except RecursionError:
        raise ResultNotJSON("the result is nested too deep, or holds itself") from None
    except (TypeError, ValueError) as error:
        reason = f"the result has no JSON form: {error}"
        raise ResultNotJSON(f"{reason}; return plain values, a dataclass or a pydantic model") from error
    return text


def place(where: str, key: object) -> str:
    """Return the path of a member: `payload.month`, `payload.leads[3]`, `payload["no name"]`."""
    if isinstance(key, int):
        return f"{where}[{key}]"
    name = str(key)
    return f"{where}.{name}" if name.isidentifier() and name.isascii() else f"{where}[{json.dumps(name)}]"


def shown(value: object) -> str:
    """Return a value as an error message quotes it: JSON, on one line, shortened."""
    text = json.dumps(value, default=repr, skipkeys=True)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


class _DuplicateKeyError(Exception):
    """An object has a key twice."""


class _Marked(dict[str, Any]):
    """An object that knows which of its keys came twice."""

    doubled: tuple[str, ...] = ()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _DuplicateKeyError
    return members


def _marked(pairs: list[tuple[str, Any]]) -> _Marked:
    members = _Marked(pairs)
    members.doubled = tuple(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
    return members


_READER: Final = json.JSONDecoder(object_pairs_hook=_unique)
_MARKER: Final = json.JSONDecoder(object_pairs_hook=_marked)


def _decoded(text: str | bytes, max_bytes: int | None, where: str) -> str:
    if max_bytes is not None and _bytes_above(text, max_bytes):
        raise TooLarge(f"{where}: more than {max_bytes:,} bytes, which is the most that this site takes")
    try:
        decoded = text if isinstance(text, str) else bytes(text).decode()
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8: byte {error.start} is 0x{error.object[error.start]:02x}"
        raise PayloadError([Problem(where, reason, "save it as UTF-8")]) from None
    if decoded.startswith(_BOM):
        raise PayloadError([Problem(where, "begins with a byte order mark", "save it as UTF-8 without BOM")])
    if not decoded.strip():
        raise PayloadError([Problem(where, "is empty", "the smallest payload is {}")])
    return decoded


def _bytes_above(text: str | bytes, bound: int) -> bool:
    if isinstance(text, str) and len(text) <= bound < len(text) * _BYTES_A_CHARACTER:
        return len(text.encode(errors="surrogatepass")) > bound
    return len(text) > bound


def _refuse_depth(text: str, where: str, most: int) -> None:
    """Count brackets before the text is parsed: a million of them must not meet the parser's recursion."""
    if text.count("[") + text.count("{") <= most:
        return
    depth = 0
    for token in _TOKENS.finditer(text):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token[0], 0)
        if depth > most:
            raise PayloadError([_too_deep(where)])


def _too_deep(where: str) -> Problem:
    return Problem(where, f"is nested deeper than {MAX_DEPTH} levels")


def _syntax_problem(error: json.JSONDecodeError, where: str) -> Problem:
    at = f"line {error.lineno}, column {error.colno}" if "\n" in error.doc.strip() else f"column {error.colno}"
    reason = error.msg[:1].lower() + error.msg[1:].removesuffix(" at")
    hint = "JSON wants double quotes" if error.doc[error.pos : error.pos + 1] == "'" else None
    return Problem(where, f"is not JSON: {reason} at {at}", hint)


def _duplicates(text: str, where: str) -> list[Problem]:
    """Read once more, now keeping the duplicates: the first reading knows that there is one, but not where."""
    try:
        value = _MARKER.decode(text)
    except ValueError:  # something else is wrong as well, further on
        return [Problem(where, "an object has a key twice")]
    return [
        Problem(place(path, key), "stands twice in one object", "keep one of them")
        for path, part in _parts(value, where)
        for key in getattr(part, "doubled", ())
    ]


def _parts(value: object, where: str) -> Iterator[tuple[str, object]]:
    """Yield a plain value and everything inside it, each with its path."""
    yield where, value
    if isinstance(value, dict):
        for key, member in value.items():
            yield from _parts(member, place(where, key))
    elif isinstance(value, (list, tuple)):
        for index, member in enumerate(value):
            yield from _parts(member, place(where, index))


def _written(value: object, where: str) -> str:
    """Write the canonical text of plain values; what cannot be written is then looked for, and named."""
    try:
        text = _WRITER.encode(value)
        if not text.isascii():
            text.encode()
    except (UnicodeEncodeError, ValueError) as error:
        problems = [problem for path, part in _parts(value, where) for problem in _unwritable(path, part)]
        raise PayloadError(problems or [Problem(where, f"has no JSON form: {error}")]) from None
    return text


def _unwritable(path: str, part: object) -> Iterator[Problem]:
    if isinstance(part, float) and not math.isfinite(part):
        yield Problem(path, "is no finite number", _INSTEAD_OF_NAN)
    texts = [part] if isinstance(part, str) else part if isinstance(part, dict) else ()
    for text in texts:
        if any("\ud800" <= character <= "\udfff" for character in text):
            yield Problem(path, "holds half of a surrogate pair", "send the character itself, or both halves")


def _foreign(value: object, where: str, depth: int) -> Iterator[Problem]:
    """Yield what a Python value holds that JSON does not know."""
    if isinstance(value, (str, int, float, type(None))):
        return
    if not isinstance(value, (dict, list, tuple)):
        yield Problem(where, f"is a {type(value).__name__}, which JSON does not know", "send it as a string")
    elif depth == MAX_DEPTH:
        yield _too_deep(where)
    elif isinstance(value, dict):
        for key, member in value.items():
            if not isinstance(key, str):
                yield Problem(where, f"has the key {key!r}, which is no string")
            else:
                yield from _foreign(member, place(where, key), depth + 1)
    else:
        for index, member in enumerate(value):
            yield from _foreign(member, place(where, index), depth + 1)


def _result_text(value: object) -> str:
    try:
        return _RESULT_WRITER.encode(value)
    except TypeError:  # a key such as a date: pydantic writes those too, but takes longer
        return _RESULT_WRITER.encode(_plain(value))


def _plain(value: object) -> Any:
    """Give the JSON writer what it can write, for the types that pydantic knows; its own errors are ValueErrors."""
    from pydantic_core import to_jsonable_python

    return to_jsonable_python(value, inf_nan_mode="constants")


_RESULT_WRITER: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)
