"""The items of a fan-out: raw as they come from a file or another system, each checked by itself."""

from __future__ import annotations

from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from millrace.define.order import is_fixed, order_free
from millrace.define.payload import result_json
from millrace.define.shape import first_line
from millrace.define.terms import Schema, resolved
from millrace.define.wording import problems_of
from millrace.errors import Problem, ResultNotJSON

_WHERE: Final = "item"
_PLAIN: Final = frozenset({str, int, float, bool, type(None)})


class Items:
    """
    What an item of one fan-out must look like.

    Args:
        stage: The fan-out's name, for messages.
        kind: The type of an item; Any takes what JSON can hold.
    Raises: TypeError, if the type cannot be checked or has no JSON form.
    """

    def __init__(self, stage: str, kind: Any) -> None:
        self._stage = stage
        self._kind = kind
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(kind)
            self.schema: Schema = adapter.json_schema()
        except Exception as error:
            raise TypeError(f"the type of its items cannot be checked: {first_line(error)}") from error
        self._fixed = is_fixed(self.schema)
        self._defaults = _defaults_of(adapter, self.schema)
        self._raw = adapter.validator.validate_python
        self._text = adapter.validator.validate_json

    def check(self, raw: object) -> tuple[str | None, tuple[Problem, ...]]:
        """Return the item as JSON text, or what is wrong with it: one entry per field. Never raises."""
        try:
            return self._written(raw), ()
        except ValidationError as error:
            return None, tuple(problems_of(error, self.schema, f"stage {self._stage}", _WHERE))
        except ResultNotJSON as error:
            return None, (Problem(_WHERE, str(error).replace("the result", "the item")),)
        except Exception as error:  # noqa: BLE001 - a validator of the site's own: its bug must not end the fan-out
            reason = f"could not be checked by stage {self._stage}: {type(error).__name__}: {error!s:.200}"
            return None, (Problem(_WHERE, reason),)

    def _written(self, raw: object) -> str:
        """
        Return an item as the JSON text that the stages after it can read.

        pydantic takes an instance as it is, whatever its fields hold, and looks at no default. What cannot be read back
        as it was written is therefore taken for the raw fields that it shows: they are checked, and converted, as those
        of a mapping are.
        """
        text = _text(self._raw(raw))
        if self._kind is Any or self._is_looked_through(raw):
            return text
        try:
            self._text(text, strict=True)
        except ValidationError:
            text = _text(self._text(text))
            self._text(text, strict=True)
        return text

    def _is_looked_through(self, raw: object) -> bool:
        """Whether pydantic saw all of it, as of a row of a file: reading it once more costs as much as checking it."""
        if self._defaults is None:
            return False
        if type(raw) is dict:
            return raw.keys() >= self._defaults and _PLAIN.issuperset(map(type, raw.values()))
        return type(raw) in _PLAIN

    def mark(self, text: str) -> str:
        """Return what stands for an item's JSON text where two attempts at one source are compared."""
        return text if self._fixed else order_free(text)


def _defaults_of(adapter: TypeAdapter[Any], schema: Schema) -> frozenset[str] | None:
    """Return the fields that may be left to a default; None if what a type writes may not be what it reads."""
    try:
        written = adapter.json_schema(mode="serialization")
    except Exception:  # noqa: BLE001 - a serialiser of the site's own, which says of no form what it is
        return None
    read, written = resolved(schema, schema), resolved(written, written)
    alike = read.get("properties", read) == written.get("properties", written)
    return frozenset(read.get("properties", ())).difference(read.get("required", ())) if alike else None


def _text(value: object) -> str:
    """Write an item: the quick way, unless it may hold what JSON has no form for, which the slow way names."""
    try:
        text = to_json(value, inf_nan_mode="constants").decode()
    except ValueError:
        return result_json(value)
    return result_json(value) if "NaN" in text or "Infinity" in text else text
