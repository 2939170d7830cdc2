"""Large values in files beside the ledger: seen as before, gone with their rows, and never a row without its file."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import signal
import sys
from typing import TYPE_CHECKING

import apsw
import pytest

from millrace.errors import KeyConflict, LostClaim, ValueDamaged
from millrace.ledger import blob_rows, parse
from millrace.ledger.blobs import LARGE, Blobs, folder_of, reference
from millrace.ledger.effect_rows import EffectEnd, Intent
from millrace.ledger.ledger import Ledger
from millrace.ledger.rows import JobFilter, NewJob
from millrace.ledger.run_rows import Item, RunFilter
from millrace.ledger.run_view import with_arguments
from millrace.ledger.states import Status
from millrace.ledger.usage import client_bytes
from tests.ledger.rig import LIMIT_S, START_MS, Book, OwnClock
from tests.ledger.runs_rig import BAD, LINE, Works

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def large(letter: str = "x", more: int = 10) -> str:
    """Return a JSON text that does not stay in its row."""
    return json.dumps({"fill": letter * (LARGE + more)}, separators=(",", ":"))


def files(book: Book) -> set[str]:
    """Return the names in the folder, finished or not, once what goes with the last commit is gone."""
    book.ledger.writer.submit(lambda _tx: None).wait(LIMIT_S)
    folder = folder_of(book.path)
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_a_large_payload_and_result_are_in_files_and_seen_as_before(book: Book) -> None:
    """The row stays short, whoever looks at the job notices nothing."""
    held = book.one(payload=large("p"))
    book.ledger.moves.succeed(held, large("r"), duration_s=0.0).wait(LIMIT_S)
    ((payload, result),) = book.sql("SELECT payload, result FROM job")
    assert len(payload) < 100
    assert len(result) < 100
    row = book.row(held.job_id)
    assert (row.payload, row.result) == (large("p"), large("r"))
    assert row.as_json()["payload"] == json.loads(large("p"))
    assert book.ledger.reads.whole(held.payload) == large("p")
    assert files(book) == {one.name for one in blob_rows.of_ledger(book.ledger.reads)}
    assert len(files(book)) == 2
    folder = folder_of(book.path)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {(folder / name).stat().st_mode & 0o777 for name in files(book)} == {0o600}


def test_a_list_says_how_large_a_value_is_and_does_not_read_it(book: Book) -> None:
    """A page of fifty results of 8 MB took gigabytes, and twelve seconds; a small one, a name or a path, is wanted."""
    some = f'"{"é" * parse.SMALL}"'  # within its row, but not small
    for value in (large(), some, "[1]"):
        held = book.one(payload=value)
        book.ledger.moves.effect_begin(held, Intent(held.job_id, "send")).wait(LIMIT_S)
        book.ledger.moves.effect_end(held, EffectEnd(held.job_id, "done", value)).wait(LIMIT_S)
        book.ledger.moves.succeed(held, value, duration_s=0.0).wait(LIMIT_S)
        book.clock.advance(1)
    reads = book.ledger.reads
    whole = [json.loads(text) for text in ("[1]", some, large())]
    brief = [[1], {"$large": len(some.encode())}, {"$large": len(large())}]
    for path in folder_of(book.path).iterdir():
        path.rename(path.with_suffix(".away"))  # whoever reads it finds out
    shown = [row.as_json() for row in reads.jobs(JobFilter()).jobs]
    assert [(job["payload"], job["result"]) for job in shown] == [(one, one) for one in brief]
    assert [row.as_json()["result"] for row in reads.effects()] == brief
    for path in folder_of(book.path).iterdir():
        path.rename(path.with_suffix(""))
    shown = [row.as_json() for row in reads.jobs(JobFilter(), whole=True).jobs]
    assert [(job["payload"], job["result"]) for job in shown] == [(one, one) for one in whole]
    assert [reads.job(job["id"]).as_json()["result"] for job in shown] == whole
    assert [reads.effects_of(job["id"])[0].as_json()["result"] for job in shown] == whole


def test_a_list_of_runs_has_large_inputs_in_brief(book: Book) -> None:
    """A list of runs is looked at for what they came to."""
    works = Works(book)
    run = works.start(LINE, inputs=json.dumps({"path": "x" * parse.SMALL}))
    length = len(works.reads.run(run).inputs)
    assert [row.as_json()["inputs"] for row in works.reads.runs(RunFilter()).runs] == [{"$large": length}]
    assert works.reads.runs(RunFilter(), whole=True).runs[0].inputs == works.reads.run(run).inputs


def test_what_is_not_large_stays_in_its_row(book: Book) -> None:
    """A file and two syncs for each small job would be the end of all speed."""
    held = book.one(payload="1" * LARGE)
    book.ledger.moves.succeed(held, "2" * LARGE, duration_s=0.0).wait(LIMIT_S)
    assert book.row(held.job_id).result == "2" * LARGE
    assert not folder_of(book.path).exists()


def test_what_is_large_is_told_by_bytes(book: Book) -> None:
    """A text of other letters than those of English takes up twice as many in its row, or four times."""
    held = book.one(payload=f'"{"ä" * (LARGE // 2)}"')
    book.ledger.moves.succeed(held, f'"{"😀" * (LARGE // 4)}"', duration_s=0.0).wait(LIMIT_S)
    assert len(files(book)) == 2
    assert book.row(held.job_id).result == f'"{"😀" * (LARGE // 4)}"'


def test_many_successes_together_keep_their_large_results(book: Book) -> None:
    """Attempts that end together are written by other statements."""
    ids = [book.accept() for _ in range(3)]
    tickets = [
        book.ledger.moves.succeed(held, large(held.job_id[-1]), duration_s=0.0) for held in book.claim(3)
    ]  # fmt: skip
    assert [ticket.wait(LIMIT_S) for ticket in tickets] == [Status.SUCCEEDED] * 3
    assert [book.row(job_id).result for job_id in ids] == [large(job_id[-1]) for job_id in ids]
    assert {one.owner for one in blob_rows.of_ledger(book.ledger.reads)} == set(ids)


def test_steps_and_effects_keep_large_results(book: Book) -> None:
    """A checkpoint is as good as the value that comes back from it."""
    moves, held = book.ledger.moves, book.one()
    moves.step_put(held, "one", large("s")).wait(LIMIT_S)
    assert moves.whole(moves.step_get(held, "one").wait(LIMIT_S) or "") == large("s")
    moves.effect_begin(held, Intent("mail", "f 1", park=False)).wait(LIMIT_S)
    moves.effect_end(held, EffectEnd("mail", "done", large("e"))).wait(LIMIT_S)
    known = moves.effect_begin(held, Intent("mail", "f 1", park=False)).wait(LIMIT_S)
    assert moves.whole(known["result"]) == large("e")
    assert book.ledger.reads.effect("default", "mail").result == large("e")
    moves.effect_settle("default", "mail", actor="ann", done=True, result=large("t")).wait(LIMIT_S)
    assert book.ledger.reads.effect("default", "mail").result == large("t")
    assert len(files(book)) == 2  # what it was before is gone


def test_a_run_works_on_large_values(book: Book) -> None:
    """Inputs, items good and bad, what stages return, and what is collected."""
    works = Works(book)
    run_id = works.start(LINE, inputs=large("i"))
    assert book.ledger.reads.run_inputs(run_id) == large("i")
    assert book.ledger.reads.run(run_id).inputs == large("i")
    (held,) = works.claim("lead")
    items = [Item(large("a")), Item(None, "b" * LARGE, BAD), Item('"c"')]
    works.moves.emit(held, items, 3, "chain", 0).wait(LIMIT_S)
    works.succeed([held], '{"records":2}')
    assert works.reads.results(run_id, "lead", 0, 10) == [(1, large("a")), (3, '"c"')]
    assert works.reads.arguments(run_id, "points", "1") == {"lead": large("a")}
    points = works.claim("points")
    assert {one.record: works.reads.whole((one.given or {})["lead"]) for one in points} == {"1": large("a"), "3": '"c"'}
    works.succeed(points, lambda one: large("v") if one.record == "1" else "3")
    assert works.reads.results(run_id, "points", 0, 10) == [(1, large("v")), (3, "3")]
    works.succeed(works.claim("total"), large("z"))
    assert works.run(run_id).status == "partial"
    ((dead,),) = book.sql("SELECT id FROM job WHERE status = 'dead'")
    assert book.row(dead).as_json()["payload"] == {"item": "b" * LARGE}
    assert len(files(book)) == 5
    assert works.sound()

    book.clock.advance(100)
    assert works.moves.begin_prune_run(run_id, book.clock.ms).wait(LIMIT_S)
    while works.moves.prune_run(run_id, 1).wait(LIMIT_S)[1]:
        pass
    assert files(book) == set()
    assert list(blob_rows.of_ledger(works.reads)) == []


def test_a_file_goes_with_its_job_and_no_other(book: Book) -> None:
    """Retention is for the disk: a payload that stayed behind would be there for ever."""
    held = book.one(payload=large())
    book.ledger.moves.step_put(held, "one", large("s")).wait(LIMIT_S)
    book.ledger.moves.succeed(held, large("r"), duration_s=0.0).wait(LIMIT_S)
    other = book.accept(payload=large("o"))
    assert len(files(book)) == 4
    book.clock.advance(100)
    assert book.ledger.moves.prune_jobs([held.job_id], Status.SUCCEEDED, book.clock.ms).wait(LIMIT_S) == 1
    assert book.row(other).payload == large("o")
    assert len(files(book)) == 1


def test_what_is_not_accepted_leaves_no_file(book: Book) -> None:
    """The same again, another under the same key, and the late result of a lost attempt."""
    moves = book.ledger.moves
    first = moves.accept([NewJob("add", "q", large(), key="k")]).wait(LIMIT_S)
    assert len(files(book)) == 1
    again = moves.accept([NewJob("add", "q", large(), key="k")]).wait(LIMIT_S)
    assert (again[0].id, again[0].existed) == (first[0].id, True)
    with pytest.raises(KeyConflict):
        moves.accept([NewJob("add", "q", large("y"), key="k")]).wait(LIMIT_S)
    (held,) = book.claim()
    moves.release(held, "test", duration_s=0.0).wait(LIMIT_S)
    with pytest.raises(LostClaim):
        moves.succeed(held, large("r"), duration_s=0.0).wait(LIMIT_S)
    assert len(files(book)) == 1
    assert len(list(blob_rows.of_ledger(book.ledger.reads))) == 1


def test_a_missing_or_changed_file_is_named_and_never_taken_for_the_value(book: Book) -> None:
    """As with a payload in its row: to run something else would be worse than not to run."""
    held = book.one(payload=large())
    moved = book.one(payload=large("m"))
    reads = book.ledger.reads
    assert (blob_rows.missing(reads), blob_rows.damaged(reads)) == ([], [])
    place = folder_of(book.path) / (reference(held.payload) or pytest.fail("no reference")).name
    place.write_text(large("y"))
    with pytest.raises(ValueDamaged, match=place.name):
        reads.whole(held.payload)
    assert blob_rows.missing(reads) == []  # of the same length: only a look at all of it tells
    assert held.job_id in blob_rows.damaged(reads)[0]
    place.unlink()
    with pytest.raises(ValueDamaged, match=r"cannot be read: .*: No such file"):
        reads.whole(held.payload)
    ((lost, path),) = blob_rows.missing(reads)
    assert (lost.owner, path) == (held.job_id, place)
    assert "$damaged" in book.row(held.job_id).as_json()["payload"]
    assert book.row(moved.job_id).payload == large("m")
    book.sql("UPDATE job SET payload = '@nonsense' WHERE id = ?", (moved.job_id,))
    assert "$damaged" in book.row(moved.job_id).payload


def test_arguments_that_are_lost_are_shown_as_lost(book: Book) -> None:
    """The rest of the job is what whoever looks for the cause wants to see."""
    works = Works(book)
    run_id = works.start(LINE)
    (held,) = works.claim("lead")
    works.moves.emit(held, [Item(large("a"))], 1, "chain", 0).wait(LIMIT_S)
    ((job_id,),) = book.sql("SELECT id FROM job WHERE stage = 'points'")
    for name in files(book):
        (folder_of(book.path) / name).unlink()
    with pytest.raises(ValueDamaged):
        works.reads.arguments(run_id, "points", "1")
    assert "$damaged" in with_arguments(works.reads, book.row(job_id)).payload


def test_a_damaged_reference_is_a_damaged_payload(book: Book) -> None:
    """The claim compares what the row says with what was accepted."""
    job_id = book.accept(payload=large())
    book.sql("UPDATE job SET payload = replace(payload, ':', '-')")
    assert book.claim() == []
    error = book.row(job_id).error
    assert error is not None
    assert error.type == "Damaged"


def test_strays_are_removed_and_nothing_else(book: Book) -> None:
    """A kill between file and commit leaves one, which nobody would ever miss."""
    kept = book.accept(payload=large())
    blobs = Blobs(book.path, book.clock)
    stray = reference(blobs.put(large("s")))
    assert stray is not None
    (folder_of(book.path) / "half.part").write_text("{")
    for name in files(book):
        os.utime(folder_of(book.path) / name, ns=(START_MS * 10**6,) * 2)
    young = reference(blobs.put(large("t")))
    assert young is not None
    os.utime(folder_of(book.path) / young.name, ns=((START_MS + 2000) * 10**6,) * 2)
    assert set(blob_rows.strays(book.ledger.reads, START_MS + 1000)) == {stray.name, "half"}
    known = next(blob_rows.of_ledger(book.ledger.reads)).name
    assert book.ledger.moves.remove_strays([stray.name, "half", known]).wait(LIMIT_S) == 2
    assert files(book) == {known, young.name}
    assert book.row(kept).payload == large()


def test_a_value_whose_file_was_removed_on_its_way_is_refused(book: Book) -> None:
    """A unit may wait for an hour behind somebody's lock: better a clear no than a reference to nothing."""
    lost = Blobs(book.path, book.clock).put(large())
    found = reference(lost)
    assert found is not None
    assert book.ledger.moves.remove_strays([found.name]).wait(LIMIT_S) == 1
    with pytest.raises(ValueDamaged, match="send it again"):
        book.accept(payload=lost)
    assert book.ledger.reads.status_counts()["queued"] == 0
    assert book.balanced()


def test_no_file_is_removed_while_a_copy_is_made(book: Book) -> None:
    """The copy refers to what a retention may remove at this very moment."""
    held = book.one(payload=large())
    book.ledger.moves.succeed(held, None, duration_s=0.0).wait(LIMIT_S)
    book.clock.advance(100)
    with Blobs(book.path).kept():
        assert book.ledger.moves.prune_jobs([held.job_id], Status.SUCCEEDED, book.clock.ms).wait(LIMIT_S) == 1
        assert len(files(book)) == 1
    strays = blob_rows.strays(book.ledger.reads, 1 << 62)
    assert book.ledger.moves.remove_strays(strays).wait(LIMIT_S) == 1
    assert files(book) == set()


def test_a_folder_that_cannot_be_written_refuses_the_value_alone(book: Book) -> None:
    """Small values need no folder, and go on."""
    folder_of(book.path).write_text("in the way")
    ticket = book.ledger.moves.accept([NewJob("add", "q", large())])
    with pytest.raises(Exception, match="could not be written"):
        ticket.wait(LIMIT_S)
    assert book.row(book.accept()).status == "queued"


def test_bytes_in_files_are_told_by_client(book: Book) -> None:
    """Exactly: one client with large payloads must not be hidden behind an average."""
    book.accept(payload=large(), client="acme")
    book.accept(client="default")
    assert blob_rows.total_bytes(book.ledger.reads) == len(large())
    found = client_bytes(book.ledger.reads, {"job": 2000})
    assert found == {"acme": 1000 + len(large()), "default": 1000}


def test_the_files_lie_beside_the_database_itself(tmp_path: Path) -> None:
    """SQLite keeps its log beside what a link points to; readers through the link must find the same files."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link.db").symlink_to(tmp_path / "real" / "ledger.db")
    with Ledger(tmp_path / "link.db", synchronous="normal") as ledger:
        ledger.moves.accept([NewJob("add", "q", large())]).wait(LIMIT_S)
    assert len(list((tmp_path / "real" / "ledger.db-blobs").iterdir())) == 1


@pytest.mark.filterwarnings("ignore:This process")
@pytest.mark.parametrize("what", ["accept", "finish"])
def test_a_kill_at_any_point_loses_nothing_and_leaves_no_reference_without_a_file(tmp_path: Path, what: str) -> None:
    """Before the file, in it, after it, in each statement of its transaction; and the search then leaves no stray."""
    acknowledged = kills = strays = 0
    for number in itertools.count(1):
        path = tmp_path / f"{number}.db"
        with Ledger(path, synchronous="normal") as ledger:
            ledger.moves.daemon = "d1"
            if what == "finish":
                ledger.moves.accept([NewJob("add", "q")]).wait(LIMIT_S)
        said, killed = _killed_at(path, number, what)
        with Ledger(path, clock=OwnClock(), synchronous="normal") as ledger:
            reads = ledger.reads
            assert (blob_rows.missing(reads), blob_rows.damaged(reads)) == ([], []), number
            assert reads.balance(count_rows=True).difference == 0
            kept = [one.owner for one in blob_rows.of_ledger(reads)]
            if said:
                acknowledged += 1
                row = reads.job(said)
                assert large() in (row.payload, row.result), number
            found = blob_rows.strays(reads, 1 << 62)
            strays += len(found)
            ledger.moves.remove_strays(found).wait(LIMIT_S)
            left = list(folder_of(path).iterdir()) if folder_of(path).exists() else []
            assert len(left) == len(kept)
            assert [reads.job(owner).status for owner in kept] == ["queued" if what == "accept" else "succeeded"] * len(
                kept
            )
        kills += killed
        if not killed:
            break
    assert acknowledged >= 1
    assert strays >= 2  # half a file, and a whole one
    assert kills > 8


def _killed_at(path: Path, number: int, what: str) -> tuple[str, bool]:
    """Do it in a process that is killed at its step of this number; return the acknowledged job, and if it was."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        steps = itertools.count(1)

        def step() -> None:
            if next(steps) == number:
                os.kill(os.getpid(), signal.SIGKILL)

        def trace(_cursor: object, _sql: str, _values: object) -> bool:
            step()
            return True

        def audit(event: str, args: tuple[object, ...]) -> None:
            if event in ("open", "os.rename", "os.mkdir") and "-blobs" in str(args):
                step()

        apsw.connection_hooks.append(lambda connection: connection.set_exec_trace(trace))
        sys.addaudithook(audit)
        ledger = Ledger(path, synchronous="normal")
        ledger.moves.daemon = "d1"
        if what == "accept":
            done = ledger.moves.accept([NewJob("add", "q", large())]).wait(LIMIT_S)[0].id
        else:
            (held,) = ledger.moves.claim("q", 1).wait(LIMIT_S)
            ledger.moves.succeed(held, large(), duration_s=0.0).wait(LIMIT_S)
            done = held.job_id
        os.write(writing, done.encode())
        os._exit(0)
    os.close(writing)
    said = os.read(reading, 100).decode()
    os.close(reading)
    _, status = os.waitpid(child, 0)
    return said, os.WIFSIGNALED(status)


def test_a_lock_of_the_folder_is_let_go_of_by_the_kernel(book: Book) -> None:
    """A backup that was killed must not keep files for ever."""
    book.accept(payload=large())
    with Blobs(book.path).kept():
        pass
    descriptor = os.open(folder_of(book.path), os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(descriptor)


class Vanishing(Blobs):
    """Files that somebody removes while they are looked at."""

    def _entries(self) -> Iterator[os.DirEntry[str]]:
        for entry in super()._entries():
            (self.folder / entry.name).unlink()
            yield entry


def test_a_file_that_goes_while_it_is_looked_at_is_not_there(book: Book) -> None:
    """A retention goes on beside each look; none of them fails for that."""
    book.accept(payload=large())
    assert Vanishing(book.path).sizes() == {}
