"""The items of a fan-out: raw as they come from a file or another system, each checked by itself."""

from __future__ import annotations

from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from millrace.define.order import is_fixed, order_free
from millrace.define.payload import result_json
from millrace.define.shape import first_line
from millrace.define.wording import problems_of
from millrace.errors import Problem, ResultNotJSON

_WHERE: Final = "item"


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
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(kind)
            self.schema: dict[str, Any] = adapter.json_schema()
        except Exception as error:
            raise TypeError(f"the type of its items cannot be checked: {first_line(error)}") from error
        self._fixed = is_fixed(self.schema)
        self._validate = adapter.validator.validate_python

    def check(self, raw: object) -> tuple[str | None, tuple[Problem, ...]]:
        """Return the item as JSON text, or what is wrong with it: one entry per field. Never raises."""
        try:
            return _text(self._validate(raw)), ()
        except ValidationError as error:
            return None, tuple(problems_of(error, self.schema, f"stage {self._stage}", _WHERE))
        except ResultNotJSON as error:
            return None, (Problem(_WHERE, str(error).replace("the result", "the item")),)
        except Exception as error:  # noqa: BLE001 - a validator of the site's own: its bug must not end the fan-out
            reason = f"could not be checked by stage {self._stage}: {type(error).__name__}: {error!s:.200}"
            return None, (Problem(_WHERE, reason),)

    def mark(self, text: str) -> str:
        """Return what stands for an item's JSON text where two attempts at one source are compared."""
        return text if self._fixed else order_free(text)


def _text(value: object) -> str:
    """Write an item: the quick way, unless it may hold what JSON has no form for, which the slow way names."""
    try:
        text = to_json(value, inf_nan_mode="constants").decode()
    except ValueError:
        return result_json(value)
    return result_json(value) if "NaN" in text or "Infinity" in text else text
