"""What stands in the brackets of `@pipeline.stage(...)`: read over the pipeline's own defaults, into a policy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypedDict

from millrace.define.policy import Policy, read_policy
from millrace.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import timedelta

    from millrace.define.policy import Backoff, Exceptions, OnCrash


class PipelineOptions(TypedDict, total=False):
    """The policy that all stages of a pipeline have, unless they say otherwise: each as for `@task`."""

    queue: str
    retries: int
    backoff: str | Backoff
    timeout: str | float | timedelta
    retry_on: Exceptions
    never_on: Exceptions
    on_crash: OnCrash


class StageOptions(PipelineOptions, total=False):
    """The policy of one stage; `needs` are outside services, `name` what other stages call it."""

    needs: str | Iterable[str]
    name: str


_DEFAULTS: Final[Mapping[str, Any]] = {
    "queue": "default",
    "retries": None,
    "backoff": None,
    "timeout": None,
    "retry_on": (),
    "never_on": (),
    "on_crash": "retry",
    "needs": (),
}


def checked_defaults(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """
    Return the options of a pipeline, once they make a policy.

    Raises: TypeError or ValueError that names the argument.
    """
    _refuse_unknown(given, PipelineOptions.__optional_keys__, "Pipeline")
    _ = read_policy(**{**_DEFAULTS, **given})
    return dict(given)


def policy_of(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> Policy:
    """
    Return the policy of a stage: its own options over the pipeline's.

    Raises: TypeError or ValueError that names the argument.
    """
    _refuse_unknown(given, StageOptions.__optional_keys__, "a stage")
    own = {key: value for key, value in given.items() if value is not None and key != "name"}
    return read_policy(**{**_DEFAULTS, **defaults, **own})


def _refuse_unknown(given: Mapping[str, Any], known: Iterable[str], what: str) -> None:
    known = set(known)
    unknown = next((key for key in given if key not in known), None)
    if unknown is not None:
        raise TypeError(f'{what} has no option "{unknown}".{did_you_mean(unknown, known)}')
