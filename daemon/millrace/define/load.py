"""
Import a site's job files, each with its errors caught, and gather their tasks and pipelines.

A job file is code of the site: importing it may raise anything, print, or call `sys.exit`. What goes wrong in one file
is a `LoadProblem` that names the line, and the others load.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from collections import defaultdict
from contextlib import redirect_stdout
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from millrace.define.pipeline import Pipeline
from millrace.define.registry import LoadProblem, Registry
from millrace.define.site import Surroundings, pipeline_flaws
from millrace.define.stage import Stage
from millrace.define.task import Task
from millrace.errors import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Collection
    from types import ModuleType

_OURS: Final = frozenset({"millrace", "pydantic", "pydantic_core", "huey", "peewee", "apsw"})


def load_jobs(root: Path, package: str, *, queues: Collection[str]) -> Registry:
    """
    Import every `root/package/*.py` and return the tasks found in them.

    Files whose names begin with "_" or "." are left to be imported by others. The folder replaces a package of the same
    name that was imported before, and `root` goes first on `sys.path`. Not for several threads at once.

    Args:
        root: The folder of config.toml.
        package: The name of the folder with the job files, a Python name.
        queues: The queues that config.toml knows.
    Returns: The tasks that can run, and the problems of the rest. Never raises for what stands in a job file.
    """
    folder = root.resolve() / package
    refusal = _refusal(folder, package)
    if refusal is not None:
        return Registry(problems=[LoadProblem(package, None, refusal)])
    problems: list[LoadProblem] = []
    with redirect_stdout(sys.stderr):  # a print at import must not end up in the output of `--json`
        modules = _import_all(folder, package, problems)
    return _gather(modules, folder.parent, queues, problems)


def _refusal(folder: Path, package: str) -> str | None:
    if not package.isidentifier() or package in sys.stdlib_module_names or package in _OURS:
        return f'"{package}" cannot be the name of the jobs folder: take a name that Python has no other use for'
    if not folder.is_dir():
        return f"there is no folder {folder}: make it, or name another one as `jobs` in [site] of config.toml"
    return None


def _import_all(folder: Path, package: str, problems: list[LoadProblem]) -> list[ModuleType]:
    home = _package(folder, package)
    modules = []
    for path in (folder / "__init__.py", *sorted(folder.glob("[!_.]*.py"))):
        try:
            modules.append(_import_file(path, home))
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - site code: SystemExit and worse are problems of one file
            problems.append(_import_problem(path, folder.parent, error))
    return modules


def _package(folder: Path, package: str) -> ModuleType:
    """
    Make `import <package>` mean this folder, whatever it meant before; nothing in it has run yet.

    The package is made by hand: without an `__init__.py`, one of that name elsewhere on the path would be found first,
    and with one that fails, the other files still need a package to live in.
    """
    for name in [name for name in sys.modules if name == package or name.startswith(f"{package}.")]:
        del sys.modules[name]
    root, start = str(folder.parent), folder / "__init__.py"
    sys.path[:] = [root, *(entry for entry in sys.path if entry != root)]
    importlib.invalidate_caches()
    spec: ModuleSpec | None = ModuleSpec(package, None, is_package=True)
    if start.is_file():
        spec = importlib.util.spec_from_file_location(package, start)
    home = importlib.util.module_from_spec(cast("ModuleSpec", spec))
    home.__path__ = [str(folder)]
    sys.modules[package] = home
    return home


def _import_file(path: Path, home: ModuleType) -> ModuleType:
    if path.name == "__init__.py":
        if home.__spec__ is not None and home.__spec__.loader is not None:
            home.__spec__.loader.exec_module(home)
        return home
    if "." in path.stem:
        raise ImportError(f"a job file has no second dot in its name: call it {path.stem.replace('.', '_')}.py")
    return importlib.import_module(f"{home.__name__}.{path.stem}")


def _import_problem(path: Path, root: Path, error: BaseException) -> LoadProblem:
    reason = traceback.format_exception_only(error)[-1].strip()
    if isinstance(error, SystemExit):
        reason = f"ends the program when it is imported (sys.exit({error.code!r})): a job file only defines"
    if isinstance(error, SyntaxError) and error.filename == str(path):
        return LoadProblem(_seen_from(root, path), error.lineno, reason)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame.lineno for frame in frames if frame.filename == str(path)]
    deepest = next((frame for frame in reversed(frames) if Path(frame.filename).is_relative_to(root)), None)
    if deepest is not None and deepest.filename != str(path):
        reason = f"{reason} (in {_seen_from(root, Path(deepest.filename))}:{deepest.lineno})"
    return LoadProblem(_seen_from(root, path), own[-1] if own else None, reason)


def _seen_from(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def _gather(modules: list[ModuleType], root: Path, queues: Collection[str], problems: list[LoadProblem]) -> Registry:
    named: defaultdict[str, list[Task[..., Any]]] = defaultdict(list)
    for found in _tasks_in(modules):
        named[found.name].append(found)
    registry = Registry(problems=problems)
    for name, claimants in named.items():
        flaws = [(found, flaw) for found in claimants if (flaw := _flaw(found, claimants, root, queues))]
        registry.problems += [LoadProblem(_file(found, root), found.line, flaw, name) for found, flaw in flaws]
        if not flaws:
            registry.tasks[name] = claimants[0]
    places = {name: f"{_file(found[0], root)}:{found[0].line}" for name, found in named.items()}
    broken = {problem.file for problem in problems if problem.task is None}
    _gather_pipelines(registry, _pipelines_in(modules), Surroundings(queues, places, broken, root))
    return registry


def _gather_pipelines(registry: Registry, found: list[Pipeline], around: Surroundings) -> None:
    for pipeline in found:
        flaws = pipeline_flaws(pipeline, found, around)
        registry.problems += [
            LoadProblem(_seen_from(around.root, Path(flaw.file)), flaw.line, flaw.reason, pipeline=pipeline.name)
            for flaw in flaws
        ]
        if not flaws:
            registry.pipelines[pipeline.name] = pipeline


def _tasks_in(modules: list[ModuleType]) -> list[Task[..., Any]]:
    """Return each task once, however many files import it from another. Stages come with their pipelines."""
    found = {id(value): value for module in modules for value in vars(module).values() if isinstance(value, Task)}
    return [one for one in found.values() if not isinstance(one, Stage)]


def _pipelines_in(modules: list[ModuleType]) -> list[Pipeline]:
    """Return each pipeline once; one that was made in a function is found through its stages."""
    values = [value for module in modules for value in vars(module).values()]
    found = [value.pipeline if isinstance(value, Stage) else value for value in values]
    return list({id(one): one for one in found if isinstance(one, Pipeline)}.values())


def _flaw(found: Task[..., Any], claimants: list[Task[..., Any]], root: Path, queues: Collection[str]) -> str | None:
    """Say why a task that was defined cannot be run, if so."""
    others = [f"{_file(other, root)}:{other.line}" for other in claimants if other is not found]
    if others:  # running the first found would let a forgotten copy of a file decide
        return f'there is a second task "{found.name}" at {", ".join(others)}: rename one, with @task(name="…")'
    queue = found.policy.queue
    if queue not in queues:
        return f'queue "{queue}" of task "{found.name}" is not in config.toml.{did_you_mean(queue, queues)}'
    try:
        _ = found.shape
    except TypeError as error:
        return f'task "{found.name}": {error}'
    return None


def _file(found: Task[..., Any], root: Path) -> str:
    return _seen_from(root, Path(found.file))
