"""
What other stages came to that a stage's job is called with. A value is stored once, with the job that returned it, and
looked up when it is wanted: for many jobs as they are claimed, for one as it is run or shown.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from millrace.errors import ValueDamaged
from millrace.ledger.seals import sealed, unsealed

if TYPE_CHECKING:
    from millrace.ledger.net import Net

Look = Callable[[str, Sequence[Any]], list[Any]]  # a statement and its values, for rows

_OWN: Final = ""  # the place of the run's own job of a stage, where the others have their record
SMALL: Final = 10_000  # bytes of a text of which hundreds may come with claims
_ITEM: Final = """(SELECT item FROM record
  WHERE fanout = (SELECT id FROM fanout WHERE run_id = ?1 AND stage = ?{name})
    AND number = CAST(one.value AS INTEGER))"""
SEALED: Final = sealed("result")
_RESULT: Final = f"""(SELECT {SEALED} FROM job
  WHERE run_id = ?1 AND stage = ?{{name}} AND coalesce(record, '') = one.value AND +status = 'succeeded')"""  # noqa: S608
_IF_SMALL: Final = f"(SELECT iif(octet_length(value) > {SMALL}, 0, value) FROM (SELECT {{look}} AS value))"  # noqa: S608 - ours
_EDITIONS: Final = """  -- in which editions a stage has a value, and where; in which it was skipped; served by job_run
SELECT coalesce(CAST(substr(record, 2) AS INTEGER), 1), coalesce(record, '') FROM job
 WHERE run_id = ?1 AND stage = ?2 AND +status = 'succeeded'
UNION ALL SELECT -record, NULL FROM skip WHERE run_id = ?1 AND stage = ?2 AND record < 0"""


def of_job(look: Look, net: Net, run_id: str, stage: str, record: str | None) -> dict[str, str]:
    """
    Return the values that a stage's job gets from other stages.

    Args:
        record: As the job has it: a number, `@` and an edition, or None.
    Returns: Texts as they are stored, by the name of the need; without those that were skipped, and those that come as
        results.
    Raises: ValueDamaged if one of them is not what was written.
    """
    inner, outer = _needs(net, stage)
    values: dict[str, str] = {}
    for name in outer:
        place = _edition(look, run_id, name, record) if net.nodes[name].edited else _OWN
        if place is not None:
            values |= _values(look, run_id, [name], None, [place], small=False)[place]
    if record is not None and inner:
        values |= _values(look, run_id, inner, net.nodes[stage].stage.fanout, [record], small=False)[record]
    return values


def of_records(look: Look, net: Net, run_id: str, stage: str, records: Sequence[str]) -> dict[str, dict[str, str]]:
    """
    Return the values for jobs of a stage that runs for each record; see `of_job`.

    Returns: Texts by the name of the need, by record; without the records of which a value is not small: many large
        ones at once are more than one look can hold, and more than a daemon should.
    Raises: ValueDamaged if any of them is not what was written.
    """
    inner, outer = _needs(net, stage)
    shared = _values(look, run_id, outer, None, [_OWN], small=True).get(_OWN)
    if shared is None:
        return {}
    own = _values(look, run_id, inner, net.nodes[stage].stage.fanout, records, small=True)
    return {record: {**shared, **values} for record, values in own.items()}


def _needs(net: Net, stage: str) -> tuple[list[str], list[str]]:
    """Return the stages of its record, and those of the run, of which a stage takes a value."""
    asked = net.nodes[stage].stage
    names = [name for name, _ in asked.needs]
    outer = [name for name in names if net.fanout_of(name) is None]
    # What a stage of the run takes from the stages of records are results, which come one by one.
    return [name for name in names if net.fanout_of(name) is not None] if asked.fanout else [], outer


def _values(
    look: Look, run_id: str, names: Sequence[str], fanout: str | None, places: Sequence[str], *, small: bool
) -> dict[str, dict[str, str]]:
    if not names:
        return {place: {} for place in places}
    wanted = tuple(name == fanout for name in names)
    ((found,),) = look(_statement(wanted, small), (run_id, json.dumps(places), *names))
    try:
        text = found.decode()
    except UnicodeDecodeError as error:
        msg = f"a value of {' or '.join(names)} in run {run_id} is damaged on disk"
        raise ValueDamaged(msg) from error
    return {
        place: {
            name: value if name == fanout else unsealed(value, f"a value of {name}")
            for name, value in zip(names, values, strict=True)
            if value is not None
        }
        for place, *values in json.loads(text)
        if 0 not in values
    }


@cache
def _statement(wanted: tuple[bool, ...], small: bool) -> str:  # noqa: FBT001 - functools.cache tells positions apart
    looks = [(_ITEM if item else _RESULT).format(name=place) for place, item in enumerate(wanted, 3)]
    if small:
        looks = [_IF_SMALL.format(look=look) for look in looks]
    # One row for all: the driver gives up the interpreter's lock at each row, and a busy thread waits to get it back.
    return f"""  -- the values of stages for records, or of the run's own; served by job_run
SELECT CAST(json_group_array(json_array(one.value, {", ".join(looks)})) AS BLOB) FROM json_each(?2) AS one"""  # noqa: S608 - our own text


def _edition(look: Look, run_id: str, name: str, record: str | None) -> str | None:
    """
    Return where the value stands that hangs on a collect: in the newest edition of its stage up to the job's own.

    Returns: None if the stage was skipped in that one: what it came to in those before holds no more.
    """
    own = int(record[1:]) if record is not None else 1
    editions: dict[int, str | None] = dict(look(_EDITIONS, (run_id, name)))
    return editions.get(max((edition for edition in editions if edition <= own), default=0))
