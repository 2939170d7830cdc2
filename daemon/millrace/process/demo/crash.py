"""`millrace demo crash`: a daemon is killed in the middle of a run and started again; what came of it is judged."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from millrace.clock import format_duration
from millrace.errors import MillraceError
from millrace.ledger.rows import JobFilter
from millrace.process.demo.judge import Balance, Facts, Seen, judge
from millrace.process.demo.outside import Outside, addresses
from millrace.process.demo.stage import CALLERS, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from millrace.clock import Clock
    from millrace.process.demo.judge import Verdict

GUESTS: Final = 60
PIPELINE: Final = "invitations"
_MOST: Final = 1000  # jobs of a run, in one look


class Crash:
    """
    The play: a run is begun, its daemon is killed with mails under way, and started again.

    Args:
        program: The command line of Millrace itself, before its options.
        tell: Is told what happens, while it happens.
        careful: Whether mails are sent through `once`; without it, some come twice.
        keep: Whether the site stays when it is over.
        interrupted: Whether somebody has asked for the end, which then comes between two steps.
    """

    def __init__(
        self,
        program: Sequence[str],
        *,
        clock: Clock,
        tell: Callable[[str], None],
        careful: bool,
        keep: bool,
        interrupted: Callable[[], bool],
    ) -> None:
        self._clock = clock
        self._tell = tell
        self._careful = careful
        self._outside = Outside(GUESTS // 3, clock)
        self._stage = Stage(program, keep=keep, clock=clock, interrupted=interrupted)

    @property
    def folder(self) -> Path:
        """Where the site is, or was."""
        return self._stage.folder

    def play(self) -> Verdict:
        """
        Play it, and judge it.

        Raises: MillraceError if it does not come to its end; KeyboardInterrupt once everything is tidied up.
        """
        with self._outside as outside, self._stage as stage:
            self._tell(f"A site of its own in {stage.folder}, mails go to {outside.url}")
            pid = stage.serve()
            self._tell(f"The daemon serves: pid {pid}")
            run_id = self._begin()
            self._await_calls(run_id)
            before, doubts, killed_at = self._kill(pid, run_id)
            pid = stage.serve()
            self._tell(f"Started again: pid {pid}, serving {self._since(killed_at)} after the kill")
            stage.until(lambda: stage.reads.run(run_id).status != "running", "the run to be over")
            self._tell(f"The run is over: {stage.reads.run(run_id).status}")
            verdict = judge(self._facts(run_id, before, doubts, killed_at))
            stage.stop()
        return verdict

    def _begin(self) -> str:
        inputs = {"guests": GUESTS, "office": self._outside.url, "careful": self._careful}
        run = json.loads(self._stage.command("run", PIPELINE, "--payload", json.dumps(inputs), "--json"))
        self._tell(f"A run of {PIPELINE}: {GUESTS} guests, each looked up, given a ticket, sent a mail")
        return str(run["id"])

    def _await_calls(self, run_id: str) -> None:
        """Wait until the slow mail service keeps all callers waiting: the worst moment to die."""
        reads, outside = self._stage.reads, self._outside
        self._stage.until(
            lambda: outside.waiting >= CALLERS or reads.run(run_id).status != "running", "mails to be under way"
        )
        if not outside.waiting:
            raise MillraceError("the demo's run ended before its daemon could be killed")

    def _kill(self, pid: int, run_id: str) -> tuple[dict[str, Seen], int, float]:
        """Kill the daemon; return what it left: the jobs, how many effects are open, and when it was."""
        stage, outside = self._stage, self._outside
        sent, calls = outside.mails().total(), outside.waiting
        stage.kill()
        killed_at = self._clock.monotonic()
        stage.until(lambda: not outside.waiting, "the mail service to notice")
        outside.hurry()
        self._tell(f"{sent} mails are sent, {calls} calls to the mail service under way: kill -9 {pid}")
        before = self._seen(run_id)
        done = sum(seen.status == "succeeded" for seen in before.values())
        running = sum(seen.status == "running" for seen in before.values())
        self._tell(f"Dead. On disk: {done} stage jobs done, {running} running, {len(before) - done - running} to do")
        doubts = sum(effect.status not in ("done", "not_done") for effect in stage.reads.effects(limit=_MOST))
        return before, doubts, killed_at

    def _facts(self, run_id: str, before: dict[str, Seen], doubts: int, killed_at: float) -> Facts:
        reads, outside = self._stage.reads, self._outside
        balance = reads.balance(count_rows=True)
        return Facts(
            before=before,
            after=self._seen(run_id),
            wanted=addresses(GUESTS),
            mails=outside.mails(),
            lookups=outside.lookups(),
            cuts=outside.cuts,
            doubts=doubts,
            asked=len(set(outside.asked)),
            run_id=run_id,
            run_status=reads.run(run_id).status,
            balance=Balance(balance.accepted, balance.difference),
            resumed_after_s=(outside.first_after or self._clock.monotonic()) - killed_at,
        )

    def _seen(self, run_id: str) -> dict[str, Seen]:
        reads = self._stage.reads
        return {
            job.id: Seen(
                job.stage or "",
                job.record,
                job.status,
                job.attempt,
                job.result,
                sum(attempt.outcome == "lost" for attempt in reads.attempts(job.id)),
            )
            for job in reads.jobs(JobFilter(run=run_id, limit=_MOST), whole=True).jobs
        }

    def _since(self, moment: float) -> str:
        return format_duration(round(self._clock.monotonic() - moment, 1))
