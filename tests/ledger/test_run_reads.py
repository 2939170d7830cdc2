"""What is read of runs: themselves, the arguments of their jobs, their results in order."""

from __future__ import annotations

import json

import pytest

from millrace.errors import LostClaim, NotFound, ValueDamaged
from millrace.ledger.plan import Gate
from millrace.ledger.reads import Reads
from millrace.ledger.rows import JobFilter, ProgressRow
from millrace.ledger.run_rows import RunFilter
from millrace.ledger.run_view import view_run, with_arguments
from tests.ledger.rig import LIMIT_S, START_MS, Book
from tests.ledger.runs_rig import DIAMOND, LINE, ROUTED, Works, per, plan, stage


@pytest.fixture
def works(book: Book) -> Works:
    """Runs in a fresh ledger."""
    return Works(book)


def test_a_run_is_found_by_the_start_of_its_id(works: Works) -> None:
    """As jobs are."""
    first, second = works.start(LINE), works.start(LINE)
    assert works.reads.run(first[:-1] + first[-1]).id == first
    with pytest.raises(NotFound, match="could be any of"):
        works.reads.run(first[:8])
    with pytest.raises(NotFound, match='no run "ffff"'):
        works.reads.run("ffff")
    with pytest.raises(NotFound, match="not the id of a run"):
        works.reads.run("zz")
    assert works.reads.run(second).as_json()["finished_at"] is None


def test_a_run_is_shown_as_the_contract_says(works: Works) -> None:
    """Scripts hold on to it."""
    run_id = works.start(LINE, inputs='{"path":"x.csv"}')
    works.fan_out(1)
    shown = works.run(run_id).as_json()
    assert shown["inputs"] == {"path": "x.csv"}
    assert shown["counts"] == {"lead": {"succeeded": 1}, "points": {"queued": 1}, "total": {}}
    assert (shown["id"], shown["pipeline"], shown["client"], shown["status"]) == (run_id, "p", "default", "running")
    assert shown["created_at"] == "2027-01-15T08:00:00.000Z"


def test_runs_are_listed_newest_first_in_pages(works: Works) -> None:
    """With the filters of the command line."""
    ids = [works.start(LINE, client="acme" if n % 2 else "default") for n in range(5)]
    page = works.reads.runs(RunFilter(limit=2))
    assert [run.id for run in page.runs] == [ids[4], ids[3]]
    rest = works.reads.runs(RunFilter(limit=10, after=page.next))
    assert ([run.id for run in rest.runs], rest.next) == ([ids[2], ids[1], ids[0]], None)
    works.moves.cancel_run(ids[0], actor="ann").wait(LIMIT_S)
    assert [run.id for run in works.reads.runs(RunFilter(status="cancelled")).runs] == [ids[0]]
    assert [run.id for run in works.reads.runs(RunFilter(client="acme")).runs] == [ids[3], ids[1]]
    assert works.reads.runs(RunFilter(pipeline="other")).runs == []
    assert works.reads.runs(RunFilter(since=START_MS + 1)).runs == []


@pytest.mark.parametrize("text", ["CAST(x'7b2261223aff7d' AS TEXT)", "'{\"a\":'", "'{\"a\":2}'"])
def test_inputs_that_are_damaged_hide_no_run_and_start_no_job(works: Works, text: str) -> None:
    """One flipped bit must not take the list of all runs away, and a stage must not run with what nobody gave."""
    run_id, other = works.start(LINE, inputs='{"a":1}'), works.start(LINE, inputs='{"a":1}')
    works.book.sql(f"UPDATE run SET inputs = {text} WHERE id = ?", (run_id,))  # noqa: S608 - our own text
    for page in (works.reads.runs(RunFilter()), works.reads.runs(RunFilter(), whole=True)):
        assert [run.as_json()["id"] for run in page.runs] == [other, run_id]
    assert "$damaged" in works.run(run_id).as_json()["inputs"]
    assert works.run(other).as_json()["inputs"] == {"a": 1}
    with pytest.raises(ValueDamaged):
        works.reads.run_inputs(run_id)
    (job,) = works.reads.jobs(JobFilter(run=run_id)).jobs
    assert "$damaged" in with_arguments(works.reads, job).as_json()["payload"]


def test_many_runs_of_a_pipeline_share_what_is_made_of_its_plan(works: Works) -> None:
    """From some number of open runs on, each look made it anew, which took almost a millisecond."""
    runs = [works.start(LINE) for _ in range(60)]
    nets = {id(works.reads.net(run_id)) for _ in range(2) for run_id in runs}
    assert len(nets) == 1
    reads = Reads(works.book.path)
    assert reads.net(runs[0]) is works.reads.net(runs[1])
    reads.close()


def test_a_job_gets_what_its_record_and_its_run_have(works: Works) -> None:
    """Each value from where it is stored, as text; a need that was skipped is left out."""
    graph = plan(
        stage("rates"),
        stage("lead", kind="fanout"),
        per("lead", "company", "lead"),
        per("lead", "call", "lead", "company", "rates"),
    )
    run_id = works.start(graph)
    works.succeed(works.claim("rates"), '{"eur":1}')
    works.fan_out(12)
    works.succeed(works.claim("company"), lambda held: f'"company {held.record}"')
    assert works.reads.arguments(run_id, "call", "12") == {
        "lead": '"item 12"', "company": '"company 12"', "rates": '{"eur":1}',
    }  # fmt: skip
    assert works.reads.arguments(run_id, "rates", None) == {}
    assert works.reads.arguments(run_id, "company", "12") == {"lead": '"item 12"'}

    routed = works.start(ROUTED)
    works.fan_out(1)
    works.succeed(works.claim("kind"), '"odd"')
    works.succeed(works.claim("other"), '"o"')
    assert works.reads.arguments(routed, "note", "1") == {"lead": '"item 1"', "other": '"o"'}
    assert works.reads.arguments(routed, "card", "1") == {}, "big was skipped"


def test_what_is_small_comes_with_the_claim(works: Works) -> None:
    """The same as when it is looked up: for joins, skipped branches, and with a value of the run beside it."""
    graph = plan(
        stage("rates"),
        stage("lead", kind="fanout"),
        per("lead", "kind", "lead", kind="route"),
        per("lead", "big", "lead", "rates", gate=Gate("kind", ("big",))),
        per("lead", "other", "lead", gate=Gate("kind", (), otherwise=True)),
        per("lead", "card", "big?", "other?", "rates"),
    )
    run_id = works.start(graph)
    works.succeed(works.claim("rates"), '{"eur":1}')
    works.fan_out(12, bad=[5])
    seen: set[str | None] = set()
    while claims := works.claim():
        for held in claims:
            assert held.given == works.reads.arguments(run_id, str(held.stage), held.record), held
        seen |= {held.stage for held in claims}
        works.succeed(claims, lambda held: '"big"' if held.record in {"3", "4"} else f'"{held.stage} {held.record}\\n"')
    assert seen == {"kind", "big", "other", "card"}
    assert works.run(run_id).counts["card"] == {"succeeded": 11}


def test_what_is_large_does_not_come_with_the_claim(works: Works) -> None:
    """Hundreds of claims wait ahead of the workers; what each is called with is then looked up when it runs."""
    graph = plan(stage("rates"), stage("lead", kind="fanout"), per("lead", "a", "lead"), per("lead", "b", "a", "rates"))
    run_id = works.start(graph)
    works.succeed(works.claim("rates"))
    works.fan_out(2)
    works.succeed(works.claim("a"), lambda held: f'"{"x" * 10_000}"' if held.record == "1" else '"y"')
    given = {held.record: held.given for held in works.claim("b")}
    assert given == {"1": None, "2": {"a": '"y"', "rates": "1"}}
    assert len(works.reads.arguments(run_id, "b", "1")["a"]) == 10_002

    works.start(graph)
    works.succeed(works.claim("rates"), f'"{"x" * 10_000}"')
    works.fan_out(1)
    works.succeed(works.claim("a"))
    assert [held.given for held in works.claim("b") if held.record == "1"][-1] is None


@pytest.mark.parametrize("to", ["CAST(x'2261e122' AS TEXT)", "'2'"], ids=["no text", "another"])
def test_a_value_that_is_not_what_was_written_is_handed_to_nobody(works: Works, to: str) -> None:
    """Neither does it keep the jobs beside it from their claims."""
    run_id = works.start(LINE)
    works.fan_out(3)
    works.succeed(works.claim("points"), '"1"')
    works.book.sql(f"UPDATE job SET result = {to} WHERE stage = 'points' AND record = '2'")  # noqa: S608
    (total,) = works.claim("total")
    with pytest.raises(ValueDamaged):
        works.reads.results(run_id, "points", 0, 10)
    works.succeed([total])

    graph = plan(stage("lead", kind="fanout"), per("lead", "a", "lead"), per("lead", "b", "a"))
    run_id = works.start(graph)
    works.fan_out(3)
    works.succeed(works.claim("a"), '"1"')
    works.book.sql(f"UPDATE job SET result = {to} WHERE stage = 'a' AND record = '2'")  # noqa: S608
    claims = works.claim("b")
    assert sorted(str(held.record) for held in claims) == ["1", "2", "3"]
    assert works.reads.arguments(run_id, "b", "1") == {"a": '"1"'}
    with pytest.raises(ValueDamaged):
        works.reads.arguments(run_id, "b", "2")


def test_only_what_other_stages_came_to_comes_with_the_claim(works: Works) -> None:
    """Not for the run's own jobs, which are few, and not for a bad item, which is its own payload."""
    works.start(LINE)
    (held,) = works.claim("lead")
    assert held.given is None
    works.emit(held, 2, bad=[2])
    works.succeed([held])
    ((dead,),) = works.book.sql("SELECT id FROM job WHERE status = 'dead'")
    works.moves.requeue(dead, actor="ann").wait(LIMIT_S)
    assert {(one.stage, one.given is None) for one in works.claim()} == {("lead", True), ("points", False)}


def test_a_run_is_seen_with_what_it_came_to(works: Works) -> None:
    """What nothing follows, of the newest edition; neither the values of records nor those on the way."""
    run_id = works.start(DIAMOND)
    works.fan_out(12)
    for held in works.claim("company"):
        works.die(held)
    assert view_run(works.reads, run_id).results == {}
    works.work_off('"all dead"')
    assert view_run(works.reads, run_id).results == {"mail": '"all dead"'}
    for record in range(1, 13):
        works.requeue(run_id, "company", str(record))
        works.work_off(lambda held: json.dumps(f"{held.stage} {held.record}"))
        assert view_run(works.reads, run_id).results == {"mail": f'"mail @{record + 1}"'}
    assert works.run(run_id).status == "succeeded"
    works.book.sql("UPDATE job SET result = '{' WHERE stage = 'mail'")
    assert "$damaged" in view_run(works.reads, run_id).as_json()["results"]["mail"]


def test_a_job_of_an_edition_gets_the_value_of_its_edition(works: Works) -> None:
    """The second collect's mail must not tell of the first's total; and results come one by one, not as an argument."""
    run_id = works.start(DIAMOND)
    works.fan_out(2)
    works.die(works.claim("company")[0])
    works.moves.daemon = "d2"
    works.moves.take_back(set()).wait(LIMIT_S)
    works.work_off(lambda held: json.dumps(f"{held.stage} {held.record}"))
    works.moves.resume_run(run_id, actor="ann").wait(LIMIT_S)
    works.work_off(lambda held: json.dumps(f"{held.stage} {held.record}"))
    assert works.reads.arguments(run_id, "mail", None) == {"total": '"total None"'}
    assert works.reads.arguments(run_id, "mail", "@2") == {"total": '"total @2"'}
    assert works.reads.arguments(run_id, "total", "@2") == {}


def test_a_branch_that_a_later_edition_did_not_take_has_no_value(works: Works) -> None:
    """Its value of the edition before told of a total that holds no more; the job of that edition still shows it."""
    graph = plan(
        stage("lead", kind="fanout"),
        per("lead", "points", "lead"),
        stage("total", "points", kind="collect"),
        stage("way", "total", kind="route", after_collect=True),
        stage("small", "total", gate=Gate("way", ("small",)), after_collect=True),
        stage("huge", "total", gate=Gate("way", ("huge",)), after_collect=True),
        stage("end", "total", "small?", "huge?", after_collect=True),
    )
    run_id = works.start(graph)
    works.fan_out(2)
    works.die(works.claim("points")[0])
    works.moves.daemon = "d2"
    works.moves.take_back(set()).wait(LIMIT_S)
    works.work_off(lambda held: json.dumps({"way": "small"}.get(str(held.stage), held.stage)))
    assert works.reads.arguments(run_id, "end", None) == {"total": '"total"', "small": '"small"'}
    works.moves.resume_run(run_id, actor="ann").wait(LIMIT_S)
    works.work_off(lambda held: json.dumps({"way": "huge"}.get(str(held.stage), held.stage)))
    assert works.reads.arguments(run_id, "end", "@2") == {"total": '"total"', "huge": '"huge"'}
    assert works.reads.arguments(run_id, "end", None) == {"total": '"total"', "small": '"small"'}
    assert works.reads.outcome(run_id, "small") is None
    assert (works.reads.outcome(run_id, "huge"), works.reads.outcome(run_id, "end")) == ('"huge"', '"end"')


def test_results_come_in_the_order_of_the_records(works: Works) -> None:
    """By number and not by its text, chunk by chunk, without those that died."""
    run_id = works.start(LINE)
    works.fan_out(25, bad=[7])
    works.die(next(held for held in works.claim("points") if held.record == "12"))
    works.moves.daemon = "d2"
    works.moves.take_back(set()).wait(LIMIT_S)
    works.work_off(lambda held: str(held.record) if held.record else "0")
    expected = [(n, str(n)) for n in range(1, 26) if n not in (7, 12)]
    found: list[tuple[int, str]] = []
    while chunk := works.reads.results(run_id, "points", found[-1][0] if found else 0, 4):
        found += chunk
    assert found == expected
    assert works.reads.results_head(run_id, "points") == (23, 2, 0)
    assert [number for number, _ in works.reads.results(run_id, "lead", 5, 3)] == [6, 8, 9]


def test_the_plan_is_that_which_the_run_began_with(works: Works) -> None:
    """Whatever the job code says by now."""
    assert works.reads.plan(works.start(ROUTED)) == ROUTED
    with pytest.raises(NotFound):
        works.reads.plan("no")
    with pytest.raises(NotFound):
        works.reads.run_inputs("no")


def test_the_progress_of_a_job_is_its_last_word(book: Book) -> None:
    """Fenced by its attempt: a late one must not overwrite that of the next."""
    held = book.one()
    assert book.ledger.reads.progress(held.job_id) is None
    book.clock.advance(10)
    book.ledger.moves.progress(held, 5, None).wait(LIMIT_S)
    book.ledger.moves.progress(held, 50, 200).wait(LIMIT_S)
    progress = book.ledger.reads.progress(held.job_id)
    assert progress == ProgressRow(50, 200, START_MS, START_MS + 10_000)
    told = progress.as_json()
    assert (told["percent"], told["rate_per_s"], told["left_s"]) == (25.0, 5.0, 30.0)
    book.ledger.moves.release(held, "shutdown", duration_s=0.0).wait(LIMIT_S)
    with pytest.raises(LostClaim, match="its progress is dropped"):
        book.ledger.moves.progress(held, 60, 200).wait(LIMIT_S)
