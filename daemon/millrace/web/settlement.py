"""What a person says became of an effect, as JSON: strictly read, each wrong field named."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from millrace.errors import ParameterError, PayloadError
from millrace.web.query import Name
from millrace.web.submission import read_object


class Settlement(BaseModel):
    """What became of an effect in doubt."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: Annotated[str, Field(min_length=1, max_length=200, description="The effect's key")]
    client: Annotated[Name, Field(description="Whose it is; the token's own client, or `default`, when left out")] = (
        None
    )
    outcome: Annotated[Literal["done", "not_done"], Field(description="Whether it was done")]
    result: Annotated[Any, Field(description="What the call would have returned; null when left out")] = None

    @model_validator(mode="after")
    def _result_of_what_was_done(self) -> Self:
        if self.outcome == "not_done" and "result" in self.model_fields_set:
            raise ValueError("what was not done has no result")
        return self

    def result_text(self) -> str:
        """Return the result as JSON text."""
        return json.dumps(self.result, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def read_settlement(text: bytes) -> Settlement:
    """
    Return what a JSON text says of an effect.

    Raises: ParameterError or RequestValidationError, which names each wrong field.
    """
    try:
        return Settlement.model_validate(read_object(text, 'such as {"key": "mail-7", "outcome": "done"}'))
    except PayloadError as error:
        raise ParameterError(error.problems) from None
    except ValidationError as error:
        raise RequestValidationError([{**one, "loc": ("body", *one["loc"])} for one in error.errors()]) from error
