"""How values come back from the ledger: from their JSON text, strictly, as the stages after take them."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from millrace.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic import TypeAdapter

    from millrace.define.terms import Schema

_WHERE: Final = "result"


class Reading:
    """
    The reading of one type. It is also the measure of what a stage returns: what cannot be read as the type that the
    stage announces is found when it is made, and not by whoever needs it.

    Args:
        kind: The type. Any, and a type that pydantic knows no reading of, take whatever JSON has.
        owner: Whose values they are, for messages: "stage price".
    """

    def __init__(self, kind: Any, owner: str) -> None:
        self._owner = owner
        self._adapter = _adapter(kind)
        self.read: Callable[[str], Any] = (
            json.loads if self._adapter is None else partial(self._adapter.validator.validate_json, strict=True)
        )

    def problems(self, text: str) -> list[Problem]:
        """Return what is wrong with a value, as JSON text: one entry per field. Never raises."""
        if self._adapter is None:
            return []
        from pydantic import ValidationError

        try:
            self.read(text)
        except ValidationError as error:
            from millrace.define.wording import problems_of

            return problems_of(error, self._schema(self._adapter), self._owner, _WHERE)
        except Exception as error:  # noqa: BLE001 - a validator of the site's own, and its bug
            reason = f"could not be checked by {self._owner}: {type(error).__name__}: {error!s:.200}"
            return [Problem(_WHERE, reason)]
        return []

    def holds(self, value: object) -> bool:
        """Return whether a value is of the type as it is, whatever its JSON looks like."""
        if self._adapter is None:
            return True
        try:
            self._adapter.validator.validate_python(value, strict=True)
        except Exception:  # noqa: BLE001 - as above
            return False
        return True

    @staticmethod
    def _schema(adapter: TypeAdapter[Any]) -> Schema:
        try:
            return adapter.json_schema()
        except Exception:  # noqa: BLE001 - it is for the words alone: without it pydantic's own are used
            return {}


def _adapter(kind: Any) -> TypeAdapter[Any] | None:
    """Return what reads a type; None for one that says nothing of its JSON: it is believed."""
    if kind is Any:
        return None
    from pydantic import TypeAdapter

    try:
        adapter: TypeAdapter[Any] = TypeAdapter(kind)
        _ = adapter.validator.validate_json  # a model that waits for another one is looked at no sooner
    except Exception:  # noqa: BLE001 - whatever pydantic, or a type of the site's own, has to say against it
        return None
    return adapter
