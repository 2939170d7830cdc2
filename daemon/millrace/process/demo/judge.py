"""What a crash came to, told from what was seen on the outside: a verdict, and nothing that could be wished for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from millrace.process.demo.outside import Cut

DONE = "succeeded"


class Seen(NamedTuple):
    """
    A job of the run, as the ledger had it at a moment.

    Args:
        record: The number of its guest; None of what is done once for the run.
        cut_off: How many of its attempts were taken back from a dead daemon.
    """

    stage: str
    record: str | None
    status: str
    attempt: int
    result: str | None
    cut_off: int = 0

    @property
    def words(self) -> str:
        """What it is, for people."""
        return f"{self.stage} of guest {self.record}" if self.record else self.stage


class Balance(NamedTuple):
    """The conservation proof: how many jobs were accepted, and how many of them are not accounted for."""

    accepted: int
    difference: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """
    What was seen.

    Args:
        before: The jobs of the run when the daemon was dead, by id; `after` when the run was over.
        wanted: The addresses that are to get a mail.
        mails: How many mails each address got, by the books of the mail service.
        lookups: How often each guest was looked up, by the books of the register.
        cuts: The calls that were cut off, by the books of the mail service.
        doubts: The keys of the mails that the ledger knows to be under way while nobody is at them.
        asked: About how many mails the service was asked.
        resumed_after_s: From the kill until the outside world heard of the new daemon.
    """

    before: Mapping[str, Seen]
    after: Mapping[str, Seen]
    wanted: Sequence[str]
    mails: Mapping[str, int]
    lookups: Mapping[str, int]
    cuts: Sequence[Cut]
    doubts: int
    asked: int
    run_id: str
    run_status: str
    balance: Balance
    resumed_after_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """
    The verdict.

    Args:
        jobs: Of the run, in all.
        done: Those that were done at the kill; `kept` those of them that were not done again.
        taken_back: Attempts that the kill cut off.
        lost: What did not come to be, in words; `doubled` what was done twice.
        sent_once: How many of the wanted `mails` were sent exactly once.
    """

    jobs: int
    done: int
    kept: int
    taken_back: int
    lost: tuple[str, ...]
    doubled: tuple[str, ...]
    mails: int
    sent_once: int
    facts: Facts

    @property
    def held(self) -> bool:
        """Whether the promise held."""
        facts = self.facts
        whole = facts.run_status == DONE and facts.balance.difference == 0
        once = self.sent_once == self.mails and self.kept == self.done
        return whole and once and not self.lost and not self.doubled

    @property
    def cut_and_sent(self) -> int:
        """How many of the calls that were cut off had their mail sent by then."""
        return sum(cut.sent for cut in self.facts.cuts)

    def as_json(self) -> dict[str, Any]:
        """Return it as `demo crash --json` gives it."""
        facts = self.facts
        return {
            "held": self.held,
            "resumed_after_s": round(facts.resumed_after_s, 3),
            "run": {"id": facts.run_id, "status": facts.run_status},
            "jobs": {"total": self.jobs, "done_at_kill": self.done, "kept": self.kept, "taken_back": self.taken_back},
            "lost": list(self.lost),
            "doubled": list(self.doubled),
            "mails": {"wanted": self.mails, "sent_once": self.sent_once},
            "cut_off": {"calls": len(facts.cuts), "sent": self.cut_and_sent},
            "in_doubt": {"effects": facts.doubts, "asked": facts.asked},
            "conservation": facts.balance._asdict(),
        }


def judge(facts: Facts) -> Verdict:
    """Return what became of a run whose daemon was killed."""
    done = {job: seen for job, seen in facts.before.items() if seen.status == DONE}
    again = {job: seen for job, seen in done.items() if not _kept(seen, facts.after.get(job), facts.lookups)}
    return Verdict(
        jobs=len(facts.after),
        done=len(done),
        kept=len(done) - len(again),
        taken_back=sum(seen.cut_off for seen in facts.after.values()),
        lost=tuple(_lost(facts)),
        doubled=(*_doubled(facts), *(f"{seen.words} was done again" for seen in again.values())),
        mails=len(facts.wanted),
        sent_once=sum(facts.mails.get(to, 0) == 1 for to in facts.wanted),
        facts=facts,
    )


def _kept(was: Seen, now: Seen | None, lookups: Mapping[str, int]) -> bool:
    """Whether a job that was done stayed as it was; the register knows, too, how often it was asked."""
    same = now is not None and now[:5] == was[:5]
    return same and (was.stage != "address" or lookups.get(was.record or "", 0) == 1)


def _lost(facts: Facts) -> list[str]:
    gone = [
        f"{seen.words} is not in the ledger any more" for job, seen in facts.before.items() if job not in facts.after
    ]
    undone = [f"{seen.words} is {seen.status}" for seen in facts.after.values() if seen.status != DONE]
    return [*gone, *undone, *(f"no mail to {to}" for to in facts.wanted if not facts.mails.get(to, 0))]


def _doubled(facts: Facts) -> list[str]:
    places = Counter((seen.stage, seen.record) for seen in facts.after.values())
    twice = [f"{count} jobs of {stage} for guest {record}" for (stage, record), count in places.items() if count > 1]
    return [*twice, *(f"{count} mails to {to}" for to, count in facts.mails.items() if count > 1)]
