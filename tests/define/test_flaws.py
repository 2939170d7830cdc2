"""Pipelines that cannot run are refused when they are loaded: each mistake with its line, the reason and a cure."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from millrace.define.load import load_jobs
from millrace.errors import UnknownTask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from millrace.define.registry import Registry

# Seven lines: what a case adds starts at line 8.
HEAD: Final = """\
from collections.abc import Generator, Iterable, Iterator
from typing import Annotated, Any, Literal
from pydantic import BaseModel, Field
from millrace import Pipeline, Results, task
class Lead(BaseModel): name: str; visits: int = 0
class Company(BaseModel): title: str
p = Pipeline("p", inputs={"path": str, "limit": (int, 5)})
"""


@pytest.fixture(autouse=True)
def imports_put_back() -> Iterator[None]:
    """Loading is for a process that does it once; other tests must find their modules as they were."""
    path, modules = list(sys.path), dict(sys.modules)
    yield
    sys.path[:] = path
    for name in [name for name in sys.modules if name.split(".")[0] == "jobs"]:
        del sys.modules[name]
    sys.modules.update({name: module for name, module in modules.items() if name.split(".")[0] == "jobs"})


def load(root: Path, **files: str) -> Registry:
    """Load job files of these texts, with the queues that these tests know."""
    (root / "jobs").mkdir(exist_ok=True)
    for stem, text in files.items():
        (root / "jobs" / f"{stem}.py").write_text(text, encoding="utf-8")
    return load_jobs(root, "jobs", queues={"default", "cpu"})


def told(registry: Registry) -> list[str]:
    """Return the problems as a person reads them."""
    return [str(problem) for problem in registry.problems]


def cases() -> Iterator[object]:
    """Read the table: name, text and what is said of it."""
    table = Path(__file__).with_name("flawed_pipelines.txt").read_text(encoding="utf-8")
    for block in table.split("## ")[1:]:
        name, _, rest = block.partition("\n")
        text, _, said = rest.partition("-->\n")
        yield pytest.param(text, [f"jobs/a.py:{line}" for line in said.split("\n") if line], id=name)


@pytest.mark.parametrize(("text", "said"), list(cases()))
def test_a_flawed_pipeline_is_refused_with_line_reason_and_cure(tmp_path: Path, text: str, said: list[str]) -> None:
    """Whoever reads this at 7 in the morning did not write it, and wants to know what to change."""
    registry = load(tmp_path, a=HEAD + text)

    assert told(registry) == said
    assert len(said) > 0


def test_one_flawed_pipeline_does_not_stop_the_others(tmp_path: Path) -> None:
    """A mistake in one file must not keep the night's other runs from starting."""
    flawed = HEAD + "@p.stage\ndef rows(pth: str) -> int: return 1\n"
    sound = "from millrace import Pipeline, task\nq = Pipeline('q')\n@q.stage\ndef one() -> int: return 1\n"
    registry = load(tmp_path, a=flawed, b=sound, c="from millrace import task\n@task\ndef plain() -> None: ...\n")

    assert list(registry.pipelines) == ["q"]
    assert list(registry.tasks) == ["plain"]
    assert [(problem.file, problem.line, problem.pipeline) for problem in registry.problems] == [("jobs/a.py", 8, "p")]
    with pytest.raises(UnknownTask, match=r'pipeline "p" did not load: jobs/a\.py:8: stage "rows": parameter pth'):
        registry.find_pipeline("p")
    with pytest.raises(UnknownTask, match=r'pipeline "p" did not load'):
        registry.find("p.rows")


def test_two_pipelines_of_one_name_in_two_files_are_both_refused(tmp_path: Path) -> None:
    """Running the first one found would let a forgotten copy of a file decide."""
    text = "from millrace import Pipeline\np = Pipeline('p')\n@p.stage\ndef one() -> int: return 1\n"
    registry = load(tmp_path, a=text, b="\n" + text)

    assert registry.pipelines == {}
    assert told(registry) == [
        'jobs/a.py:2: there is a second pipeline "p" at jobs/b.py:3: rename one',
        'jobs/b.py:3: there is a second pipeline "p" at jobs/a.py:2: rename one',
    ]


def test_stages_may_stand_in_another_file_than_their_pipeline(tmp_path: Path) -> None:
    """A long pipeline is written in several files; a flaw is told where it stands."""
    more = "from jobs.a import p\n@p.stage\ndef rows(path: str) -> int: return 1\n"
    assert list(load(tmp_path, a=HEAD, b=more).pipelines["p"].stages) == ["rows"]

    flawed = load(tmp_path, b=more + "@p.stage\ndef sum_(rws: int) -> int: return 1\n")
    assert told(flawed) == [
        'jobs/b.py:4: stage "sum_": parameter rws is neither a stage nor an input of pipeline "p". Did you mean "rows"?'
    ]


def test_a_pipeline_whose_stages_stand_in_a_file_that_failed_is_refused(tmp_path: Path) -> None:
    """What was read of such a file is half a pipeline, and half a pipeline must not run."""
    first = HEAD + "@p.stage\ndef rows(path: str) -> int: return 1\n"
    more = "from jobs.a import p\n@p.stage\ndef sum_(rows: int) -> int: return 1\n1 / 0\n"
    registry = load(tmp_path, a=first, b=more)

    assert registry.pipelines == {}
    assert told(registry) == [
        "jobs/b.py:4: ZeroDivisionError: division by zero",
        'jobs/a.py:7: pipeline "p" has stages in jobs/b.py, which did not load',
    ]


def test_stages_are_found_to_run_but_not_to_submit(tmp_path: Path) -> None:
    """A stage without its run has nothing to work on."""
    text = HEAD + "@p.stage\ndef rows(path: str) -> int: return 1\n@task\ndef plain() -> None: ...\n"
    registry = load(tmp_path, a=text)

    assert list(registry.tasks) == ["plain"]
    assert registry.find("p.rows").name == "p.rows"
    assert sorted(one.name for one in registry.runnable()) == ["p.rows", "plain"]
    assert registry.task("plain") is registry.find("plain")
    for name, reason in (
        ("p.rows", '"p.rows" is a stage of pipeline p: millrace run p'),
        ("p", '"p" is a pipeline, not a task: millrace run p'),
        ("p.row", 'pipeline p has no stage "row". Did you mean "rows"?'),
        ("plane", 'there is no task "plane". Did you mean "plain"?'),
    ):
        with pytest.raises(UnknownTask, match=f"^{re.escape(reason)}$") as caught:
            registry.task(name)
        assert caught.value.field == "task"
    for name, reason in (
        ("plain", '"plain" is a task, not a pipeline: millrace submit plain'),
        ("q", 'there is no pipeline "q". Known: p.'),
    ):
        with pytest.raises(UnknownTask, match=f"^{re.escape(reason)}$") as caught:
            registry.find_pipeline(name)
        assert caught.value.field == "pipeline"


def test_a_pipeline_in_a_function_is_found_through_its_stages(tmp_path: Path) -> None:
    """Only its stages have a name in the file."""
    text = "from millrace import Pipeline\ndef make():\n    q = Pipeline('q')\n    @q.stage\n"
    text += "    def one() -> int: return 1\n    return one\none = make()\n"

    assert list(load(tmp_path, a=text).pipelines) == ["q"]
