"""
Where the site is: its config.toml, its folders, its ledger. Standard library only, so that a reading command finds the
ledger without paying for the whole settings model; `load` validates everything.
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from millrace.config.address import parse_listen
from millrace.config.sizes import parse_size
from millrace.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

CONFIG: Final = "config.toml"
SYSTEM_CONFIG: Final = Path("/etc/millrace/config.toml")
CONFIG_VARIABLE: Final = "MILLRACE_CONFIG"
PREFIX: Final = "MILLRACE_"
NESTED: Final = "__"

DEFAULT_JOBS: Final = "jobs"
DEFAULT_STATE: Final = "var"
DEFAULT_LISTEN: Final = "127.0.0.1:8420"
DEFAULT_MAX_BODY: Final = "1MB"
DEFAULT_URL: Final = "sqlite:///millrace.db"

_SQLITE: Final = "sqlite:///"
_T = TypeVar("_T")
_TOML_FLAW: Final = re.compile(r"(?P<reason>.*) \(at line (?P<line>\d+), column (?P<column>\d+)\)", re.DOTALL)
_QUOTES: Final = '. Text stands in quotes: key = "5m"'
_TOML_HINTS: Final = {
    "Invalid value": _QUOTES,
    "Expected newline or end of document": _QUOTES,
    "Cannot overwrite": ". The key stands twice: keep one of them",
    "Illegal character": ". A text ends on its own line, with the quotation mark that it began with",
}


@dataclass(frozen=True, slots=True)
class Places:
    """
    Where everything of a site is.

    `config` is None when there is none (an empty file is a valid one), `root` the folder it stands in, `state` what the
    daemon writes; `listen` is host and port, `jobs` the package of job modules in `root`, `max_body` the bytes that a
    payload or a request may have.

    `ledger` is the database file itself, and `named` what the settings call it, where that is a link: its log, its
    index and all else of it lie beside the file.
    """

    config: Path | None
    root: Path
    state: Path
    ledger: Path
    named: Path
    listen: tuple[str, int]
    jobs: str
    max_body: int


def find_config(explicit: Path | None, environ: Mapping[str, str] = os.environ) -> Path | None:
    """
    Return the config.toml to use: the given one, $MILLRACE_CONFIG, ./config.toml, /etc/millrace/config.toml, or None.

    Raises: SettingsError if a file was named, on the command line or in the environment, and is not there.
    """
    named = environ.get(CONFIG_VARIABLE)
    for path, source in ((explicit, "-c"), (Path(named) if named else None, f"${CONFIG_VARIABLE}")):
        if path is not None:
            if path.is_file():
                return path
            problem = "is a folder; name the file in it" if path.is_dir() else "no such file"
            raise SettingsError(f"{path}: {problem} (named by {source})")
    return next((path for path in (Path(CONFIG), SYSTEM_CONFIG) if path.is_file()), None)


def read_document(config: Path | None) -> tuple[dict[str, Any], str]:
    """
    Return config.toml as a dict, and its text; both are empty without a file.

    Raises: SettingsError with line and column, if it cannot be read or is no TOML.
    """
    if config is None:
        return {}, ""
    try:
        text = config.read_bytes().decode()
        return tomllib.loads(text), text
    except OSError as error:
        raise SettingsError(f"{config}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{config}: is not UTF-8 text (byte {error.start})") from error
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{config}{_flaw(error)}") from error


def _flaw(error: tomllib.TOMLDecodeError) -> str:
    """Return line and reason of a file that is no TOML, as other problems of it are told: ":37: is not valid …"."""
    found = _TOML_FLAW.fullmatch(str(error))
    if found is None:
        return f": is not valid TOML: {error}"
    hint = next((hint for start, hint in _TOML_HINTS.items() if found["reason"].startswith(start)), "")
    return f":{found['line']}: is not valid TOML: {found['reason']} (column {found['column']}){hint}"


def places(config: Path | None, environ: Mapping[str, str] = os.environ) -> Places:
    """
    Return where the site of this config.toml is, with the environment's overrides.

    Looks only at the keys that it needs; the rest of the file may be wrong.

    Raises: SettingsError if the file cannot be read or one of those keys is wrong.
    """
    document, _ = read_document(config)
    return places_of(document, config, environ)


def places_of(document: Mapping[str, Any], config: Path | None, environ: Mapping[str, str]) -> Places:
    """Return the places of a document that was read already."""
    look = _Look(document, config, environ)
    root = config.absolute().parent if config else Path.cwd()
    state = _state_folder(root, look.text("site", "state", DEFAULT_STATE), environ)
    named = look.parsed("database", "url", DEFAULT_URL, lambda url: ledger_path(url, state))
    return Places(
        config=config.absolute() if config else None,
        root=root,
        state=state,
        ledger=_followed(named),
        named=named,
        listen=look.parsed("web", "listen", DEFAULT_LISTEN, parse_listen),
        jobs=look.text("site", "jobs", DEFAULT_JOBS),
        max_body=look.parsed("web", "max_body", DEFAULT_MAX_BODY, parse_size),
    )


def ledger_path(url: str, state: Path) -> Path:
    """
    Return the database file of `sqlite:///NAME` (in the state folder) or `sqlite:////absolute/path`.

    Raises: ValueError without the URL in its message (one may carry a password), if it names no such file.
    """
    name = url.removeprefix(_SQLITE)
    if not url.startswith(_SQLITE) or not name or name.endswith("/") or "?" in name:
        raise ValueError(
            f'this version keeps its ledger in SQLite: write "{DEFAULT_URL}" for a file in the state folder'
        )
    return state / name


def _followed(named: Path) -> Path:
    """
    Return the file that a path leads to.

    Raises: SettingsError if a link leads nowhere: its disk is not mounted, and an empty ledger must not take its place.
    """
    real = Path(os.path.realpath(named))
    if real == named:
        return named
    for place in (named, *named.parents):
        if os.path.islink(place) and not _leads(place):  # noqa: PTH114 - Path.is_symlink raises where this says no
            raise SettingsError(
                f"{place} is a link to {os.path.realpath(place)}, which is not there: is its disk mounted? To begin "
                "with an empty ledger there, make the folder, or the empty file, that it leads to"
            )
    return real


def _leads(link: Path) -> bool:
    try:
        link.stat()
    except FileNotFoundError:
        return False
    except OSError:  # a folder that this user may not enter: who opens the ledger tells better why not
        return True
    return True


def _state_folder(root: Path, told: str, environ: Mapping[str, str]) -> Path:
    # systemd makes the folder and gives it to the service's user; of several, separated by colons, the first is ours.
    given = environ.get("STATE_DIRECTORY", "").split(":")[0]
    return Path(given).absolute() if given else root / Path(told).expanduser()


@dataclass(frozen=True, slots=True)
class _Look:
    """Single keys of a document, overridden by the environment."""

    document: Mapping[str, Any]
    config: Path | None
    environ: Mapping[str, str]

    def text(self, section: str, key: str, default: str) -> str:
        return self.parsed(section, key, default, str)

    def parsed(self, section: str, key: str, default: str, parse: Callable[[str], _T]) -> _T:
        variable = f"{PREFIX}{section}{NESTED}{key}".upper()
        table = self.document.get(section, {})
        told = table.get(key, default) if isinstance(table, dict) else None
        value, place = (self.environ[variable], variable) if variable in self.environ else (told, str(self.config))
        try:
            return parse(_quoted(value))
        except ValueError as error:
            raise SettingsError(f"{place}: {section}.{key}: {error}") from error


def _quoted(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be text in quotes")
    return value
