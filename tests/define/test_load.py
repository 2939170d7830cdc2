"""Loading a site's job files: every file's errors are its own, with their line, and the others load."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from millrace.define.load import load_jobs
from millrace.errors import UnknownTask

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from millrace.define.registry import Registry

GOOD = """
from __future__ import annotations
from pathlib import Path
from millrace import task

@task
def {name}(path: Path, times: int = 1) -> str:
    return "{name}" * times
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


def site(root: Path, **files: str) -> Path:
    """Write job files below a root."""
    (root / "jobs").mkdir(parents=True, exist_ok=True)
    for stem, text in files.items():
        (root / "jobs" / f"{stem}.py").write_text(text, encoding="utf-8")
    return root


def load(root: Path) -> Registry:
    """Load with the queues that these tests know."""
    return load_jobs(root, "jobs", queues={"default", "cpu"})


def told(registry: Registry) -> list[str]:
    """Return the problems as a person reads them."""
    return [str(problem) for problem in registry.problems]


def test_every_file_is_loaded_and_hidden_ones_are_left_alone(tmp_path: Path) -> None:
    """Files that begin with an underscore are what several job files share."""
    root = site(tmp_path, a=GOOD.format(name="one"), b=GOOD.format(name="two"), _c=GOOD.format(name="three"))
    (root / "jobs" / ".d.py").write_text("raise SystemExit", encoding="utf-8")
    (root / "jobs" / "notes.txt").write_text("no code", encoding="utf-8")

    registry = load(root)

    assert sorted(registry.tasks) == ["one", "two"]
    assert told(registry) == []
    assert registry.find("one").call('{"path":"/x","times":2}') == "oneone"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("def broken(:\n    pass\n", "jobs/bad.py:1: SyntaxError: "),
        (
            "\n\nimport nowhere_to_be_found\n",
            "jobs/bad.py:3: ModuleNotFoundError: No module named 'nowhere_to_be_found'",
        ),
        ("x = 1\ny = x / 0\n", "jobs/bad.py:2: ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)\n", "jobs/bad.py:2: ends the program when it is imported (sys.exit(3))"),
        ("class Odd(BaseException): pass\nraise Odd('x')\n", "jobs/bad.py:2: "),
        (
            "from millrace import task\n@task(timeout='soon')\ndef late(): pass\n",
            'bad.py:2: ValueError: timeout: "soon"',
        ),
        ("from millrace import task\n@task(retries=-1)\ndef late(): pass\n", "bad.py:2: ValueError: retries must lie"),
        ("from millrace import task\n@task(quue='io')\ndef late(): pass\n", "bad.py:2: TypeError: "),
        ("import json\njson.loads('{')\n", "jobs/bad.py:2: json.decoder.JSONDecodeError: "),
    ],
)
def test_a_broken_file_is_one_problem_with_its_line_and_the_others_load(
    tmp_path: Path, text: str, problem: str
) -> None:
    """One colleague's mistake must not stop everybody's jobs."""
    registry = load(site(tmp_path, bad=text, good=GOOD.format(name="one"), zoo=GOOD.format(name="two")))

    assert sorted(registry.tasks) == ["one", "two"]
    assert len(registry.problems) == 1
    assert problem in told(registry)[0]


def test_a_file_of_bytes_that_are_no_python_is_a_problem_of_its_own(tmp_path: Path) -> None:
    """An editor's backup in another encoding, or a file of NULs after a crash, must not end the daemon."""
    root = site(tmp_path, good=GOOD.format(name="one"))
    (root / "jobs" / "latin.py").write_bytes(b'x = "\xe4"\n')
    (root / "jobs" / "nul.py").write_bytes(b"\0" * 64)

    registry = load(root)

    assert list(registry.tasks) == ["one"]
    assert [problem.file for problem in registry.problems] == ["jobs/latin.py", "jobs/nul.py"]


def test_an_error_in_another_file_is_told_with_both_places(tmp_path: Path) -> None:
    """The file that is missing its task, and the line that has to be mended."""
    registry = load(site(tmp_path, a="from ._deep import x\n", _deep="\nx = 1 / 0\n"))

    assert told(registry) == ["jobs/a.py:1: ZeroDivisionError: division by zero (in jobs/_deep.py:2)"]


def test_a_circle_of_imports_is_told_and_ends(tmp_path: Path) -> None:
    """Two files that need each other cannot load, a third one can."""
    registry = load(
        site(tmp_path, a="from .b import y\nx = 1\n", b="from .a import x\ny = 1\n", c=GOOD.format(name="one"))
    )

    assert list(registry.tasks) == ["one"]
    assert [problem.file for problem in registry.problems] == ["jobs/a.py", "jobs/b.py"]
    assert all("circular import" in problem for problem in told(registry))


def test_a_broken_package_file_does_not_stop_the_job_files(tmp_path: Path) -> None:
    """`jobs/__init__.py` is a file like the others."""
    registry = load(site(tmp_path, __init__="raise RuntimeError('no')\n", a=GOOD.format(name="one")))

    assert list(registry.tasks) == ["one"]
    assert told(registry) == ["jobs/__init__.py:1: RuntimeError: no"]


def test_a_task_that_several_files_import_is_one_task(tmp_path: Path) -> None:
    """Calling another file's task is no second task."""
    registry = load(site(tmp_path, a=GOOD.format(name="one"), b="from .a import one\nsame = one\n"))

    assert list(registry.tasks) == ["one"]
    assert told(registry) == []


def test_two_tasks_of_one_name_are_both_refused(tmp_path: Path) -> None:
    """The order of files must not decide which of two runs: a forgotten copy could win."""
    copy = GOOD.format(name="one")
    registry = load(site(tmp_path, a=copy, a_old=copy, b=GOOD.format(name="two")))

    assert list(registry.tasks) == ["two"]
    assert told(registry) == [
        'jobs/a.py:6: there is a second task "one" at jobs/a_old.py:6: rename one, with @task(name="…")',
        'jobs/a_old.py:6: there is a second task "one" at jobs/a.py:6: rename one, with @task(name="…")',
    ]


def test_a_task_of_an_unknown_queue_is_refused_alone(tmp_path: Path) -> None:
    """Its job could never run; the other tasks of the file can."""
    odd = '\n@task(queue="cpus")\ndef odd(): ...\n'
    registry = load(site(tmp_path, a=GOOD.format(name="one") + odd))

    assert list(registry.tasks) == ["one"]
    assert told(registry) == ['jobs/a.py:10: queue "cpus" of task "odd" is not in config.toml. Did you mean "cpu"?']
    with pytest.raises(UnknownTask, match=r'task "odd" did not load: jobs/a\.py:10: queue "cpus"'):
        registry.find("odd")


def test_a_signature_that_cannot_be_a_payload_is_refused_alone(tmp_path: Path) -> None:
    """With the line of the function, and what to write instead."""
    odd = "\n@task\ndef odd(value): ...\n\n@task\nasync def later(value: int): ...\n"
    registry = load(site(tmp_path, a=GOOD.format(name="one") + odd))

    assert list(registry.tasks) == ["one"]
    assert told(registry) == [
        'jobs/a.py:10: task "odd": parameter value has no type: write value: str, or whatever it takes',
        'jobs/a.py:13: task "later": is an async function, which the engine does not run: write it as a plain def',
    ]


def test_an_unknown_task_is_answered_with_a_suggestion(tmp_path: Path) -> None:
    """A typing error, or a file that did not load: the answer must tell which."""
    registry = load(site(tmp_path, a=GOOD.format(name="report")))
    with pytest.raises(UnknownTask, match=r'there is no task "reprot"\. Did you mean "report"\?'):
        registry.find("reprot")

    broken = load(site(tmp_path, b="1 / 0\n"))
    with pytest.raises(UnknownTask, match=r"may stand in a file that did not load: jobs/b\.py:1: ZeroDivisionError"):
        broken.find("clean")


def test_a_missing_folder_is_one_problem(tmp_path: Path) -> None:
    """It says where it was looked for and which key to change."""
    registry = load(tmp_path)

    assert registry.tasks == {}
    assert told(registry) == [
        f"jobs: there is no folder {tmp_path / 'jobs'}: make it, or name another one as `jobs` in [site] of config.toml"
    ]


@pytest.mark.parametrize("package", ["json", "millrace", "my jobs", "../jobs", ""])
def test_a_folder_name_that_python_uses_itself_is_refused(tmp_path: Path, package: str) -> None:
    """Loading it would take the module of that name away from everybody else in the process."""
    registry = load_jobs(tmp_path, package, queues=())

    assert registry.tasks == {}
    assert "cannot be the name of the jobs folder" in told(registry)[0]


def test_another_root_replaces_what_was_loaded_before(tmp_path: Path) -> None:
    """A package of that name may have been imported from elsewhere; the site's own folder counts."""
    first = load(site(tmp_path / "x", a=GOOD.format(name="one"), __init__="", b=GOOD.format(name="gone")))
    second = load(site(tmp_path / "y", a=GOOD.format(name="two")))

    assert sorted(first.tasks) == ["gone", "one"]
    assert list(second.tasks) == ["two"]
    assert sys.path[0] == str(tmp_path / "y")


def test_a_changed_file_is_read_anew(tmp_path: Path) -> None:
    """A second load in one process must not show the first one's code."""
    load(site(tmp_path, a=GOOD.format(name="one")))
    registry = load(site(tmp_path, a=GOOD.format(name="another")))

    assert list(registry.tasks) == ["another"]


def test_what_a_job_file_prints_stays_out_of_the_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`tasks list --json` must stay one JSON document."""
    load(site(tmp_path, a="print('loading')\n"))

    out, err = capsys.readouterr()
    assert (out, err) == ("", "loading\n")


def test_a_file_with_a_second_dot_is_named(tmp_path: Path) -> None:
    """Python would look for a package; the author should learn what to call the file."""
    registry = load(site(tmp_path, **{"a.old": GOOD.format(name="one")}))

    assert told(registry) == ["jobs/a.old.py: ImportError: a job file has no second dot in its name: call it a_old.py"]


def test_a_helper_beside_the_jobs_folder_is_found(tmp_path: Path) -> None:
    """The folder of config.toml comes first: a site may keep its own library there."""
    site(
        tmp_path, a="from site_of_ours_helper import NAME\nfrom millrace import task\n@task(name=NAME)\ndef f(): ...\n"
    )
    (tmp_path / "site_of_ours_helper.py").write_text("NAME = 'named'\n", encoding="utf-8")

    assert list(load(tmp_path).tasks) == ["named"]
