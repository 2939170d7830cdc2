"""
The templates of `millrace new`: a job of each everyday kind, and its test. They lie in `templates/` of the package, as
`KIND.job.py.in` and `KIND.test.py.in`; `$name` stands for the name of the job, `$jobs` for the package of job files.
"""

from __future__ import annotations

import ast
import builtins
import keyword
import re
import unicodedata
from pathlib import Path
from string import Template
from typing import Final, NamedTuple

KINDS: Final = ("report", "sync", "cleanup", "pipeline", "slack")
MAX_NAME: Final = 50

_FOLDER: Final = Path(__file__).resolve().parents[1] / "templates"
_NAME: Final = re.compile(rf"[a-z][a-z0-9_]{{0,{MAX_NAME - 1}}}", re.ASCII)
_STAND_IN: Final = "the_name_of_the_job"


class Rendered(NamedTuple):
    """The texts of a job file and of the file that tests it."""

    job: str
    test: str


def render(kind: str, name: str, jobs: str) -> Rendered:
    """
    Return a template filled in.

    Args:
        kind: One of KINDS.
        name: A name without a `name_problem`.
        jobs: The package of the site's job files.
    """
    texts = ((_FOLDER / f"{kind}.{part}.py.in").read_text(encoding="utf-8") for part in Rendered._fields)
    return Rendered(*(Template(text).substitute(name=name, jobs=jobs) for text in texts))


def name_problem(kind: str, name: str, jobs: str) -> str | None:
    """
    Return why a name cannot be that of a job file and of the function in it, and which one can; None if it can.

    A name that the template uses for something else would hide that: a report called "csv" could not write one.
    """
    if keyword.iskeyword(name):
        return f'"{name}" is a word of Python itself; take for example "{name}_job"'
    used = {jobs, *vars(builtins), *_used(kind, jobs)}
    near = _near(name)
    example = f"{near}_{kind}" if near in used else near
    if not _NAME.fullmatch(name):
        allowed = f'small letters, digits and "_", at most {MAX_NAME}, a letter first'
        return f'"{name}" cannot be the name of a job file: {allowed}; take for example "{example}"'
    return f'"{name}" means something else in that file; take for example "{example}"' if name in used else None


def _near(name: str) -> str:
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    plain = re.sub(r"[^a-z0-9]+", "_", letters).strip("_")
    fits = plain[:1].isalpha() and not keyword.iskeyword(plain)
    return (plain if fits else f"job_{plain}".rstrip("_"))[:MAX_NAME].rstrip("_")


def _used(kind: str, jobs: str) -> set[str]:
    """Return every name that the files of a kind use, but for the job's own."""
    used = set()
    for text in render(kind, _STAND_IN, jobs):
        for node in ast.walk(ast.parse(text)):
            match node:
                case ast.Name(id=name) | ast.arg(arg=name) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                    used.add(name)
                case ast.alias(name=name, asname=asname):
                    used.add(asname or name)
    return used - {_STAND_IN}
