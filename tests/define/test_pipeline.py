"""`Pipeline`: the graph read from parameter names, what it is given, its items, and how it is told and drawn."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Generator, Iterable, Iterator  # noqa: TC003 - read at run time
from pathlib import Path  # noqa: TC003 - the same
from typing import Any, Literal, NamedTuple

import pytest
from pydantic import BaseModel, FilePath

from millrace.define.pipeline import Pipeline
from millrace.define.results import Results
from millrace.define.stage import Gate, Need
from millrace.errors import PayloadError, PipelineFlawed, TooLarge


class Lead(BaseModel):
    name: str
    visits: int | None = None


class HotLead(Lead):
    phone: str


class Company(BaseModel):
    title: str


leads = Pipeline("leads", inputs={"path": FilePath}, queue="io", retries=2, never_on=KeyError)


@leads.stage
def lead(path: FilePath) -> Iterator[Lead]:
    """Read the file."""
    for line in path.read_text(encoding="utf-8").splitlines():
        yield Lead(name=line)


@leads.stage
def company(lead: Lead) -> Company:
    """Look it up."""
    return Company(title=lead.name.upper())


@leads.stage(queue="cpu", retries=3, timeout="1m", needs=["crm"])
def points(lead: Lead) -> int:
    """Count."""
    return len(lead.name)


@leads.route
def segment(lead: Lead, company: Company, points: int) -> str:
    """Choose."""
    return "enterprise" if points > len(company.title) - 1 else f"not {lead.name}"


@segment.to("enterprise", "large")
def booked_call(lead: Lead) -> str:
    """Call."""
    return lead.name


@segment.otherwise
def welcome_mail(lead: Lead) -> None:
    """Write."""
    _ = lead


@leads.collect
def summary(segment: Results[str]) -> dict[str, int]:
    """Sum up."""
    return {"all": len(segment)}


def test_stages_stay_functions() -> None:
    """They are tested by calling them; nothing of the engine is needed."""
    ada = Lead(name="ada")

    assert company(ada) == Company(title="ADA")
    assert points(lead=ada) == 3
    assert segment(ada, Company(title="ADA"), 3) == "enterprise"
    assert summary(Results.of(["a", "b"])) == {"all": 2}
    assert points.summary == "Count."


def test_the_graph_is_read_from_the_parameters() -> None:
    """The example of the design: a fan-out, two branches that join, a route and a barrier."""
    graph = leads.graph

    assert graph.order == ["lead", "company", "points", "segment", "booked_call", "welcome_mail", "summary"]
    assert {name for name, scope in graph.scope.items() if scope == "lead"} == {*graph.order} - {"lead", "summary"}
    assert graph.scope["lead"] is None
    assert graph.scope["summary"] is None
    assert graph.after_collect == {"summary"}
    assert graph.waits["segment"] == ("lead", "company", "points")
    assert graph.waits["booked_call"] == ("lead", "segment")
    assert [stage.kind for stage in leads.stages.values()] == [
        "fanout", "stage", "stage", "route", "stage", "stage", "collect",
    ]  # fmt: skip
    assert booked_call.gate == Gate("segment", ("enterprise", "large"))
    assert welcome_mail.gate == Gate("segment", otherwise=True)
    assert summary.needs == (Need("segment", required=True, default=None, results=True, of=str),)
    assert lead.returns is Lead


def test_a_stage_is_a_task_of_its_pipeline() -> None:
    """Retries, queues, metrics and dead letters know it as they know any task."""
    assert (points.name, points.stage, points.pipeline) == ("leads.points", "points", leads)
    assert points.arguments('{"lead":{"name":"ada"}}') == {"lead": Lead(name="ada")}
    assert points.call('{"lead":{"name":"ada"}}') == 3
    assert summary.shape.parameters() == []  # what is collected is handed in by the runner


def test_the_policy_of_a_stage_is_its_own_over_the_pipelines() -> None:
    """Most stages of a pipeline want the same; one wants another queue."""
    assert (company.policy.queue, company.policy.retries, company.policy.timeout_s) == ("io", 2, None)
    assert (points.policy.queue, points.policy.retries, points.policy.timeout_s) == ("cpu", 3, 60.0)
    assert points.policy.never_on == company.policy.never_on == (KeyError,)
    assert points.policy.needs == ("crm",)
    assert welcome_mail.policy.queue == "io"


def test_what_another_stage_made_may_be_more_than_what_is_asked_for() -> None:
    """A subclass is taken for its base; in what people write, such a field would be a misspelt one."""
    hot = HotLead(name="ada", phone="1").model_dump_json()

    assert points.arguments(f'{{"lead":{hot}}}') == {"lead": Lead(name="ada")}


def test_the_graph_is_read_anew_when_a_stage_is_added() -> None:
    """Whoever looks at a pipeline in the middle of its file must not fix it for good."""
    pipe = Pipeline("pipe")
    pipe.stage(_one)
    assert pipe.graph.order == ["_one"]
    pipe.stage(name="two")(_one)
    assert pipe.graph.order == ["_one", "two"]


def _one() -> int:
    return 1


def test_a_fan_out_waits_for_what_its_records_need_once() -> None:
    """A record that exists already must not wait for a stage that runs once: nothing would wake it."""
    pipe = Pipeline("pipe", inputs={"path": str})

    @pipe.stage
    def row(path: str) -> Iterator[int]:
        yield len(path)

    @pipe.stage
    def rate(path: str) -> float:
        return float(path)

    @pipe.route
    def mode(rate: float) -> str:
        return str(rate)

    @mode.to("fast")
    def quick(row: int) -> int:
        return row

    @pipe.stage
    def price(row: int, rate: float) -> float:
        return row * rate

    @pipe.collect
    def total(price: Results[float], rate: float) -> float:
        return sum(price) * rate

    @pipe.stage
    def report(total: float, rate: float) -> str:
        return f"{total} {rate}"

    graph = pipe.graph
    assert graph.waits["row"] == ("mode", "rate")
    assert graph.order.index("row") > graph.order.index("mode")
    assert graph.scope == {
        "row": None, "rate": None, "mode": None, "quick": "row", "price": "row", "total": None, "report": None,
    }  # fmt: skip
    assert graph.after_collect == {"total", "report"}
    assert graph.waits["total"] == ("price", "rate")
    assert quick.gate == Gate("mode", ("fast",))


def test_two_fan_outs_may_stand_side_by_side() -> None:
    """Only what needs both at once is refused; a collect may sum up both."""
    pipe = Pipeline("pipe", inputs={"path": str})

    @pipe.stage
    def row(path: str) -> Iterable[int]:
        yield len(path)

    @pipe.stage
    def line(path: str) -> Generator[str, None, None]:
        yield path

    @pipe.collect
    def total(row: Results[int], line: Results[str]) -> int:
        return len(row) + len(line)

    assert pipe.graph.waits["total"] == ("row", "line")
    assert (row.returns, line.returns) == (int, str)
    assert total.kind == "collect"


def test_a_function_that_returns_an_iterator_fans_out_as_well() -> None:
    """`return (…)`, or a decorator around a generator, is no reason to run once."""

    def counted(fn: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(fn)
        def inner(*args: Any, **kwargs: Any) -> Any:
            return fn(*args, **kwargs)

        return inner

    pipe = Pipeline("pipe", inputs={"path": str})

    @pipe.stage
    def row(path: str) -> Iterator[int]:
        return (len(part) for part in path.split())

    @pipe.stage
    @counted
    def line(path: str) -> Iterator[str]:
        yield path

    @pipe.stage
    def parts(path: str) -> list[str]:
        return path.split()

    assert [stage.kind for stage in pipe.stages.values()] == ["fanout", "fanout", "stage"]
    assert pipe.graph.order == ["row", "line", "parts"]


def test_all_that_is_wrong_is_raised_at_once() -> None:
    """One round of mending, not five."""
    pipe = Pipeline("pipe")

    @pipe.stage
    def one(tow: int) -> int:
        return tow

    @pipe.stage
    def two(one: str, three: int) -> str:
        return one * three

    with pytest.raises(PipelineFlawed) as caught:
        _ = pipe.graph
    assert [flaw.line for flaw in caught.value.flaws] == [one.line, two.line, two.line]
    assert all(flaw.file == __file__ for flaw in caught.value.flaws)
    assert str(caught.value.flaws[0]).endswith('nor an input of pipeline "pipe". Did you mean "two"?')


def test_a_default_stands_for_a_stage_that_was_skipped() -> None:
    """It is left out of the arguments then, and the function's own default holds."""
    pipe = Pipeline("pipe", inputs={"path": str})

    @pipe.route
    def way(path: str) -> Literal["long", "short"]:
        return "long" if path else "short"

    @way.to("long")
    def detail(path: str) -> str:
        return path

    @pipe.stage
    def report(path: str, detail: str | None = None) -> str:
        return f"{path} {detail}"

    assert pipe.graph.order == ["way", "detail", "report"]
    assert report.needs[1] == Need("detail", required=False, default=None, results=False, of=str | None)
    assert report.call('{"path":"x"}') == "x None"


class Size(NamedTuple):
    width: int
    height: int


sized = Pipeline("sized", inputs={"path": str, "limit": (int, 5), "size": (Size, Size(1, 2))})


@sized.stage
def rows(path: str, limit: int, size: Size) -> str:
    """Take all inputs."""
    return f"{path} {limit} {size}"


@pytest.mark.parametrize(
    "given",
    [
        {"text": '{"path": "x", "limit": 7}'},
        {"payload": {"path": "x", "limit": 7}},
        {"words": {"path": "x", "limit": "7"}},
    ],
)
def test_inputs_are_checked_in_each_form_and_filled_up(given: dict[str, Any]) -> None:
    """A run carries all its inputs: a default that changes later must not change what it did."""
    assert sized.check_inputs(**given) == '{"limit":7,"path":"x","size":[1,2]}'
    assert rows.call(sized.check_inputs(**given)) == "x 7 Size(width=1, height=2)"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, "inputs.path: is missing (wanted: text)"),
        ({"payload": {"path": 5}}, "inputs.path: must be text, got 5"),
        ({"payload": {"pth": "x", "path": "x"}}, 'inputs.pth: is no field of pipeline sized (Did you mean "path"?)'),
        ({"text": '{"path": "x", "limit": "7"}'}, 'inputs.limit: must be a whole number, got "7"'),
        ({"text": "[1]"}, 'inputs: must be a JSON object, not [1] (such as {"name": "value"})'),
        ({"text": '{"path":'}, "inputs: is not JSON: "),
        ({"payload": {"path": float("nan")}}, "inputs.path: is no finite number"),
        ({"words": {"path": "x", "limit": "many"}}, "inputs.limit: must be a whole number"),
    ],
)  # fmt: skip
def test_inputs_that_do_not_fit_are_named(given: dict[str, Any], problem: str) -> None:
    """Before the run starts, not in its first stage."""
    with pytest.raises(PayloadError) as caught:
        sized.check_inputs(**given)
    assert str(caught.value).startswith(problem)


def test_inputs_are_bounded() -> None:
    """What a site takes for a job it takes for a run."""
    with pytest.raises(TooLarge, match=r"^inputs: more than 5 bytes"):
        sized.check_inputs('{"path": "x"}', max_bytes=5)


def test_a_file_that_an_input_names_must_be_there(tmp_path: Path) -> None:
    """Told to whoever starts the run."""
    (tmp_path / "leads.csv").write_text("ada", encoding="utf-8")

    assert json.loads(leads.check_inputs(words={"path": str(tmp_path / "leads.csv")})) == {
        "path": str(tmp_path / "leads.csv")
    }
    with pytest.raises(PayloadError, match=rf"^inputs\.path: there is no file {tmp_path}/none\.csv$"):
        leads.check_inputs(words={"path": str(tmp_path / "none.csv")})
    with pytest.raises(PayloadError, match=rf"^inputs\.path: {tmp_path} is a folder, and a file is wanted$"):
        leads.check_inputs(words={"path": str(tmp_path)})


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (Lead(name="ada"), '{"name":"ada","visits":null}'),
        ({"name": "ada", "visits": "5"}, '{"name":"ada","visits":5}'),
        ({"name": "é\u2028", "visits": 5.0, "other": 1}, '{"name":"é\u2028","visits":5}'),
        (HotLead(name="ada", phone="1"), '{"name":"ada","visits":null,"phone":"1"}'),
    ],
)
def test_items_are_read_as_people_write_them(raw: object, text: str) -> None:
    """They come from files, where everything is text."""
    assert lead.validate_item(raw) == (text, ())


@pytest.mark.parametrize(
    ("raw", "problems"),
    [
        ({"name": "ada", "visits": "many"}, ['item.visits: must be a whole number, got "many"']),
        ({"visits": ""}, ["item.name: is missing (wanted: text)", 'item.visits: must be a whole number, got ""']),
        ("ada", ['item: must be a Lead object, got "ada"']),
        (None, ["item: must be a Lead object, got null"]),
    ],
)
def test_a_bad_item_is_told_field_by_field(raw: object, problems: list[str]) -> None:
    """It becomes a dead record of its own, and whoever mends it sees what to mend."""
    text, found = lead.validate_item(raw)

    assert text is None
    assert [str(problem) for problem in found] == problems


def test_items_without_a_type_are_what_json_can_hold() -> None:
    """Nothing was said of them, so anything goes that can be kept."""
    pipe = Pipeline("pipe")

    @pipe.stage
    def row():  # type: ignore[no-untyped-def]  # noqa: ANN202 - a site without types
        yield 1

    @pipe.stage
    def ratio() -> Iterator[float]:
        yield 1.0

    assert row.kind == "fanout"
    assert pipe.graph.order == ["row", "ratio"]
    assert row.validate_item({"a": [1, None]}) == ('{"a":[1,null]}', ())
    assert row.validate_item("NaN") == ('"NaN"', ())
    assert "no JSON form" in str(row.validate_item(object())[1][0])
    assert "no JSON form" in str(ratio.validate_item("nan")[1][0])
    assert ratio.validate_item("1.5") == ("1.5", ())


def test_a_check_of_the_sites_own_that_fails_is_a_bad_item() -> None:
    """A bug in a validator must not end the whole source."""
    pipe = Pipeline("pipe")

    @pipe.stage
    def row() -> Iterator[Inverse]:
        yield Inverse(of=1)

    assert row.validate_item({"of": 2}) == ('{"of":2}', ())
    text, found = row.validate_item({"of": 0})
    assert text is None
    assert str(found[0]) == "item: could not be checked by stage row: ZeroDivisionError: division by zero"


class Inverse(BaseModel):
    of: int

    def model_post_init(self, _: object, /) -> None:
        """Fail for zero."""
        _ = 1 / self.of


def test_a_pipeline_tells_what_it_is() -> None:
    """The form that `pipelines show` and the API give."""
    facts = leads.describe()

    assert json.loads(json.dumps(facts)) == facts
    assert (facts["name"], facts["file"], facts["line"]) == ("leads", __file__, leads.line)
    assert facts["summary"].startswith("`Pipeline`: the graph read from parameter names")
    assert [(one["name"], one["required"]) for one in facts["inputs"]] == [("path", True)]
    assert [one["name"] for one in facts["stages"]] == leads.graph.order
    told = {one["name"]: one for one in facts["stages"]}
    assert told["points"] | {"line": 0, "file": ""} == {
        "name": "points",
        "task": "leads.points",
        "kind": "stage",
        "scope": "lead",
        "summary": "Count.",
        "needs": [{"name": "lead", "required": True, "results": False, "input": False}],
        "gate": None,
        "queue": "cpu",
        "retries": 3,
        "timeout_s": 60.0,
        "backoff": None,
        "on_crash": "retry",
        "services": ["crm"],
        "file": "",
        "line": 0,
    }
    assert told["booked_call"]["gate"] == {"route": "segment", "labels": ["enterprise", "large"], "otherwise": False}
    assert told["lead"]["needs"] == [{"name": "path", "required": True, "results": False, "input": True}]


def test_a_pipeline_is_drawn() -> None:
    """Inputs are round, records stand in a box, labels on the arrows of a route, and a thick arrow is a barrier."""
    assert leads.describe()["mermaid"].splitlines() == [
        "flowchart TD",
        '    in_path(["path"])',
        '    st_lead[["lead<br/>one record per item"]]',
        '    subgraph per_lead["for each lead"]',
        '        st_company["company"]',
        '        st_points["points"]',
        '        st_segment{{"segment"}}',
        '        st_booked_call["booked_call"]',
        '        st_welcome_mail["welcome_mail"]',
        "    end",
        '    st_summary[/"summary<br/>when all records are through"\\]',
        "    in_path --> st_lead",
        "    st_lead --> st_company",
        "    st_lead --> st_points",
        "    st_lead --> st_segment",
        "    st_company --> st_segment",
        "    st_points --> st_segment",
        "    st_lead --> st_booked_call",
        '    st_segment -- "enterprise or large" --> st_booked_call',
        "    st_lead --> st_welcome_mail",
        '    st_segment -- "otherwise" --> st_welcome_mail',
        "    st_segment ==> st_summary",
    ]


def test_a_label_cannot_break_the_drawing() -> None:
    """Labels are any text; Mermaid has its own idea of quotes, and of a stage called `end`."""
    pipe = Pipeline("pipe")

    @pipe.route
    def way() -> str:
        return "x"

    @way.to('say "no"; <b>')
    def end() -> None: ...

    @pipe.stage
    def after(end: None = None) -> None: ...

    drawn = pipe.describe()["mermaid"]
    assert '    st_way -- "say #34;no#34;#59; #60;b#62;" --> st_end' in drawn
    assert "    st_end -.-> st_after" in drawn
