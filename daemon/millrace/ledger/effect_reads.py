"""Looks at the effects journal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from millrace.errors import NotFound
from millrace.ledger.effect_rows import EffectCounts, EffectRow
from millrace.ledger.parse import as_error, as_text, in_brief
from millrace.ledger.reader import Reader

if TYPE_CHECKING:
    from millrace.ledger.parse import Whole

NOBODY: Final = """NOT EXISTS (SELECT 1 FROM job WHERE id = effect.job_id
  AND (status IN ('queued', 'running') OR (status = 'waiting' AND reason <> 'doubt')))"""  # will see to it
_OPEN: Final = "status IN ('begun', 'doubt')"
_RUNS: Final = """EXISTS (SELECT 1 FROM job
  WHERE job.id = effect.job_id AND job.attempt = effect.attempt AND job.status = 'running')"""
_IN_DOUBT: Final = f"{_OPEN} AND (status = 'doubt' OR NOT {_RUNS})"
_EFFECT_WITH: Final = f"""SELECT client, key, CASE WHEN {_IN_DOUBT} THEN 'doubt' ELSE status END, call, {{result}},
  CAST(error AS BLOB), job_id, attempt, at, ended_at, doubt_at, told_at, settled_by FROM effect"""  # noqa: S608 - our own text
_EFFECT: Final = _EFFECT_WITH.format(result="CAST(result AS BLOB)")
_EFFECT_IN_BRIEF: Final = _EFFECT_WITH.format(result=f"CAST({in_brief('result')} AS BLOB)")


class EffectReads(Reader):
    """The looks of `Reads` that concern effects."""

    def effect(self, client: str, key: str) -> EffectRow:
        """Return an effect. Raises NotFound."""
        found = self.rows(f"{_EFFECT} WHERE client = ? AND key = ?", (client, key))
        if not found:
            raise NotFound(f'client {client} has no effect "{key}"')
        return _effect(found[0], self._shown)

    def effects(self, *, client: str | None = None, doubt: bool = False, limit: int = 50) -> list[EffectRow]:
        """
        Return effects, newest first; of a result that is not small, how large it is.

        Args:
            client: Whose; None for all.
            doubt: Only those in doubt.
            limit: How many at most, ≥ 1.
        """
        conditions = [*(["client = ?"] if client is not None else []), *([_IN_DOUBT] if doubt else [])]
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        index = " INDEXED BY effect_open" if doubt else ""
        values = (*([client] if client is not None else []), limit)
        sql = f"{_EFFECT_IN_BRIEF}{index}{where} ORDER BY at DESC, key LIMIT ?"
        return [_effect(row, self._outline) for row in self.rows(sql, values)]

    def effects_of(self, job_id: str, limit: int = 100) -> list[EffectRow]:
        """Return the effects that a job has begun, or has taken over, oldest first. Served by effect_job."""
        rows = self.rows(f"{_EFFECT} WHERE job_id = ? ORDER BY at, key LIMIT ?", (job_id, limit))
        return [_effect(row, self._shown) for row in rows]

    def effect_counts(self) -> EffectCounts:
        """Return how many effects are in doubt. Served by effect_open."""
        sql = f"SELECT count(*), count(told_at) FROM effect WHERE {_IN_DOUBT}"  # noqa: S608 - our own text
        return EffectCounts(*self.rows(sql)[0])

    def doubts_to_tell(self) -> bool:
        """Whether an effect came to wait for a person that nobody was told of. Served by effect_open."""
        sql = f"SELECT 1 FROM effect WHERE told_at IS NULL AND {_OPEN} AND {NOBODY} LIMIT 1"  # noqa: S608
        return bool(self.rows(sql))


def _effect(row: tuple[Any, ...], value: Whole) -> EffectRow:
    client, key, status, call, result, error, *rest = row
    result = None if result is None else value(as_text(result))
    return EffectRow(client, key, status, call, result, as_error(error), *rest)
