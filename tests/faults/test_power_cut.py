"""
The power fails at a random moment of a daemon's life: images of the disk are rebuilt from a trace of its writes and
syncs, with all that was not synced kept, lost or torn. 50 of them in a bounded run; FAULT_ROUNDS=20 makes 1,000.

Proved, for each: the file is sound and the counters agree with the rows; each job that was acknowledged before the cut
is there with its payload, be that in its row or in a file; no attempt that had begun is unknown, so that none runs
twice under one number. And that the test can fail: a disk that lies about its syncs, and a ledger that does not ask for
them, lose acknowledged jobs.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import closing
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import apsw
import pytest

from millrace.errors import MillraceError
from millrace.ledger.ledger import Ledger
from tests.faults.conftest import CONFIG, FILES
from tests.faults.disk import MODES, SYNCS, Cut, Disk, lines_before
from tests.faults.referee import FINAL, Referee, whole
from tests.faults.script import plant_old_ledger
from tests.faults.strace import need_strace, recording
from tests.faults.trace import CALLS, read_trace
from tests.process.scratch import Scratch

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from tests.faults.conftest import MakeSite
    from tests.faults.trace import Call

NAME = "millrace.db"
VALUES = f"{NAME}-blobs"
NAMES = (NAME, f"{NAME}-wal", f"{NAME}-journal", VALUES)
RECORDED = Path(__file__).with_name("recorded.py")
JOBS = 400
IMAGES = 25
FEW = 20
WRONG = ("lost", "doubled", "corrupt")
GARBAGE = 32768


class Recording:
    """
    A daemon's life, traced.

    Args:
        root: For the site; made now.
        old: Whether it begins with a ledger of version 1 instead of none.
        synchronous: As in [database].
    """

    def __init__(self, root: Path, *, old: bool, jobs: int = JOBS, synchronous: str = "full") -> None:
        config = f'{CONFIG}[database]\nsynchronous = "{synchronous}"\n'
        with Scratch(root, sorted(FILES.glob("*.py")), config) as site:
            if old:
                plant_old_ledger(site)
            self.base = {NAME: site.ledger.read_bytes()} if old else {}
            self._before = _numbers(site.ledger) if old else {}
            self.known = (root / "effects.log").read_text() if old else ""
            self.folder = site.state
            self._trace(site, jobs)
        self._calls = [*read_trace(root / "trace")]
        self.values = {path.name for path in (Path(call.path) for call in self._calls) if path.parent.name == VALUES}
        disks = self._disks()
        self.files = [call for call in self._calls if any(disk.concerned(call) for disk in disks)]
        self._acks, self._effects = (
            [call for call in self._calls if call.path == str(root / name) and call.name == "write"]
            for name in ("acks.log", "effects.log")
        )
        moments = thinned(sorted([*self.files, *self._acks], key=lambda call: call.began))
        self._marks = [*{place for call in moments for place in (call.began, call.done)}]

    @property
    def checkpoints(self) -> int:
        """How often the log was moved into the database while work went on: the log is begun anew after it."""
        first = [call for call in self.files if call.path.endswith("-wal") and call.place == 0 and call.data]
        return max(0, len(first) - 1)

    @staticmethod
    def _trace(site: Scratch, jobs: int) -> None:
        places = [str(site.config), str(site.state), f"http://127.0.0.1:{site.port}"]
        argv = [sys.executable, str(RECORDED), *places, "io", str(jobs), str(site.root / "acks.log"), "1"]
        environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        words = recording(CALLS, site.root / "trace")
        done = subprocess.run(
            [*words, *argv], cwd=site.root, env=environ, capture_output=True, text=True, timeout=170, check=False
        )
        assert done.returncode == 0, done.stderr

    def _disks(self) -> tuple[Disk, Disk]:
        """Return the folder of the ledger, and the one in it that has its large values."""
        return Disk(self.folder, NAMES, self.base), Disk(self.folder / VALUES, [*self.values], {})

    def cut(self, dice: random.Random) -> Cut:
        """Return a moment and a manner."""
        return Cut(dice.choice(self._marks) + dice.randint(0, 1), dice.choice(MODES))

    def image(self, cut: Cut, root: Path, dice: random.Random) -> Path:
        """Write the files that are there after a cut, and shared memory with anything in it; return the ledger."""
        state, values = (disk.after(self.files, cut, dice) for disk in self._disks())
        root.mkdir(parents=True, exist_ok=True)
        if state.pop(VALUES, None) is not None:
            (root / VALUES).mkdir()
            state |= {f"{VALUES}/{name}": content for name, content in values.items()}
        for name, content in state.items():
            (root / name).write_bytes(content)
        if dice.random() < 0.5:
            (root / f"{NAME}-shm").write_bytes(dice.randbytes(GARBAGE))
        return root / NAME

    def acknowledged(self, cut: Cut) -> dict[str, int]:
        """Return the jobs that were acknowledged before a cut, and their numbers."""
        return self._before | {job: int(n) for job, n in (line.split() for line in lines_before(self._acks, cut))}

    def effects(self, cut: Cut) -> str:
        """Return the marks that jobs had left before a cut."""
        return self.known + "".join(f"{line}\n" for line in lines_before(self._effects, cut))

    def begun(self, cut: Cut) -> dict[str, int]:
        """Return the highest attempt of each job that had begun before a cut."""
        marks = [line.split() for line in lines_before(self._effects, cut)]
        return {job: int(attempt) for kind, job, attempt, *_ in marks if kind == "start"}


def thinned(calls: Sequence[Call]) -> Iterator[Call]:
    """Leave out most of a long row of writes: the log is grown in thousands, and hardly a cut would fall elsewhere."""
    for writes, row in groupby(calls, key=lambda call: call.name not in SYNCS and not call.path.endswith(".log")):
        some = list(row)
        yield from some[:: max(1, len(some) // FEW)] if writes else some


def _numbers(ledger: Path) -> dict[str, int]:
    """Return the jobs of a ledger, by their number."""
    with closing(apsw.Connection(str(ledger), flags=apsw.SQLITE_OPEN_READONLY)) as connection:
        return {
            str(job): json.loads(payload)["n"] for job, payload in connection.execute("SELECT id, payload FROM job")
        }


class Verdict(NamedTuple):
    """What is wrong with an image."""

    lost: int = 0
    doubled: int = 0
    corrupt: str = ""


def judge(ledger: Path, acknowledged: dict[str, int], begun: dict[str, int]) -> Verdict:
    """Open a ledger as a daemon does, and compare it with what was known outside of it."""
    try:
        with Ledger(ledger) as opened:
            balance = opened.reads.balance(count_rows=True)
            with closing(apsw.Connection(str(ledger))) as connection:
                sound = connection.execute("PRAGMA integrity_check").fetchall()
                rows: list[Any] = connection.execute("SELECT id, payload, payload_hash, attempt FROM job").fetchall()
    except (MillraceError, apsw.Error) as error:
        return Verdict(corrupt=f"{type(error).__name__}: {error}")
    if sound != [("ok",)] or balance.difference or balance.accepted != len(rows):
        return Verdict(corrupt=f"{sound}, {balance}")
    texts = {str(job): (whole(ledger, payload), kept) for job, payload, kept, _ in rows}
    sent = {
        job: json.loads(text)["n"]
        for job, (text, kept) in texts.items()
        if blake2b(text.encode(), digest_size=16).hexdigest() == kept
    }
    attempts = {str(job): int(attempt) for job, _, _, attempt in rows}
    return Verdict(
        lost=sum(sent.get(job) != n for job, n in acknowledged.items()),
        doubled=sum(attempts.get(job, 0) < attempt for job, attempt in begun.items()),
        corrupt="" if len(sent) == len(rows) else "there are payloads that nobody sent",
    )


@pytest.fixture(scope="module", params=[False, True], ids=["fresh", "upgraded"])
def life(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """A life that begins without a ledger, and one that begins with an old one."""
    need_strace()
    return Recording(tmp_path_factory.mktemp("life") / "site", old=request.param)


def totals(life: Recording, cuts: Iterable[Cut], root: Path, dice: random.Random) -> tuple[Counter[str], Counter[str]]:
    """Judge an image for each cut; return how often something was wrong, and how much was there to be lost."""
    wrong, there = Counter[str](), Counter[str]()
    for number, cut in enumerate(cuts):
        acknowledged, begun = life.acknowledged(cut), life.begun(cut)
        verdict = judge(life.image(cut, root / f"{number}", dice), acknowledged, begun)
        shutil.rmtree(root / f"{number}")
        wrong += Counter(lost=verdict.lost, doubled=verdict.doubled, corrupt=bool(verdict.corrupt))
        there += Counter(acknowledged=len(acknowledged), begun=len(begun), images=1)
        if verdict.corrupt:
            print(cut, verdict.corrupt)  # noqa: T201 - shown when the test fails
    return wrong, there


def test_a_power_cut_loses_nothing_that_was_acknowledged(
    life: Recording, tmp_path: Path, dice: random.Random, rounds: Callable[[int], int]
) -> None:
    """At any moment, with anything of what was not synced."""
    wrong, there = totals(life, (life.cut(dice) for _ in range(rounds(IMAGES))), tmp_path, dice)
    told = ", ".join(f"{name} {wrong[name]}" for name in WRONG)
    print(f"{dict(there)}: {told}; {life.checkpoints} checkpoints")  # noqa: T201 - the measure, shown by -rP
    assert wrong.total() == 0, wrong
    assert there["acknowledged"] > there["images"], "hardly anything could have been lost: the test proves nothing"
    assert life.values, "no payload was large: of the files of values nothing is proved"
    assert life.checkpoints, "the log was never moved into the database: the test proves little"


def test_a_daemon_goes_on_after_a_power_cut(
    life: Recording, make_site: MakeSite, tmp_path: Path, dice: random.Random, rounds: Callable[[int], int]
) -> None:
    """What was acknowledged is done, and no attempt is begun twice; the world outside kept what it had seen."""
    for number in range(rounds(1)):
        site = make_site(root=tmp_path / f"{number}")
        cut = life.cut(dice)
        life.image(cut, site.state, dice)
        referee = Referee(site, site.root / "acks.log")
        referee.acks.write_text("".join(f"{job} {n}\n" for job, n in life.acknowledged(cut).items()))
        (site.root / "effects.log").write_text(life.effects(cut))
        daemon = site.serve()
        referee.await_rest(60)
        referee.judge(failures=None, statuses=FINAL)
        assert daemon.stop() == 0
        referee.judge_leavings()


def test_a_disk_that_lies_about_its_syncs_loses_jobs(life: Recording, tmp_path: Path, dice: random.Random) -> None:
    """The images can show a loss: that there is none is the doing of the syncs."""
    cuts = (life.cut(dice)._replace(mode="drop", lies=True) for _ in range(5))
    wrong, there = totals(life, cuts, tmp_path, dice)
    assert wrong["lost"] > there["acknowledged"] / 2 > 0, "the images cannot show a loss"


def test_a_ledger_that_does_not_ask_for_syncs_loses_jobs_and_nothing_else(tmp_path: Path, dice: random.Random) -> None:
    """`synchronous = "normal"` says what it does: the newest commits may go, the file and its counters stay sound."""
    need_strace()
    life = Recording(tmp_path / "site", old=False, jobs=100, synchronous="normal")
    wrong, _ = totals(life, (life.cut(dice) for _ in range(20)), tmp_path, dice)
    assert wrong["lost"] > 0, "the images cannot show a loss"
    assert wrong["corrupt"] == 0
