"""
Whether what one stage returns can be what another one takes. Values travel as JSON and are read strictly, so the
question is: does the JSON of the one type have a reading as the other? "No" is said only when that is certain; a type
that is not known here, or that brings a reading of its own, fits everything.
"""

from __future__ import annotations

import types
import typing
from enum import Enum
from typing import Annotated, Any, Literal, Union

from millrace.define.wire import (
    ANY,
    ARRAY,
    OBJECT,
    fields_of,
    form_of,
    is_number,
    may_hold_more,
    own_reading,
    readable,
    required_of,
)

Seen = frozenset[tuple[int, int]]  # the pairs of classes that are being compared: a tree holds trees

_NONE = type(None)
_UNIONS = (Union, types.UnionType)
_PLAIN = (Any, object, typing.Never, typing.NoReturn)
_PAIR = 2


def fits(given: Any, wanted: Any) -> bool:
    """
    Return whether values of one type may be read as the other; each member of a union that is given has to.

    Args:
        given: What a stage returns, or an input is.
        wanted: What a parameter takes.
    """
    return _fits(given, wanted, frozenset())


def listed(kind: Any) -> list[Any] | None:
    """Return all values that a type can have, if it says so: a Literal, an enum, or a union of such."""
    values = [_values(member) for member in _members(kind)]
    return None if None in values else [_plain(value) for each in values if each is not None for value in each]


def without_none(kind: Any) -> Any:
    """Return a type without its None: `int` for `int | None`."""
    rest = [member for member in _members(kind) if member is not _NONE]
    return Union[tuple(rest)] if rest else kind  # noqa: UP007 - made of a list


def type_name(kind: Any) -> str:
    """Return a type as it is written in a signature."""
    if kind is _NONE or kind is Any:
        return "None" if kind is _NONE else "Any"
    if typing.get_origin(kind) is Annotated:
        return type_name(typing.get_args(kind)[0])
    if typing.get_origin(kind) in _UNIONS:
        return " | ".join(type_name(member) for member in typing.get_args(kind))
    arguments = typing.get_args(kind)
    if typing.get_origin(kind) is Literal:
        return f"Literal[{', '.join(repr(one) for one in arguments)}]"
    name = str(getattr(typing.get_origin(kind) or kind, "__name__", kind))
    parts = ["…" if one is Ellipsis else type_name(one) for one in arguments if not isinstance(one, list)]
    return f"{name}[{', '.join(parts)}]" if parts else name


def _fits(given: Any, wanted: Any, seen: Seen) -> bool:
    given, wanted = _bare(given), _bare(wanted)
    if _open(given) or _open(wanted) or given == wanted:
        return True
    if typing.get_origin(given) in _UNIONS:
        return all(_fits(member, wanted, seen) for member in typing.get_args(given))
    if typing.get_origin(wanted) in _UNIONS:
        return any(_fits(given, member, seen) for member in typing.get_args(wanted))
    values = _values(given)
    if values is not None:
        return all(_value_fits(value, wanted, seen) for value in values)
    choices = _values(wanted)
    if choices is not None:
        kinds = {type(_plain(choice)) for choice in choices}
        return any(_fits(given, kind, seen) or (is_number(given) and is_number(kind)) for kind in kinds)
    return _classes_fit(given, wanted, seen)


def _classes_fit(given: Any, wanted: Any, seen: Seen) -> bool:
    made, taken = form_of(given), form_of(wanted)
    if ANY in {made, taken}:
        return True
    if not readable(made, taken):
        return False
    if made == taken == ARRAY:
        return _arrays_fit(given, wanted, seen)
    if made == taken == OBJECT:
        return _objects_fit(given, wanted, seen)
    return True


def _arrays_fit(given: Any, wanted: Any, seen: Seen) -> bool:
    """Compare item by item where both say what they hold; an empty list fits all, but nobody means only that."""
    mine, theirs = _items(given), _items(wanted)
    if mine is None or theirs is None:
        return True
    if isinstance(mine, tuple) and isinstance(theirs, tuple):
        return len(mine) == len(theirs) and all(_fits(a, b, seen) for a, b in zip(mine, theirs, strict=True))
    if isinstance(mine, tuple):
        return all(_fits(one, theirs, seen) for one in mine)
    if isinstance(theirs, tuple):
        return all(_fits(mine, one, seen) for one in theirs)
    return _fits(mine, theirs, seen)


def _items(kind: Any) -> Any:
    """Return the type of an array's items; a tuple of types when its length is fixed; None when it does not say."""
    arguments = typing.get_args(kind)
    if (typing.get_origin(kind) or kind) is not tuple:
        return arguments[0] if arguments else None
    if len(arguments) == _PAIR and arguments[1] is Ellipsis:
        return arguments[0]
    return arguments or None


def _objects_fit(given: Any, wanted: Any, seen: Seen) -> bool:
    mine, theirs, pair = fields_of(given), fields_of(wanted), (id(given), id(wanted))
    if pair in seen or _related(given, wanted):  # what is there may be the narrower one
        return True
    if mine is None or theirs is None:
        return _mappings_fit(given, wanted, seen | {pair})
    if not (may_hold_more(given) or required_of(wanted) <= mine.keys()):
        return False
    return all(_fits(mine[name], kind, seen | {pair}) for name, kind in theirs.items() if name in mine)


def _mappings_fit(given: Any, wanted: Any, seen: Seen) -> bool:
    """Compare where one side or both are mappings, which say only what all their values are."""
    mine, theirs = fields_of(given), fields_of(wanted)
    holds, takes = typing.get_args(given), typing.get_args(wanted)
    if mine is not None and len(takes) == _PAIR:
        return all(_fits(kind, takes[1], seen) for kind in mine.values())
    if theirs is not None and len(holds) == _PAIR:
        return all(_fits(holds[1], theirs[name], seen) for name in required_of(wanted) & theirs.keys())
    return len(holds) != _PAIR or len(takes) != _PAIR or _fits(holds[1], takes[1], seen)


def _related(given: Any, wanted: Any) -> bool:
    try:
        return issubclass(given, wanted) or issubclass(wanted, given)
    except TypeError:  # a TypedDict takes no such question
        return False


def _value_fits(value: Any, wanted: Any, seen: Seen) -> bool:
    choices = _values(wanted)
    if choices is None:
        return _fits(type(_plain(value)), wanted, seen)
    return any(_plain(value) == _plain(choice) for choice in choices)


def _values(kind: Any) -> list[Any] | None:
    """Return the values that a type lists, if it does."""
    if typing.get_origin(kind) is Literal:
        return list(typing.get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Enum) and not own_reading(kind):
        return list(kind)
    return None


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value


def _members(kind: Any) -> tuple[Any, ...]:
    kind = _bare(kind)
    return typing.get_args(kind) if typing.get_origin(kind) in _UNIONS else (kind,)


def _bare(kind: Any) -> Any:
    """Return a type without its annotations and names; one with a reading of its own becomes Any."""
    if kind is None:
        return _NONE
    if typing.get_origin(kind) is Annotated:
        base, *notes = typing.get_args(kind)
        return Any if any(own_reading(note) for note in notes) else _bare(base)
    if typing.get_origin(kind) in {typing.Required, typing.NotRequired}:
        return _bare(typing.get_args(kind)[0])
    if hasattr(kind, "__supertype__"):  # a NewType
        return _bare(kind.__supertype__)
    return _bare(kind.__value__) if type(kind).__name__ == "TypeAliasType" else kind


def _open(kind: Any) -> bool:
    return any(kind is one for one in _PLAIN) or isinstance(kind, typing.TypeVar)
