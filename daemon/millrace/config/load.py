"""config.toml and the environment as one valid `Site`, or one error that lists every problem."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from pydantic_settings import EnvSettingsSource
from pydantic_settings import SettingsError as NoJSONError

from millrace.config.find import NESTED, PREFIX, Places, places_of, read_document
from millrace.config.lines import key_lines, line_of
from millrace.config.settings import Settings, overlaid
from millrace.config.wording import path_words, problem_of, section_of, unknown_section
from millrace.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pydantic_core import ErrorDetails


@dataclass(frozen=True, slots=True)
class Site:
    """A valid site: where it is and what it says. `origins` tells where each key, and row, that was set comes from."""

    places: Places
    settings: Settings
    origins: Mapping[str, str] = field(default_factory=dict)

    def origin(self, key: str) -> str:
        """Return where a dotted key such as "queues.io.workers" was set: "config.toml:14", a variable, or "default"."""
        return self.origins.get(key, "default")


def load_site(config: Path | None, environ: Mapping[str, str] = os.environ) -> Site:
    """
    Return the site of a config.toml (None: all defaults), with `MILLRACE_SECTION__KEY` of the environment on top.

    Raises: SettingsError with one line per problem, each naming the place, the key, the reason and what would be right.
    """
    document, text = read_document(config)
    over = _from_environment(environ)
    where = _Where(str(config) if config else "", key_lines(text), over)
    try:
        settings = Settings(**overlaid(document, over))
    except ValidationError as error:
        raise SettingsError("\n".join(where.tell(problem) for problem in error.errors(include_url=False))) from None
    return Site(places_of(document, config, environ), settings, where.origins(document))


def _from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    ours = {name: value for name, value in environ.items() if name.startswith(PREFIX)}
    known = {name: value for name, value in ours.items() if section_of(name) in Settings.model_fields}
    # Without a double underscore it may be anything: MILLRACE_CONFIG, or a variable of the site's own scripts. A whole
    # section in one variable is refused: `places` would have to read it too.
    problems = [unknown_section(name) for name in sorted(ours) if NESTED in name and name not in known]
    problems += [f"{name}: use one variable per key: {name}{NESTED}KEY" for name in sorted(known) if NESTED not in name]
    if problems:
        raise SettingsError("\n".join(problems))
    over: dict[str, Any] = {}
    for name, value in sorted(known.items()):
        over = overlaid(over, _from_variable(name, value))
    return over


def _from_variable(name: str, value: str) -> dict[str, Any]:
    source = EnvSettingsSource(Settings)
    source.env_vars = {name.lower(): value}
    try:
        return source()
    except NoJSONError as error:
        raise SettingsError(f"{name}: must be a JSON list or object here, or use one variable per key") from error


@dataclass(frozen=True, slots=True)
class _Where:
    """Which file and line, or which variable, a key comes from."""

    file: str
    lines: Mapping[tuple[str, ...], int]
    over: Mapping[str, Any]

    def tell(self, problem: ErrorDetails) -> str:
        path = [part for part in problem["loc"] if part != "[key]"]
        return f"{self.place(path)}{path_words(path)}: {problem_of(problem)}"

    def place(self, path: Sequence[object]) -> str:
        node: Any = self.over
        for number, part in enumerate(path):
            if isinstance(node, list):  # a variable brings a list as a whole
                path = path[:number]
                break
            node = node.get(part) if isinstance(node, dict) else None
        if node is not None and not isinstance(node, dict):
            return f"{_variable(path)}: "
        if line := line_of(path, self.lines):
            return f"{self.file}:{line}: "
        if node is not None:
            return f"{_variable(path)}{NESTED}…: "
        return f"{self.file}: " if self.file else ""

    def origins(self, document: Mapping[str, Any]) -> dict[str, str]:
        merged = overlaid(dict(document), dict(self.over))
        return {".".join(path): self.place(path).removesuffix(": ") for path in _leaves(merged)}


def _variable(path: Sequence[object]) -> str:
    return PREFIX + NESTED.join(map(str, path)).upper()


def _leaves(tree: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for key, value in tree.items():
        here = (*path, key)
        found += _leaves(value, here) if isinstance(value, dict) and value else [here]
        if isinstance(value, list):  # [[rows]] have lines of their own
            found += [(*here, str(number)) for number, row in enumerate(value) if isinstance(row, dict)]
    return found
