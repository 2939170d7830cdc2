"""What a command is given: the site it was called for, opened only as far as it needs."""

from __future__ import annotations

import os
from contextlib import closing, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import click

from millrace.config.find import find_config, places

if TYPE_CHECKING:
    from collections.abc import Iterator

    from millrace.clock import Clock
    from millrace.config.find import Places
    from millrace.config.load import Site
    from millrace.errors import MillraceError
    from millrace.ledger.ledger import Ledger
    from millrace.ledger.reads import Reads
    from millrace.ledger.transaction import Changes
    from millrace.queue.site import OpenSite


class Session:
    """
    One call of the command line.

    Args:
        config: The file named with -c.
        clock: All time.
    """

    def __init__(self, config: Path | None = None, clock: Clock | None = None) -> None:
        self._named = config
        self._clock = clock

    @cached_property
    def config(self) -> Path | None:
        """The config.toml of the site, None if there is none. Raises SettingsError if a named one is not there."""
        return find_config(self._named, os.environ)

    @cached_property
    def places(self) -> Places:
        """Where the site is. Raises SettingsError."""
        found = places(self.config, os.environ)
        if found.config is None and not any(
            os.access(path, os.F_OK) for path in (found.ledger, found.root / found.jobs)
        ):
            # Whoever is in another folder than they think would read that no daemon runs, and that there are no jobs.
            tell(f"There is no site in {found.root}, and no /etc/millrace/config.toml: name its config.toml with -c.")
        return found

    @cached_property
    def clock(self) -> Clock:
        """All time."""
        from millrace.clock import SYSTEM

        return self._clock or SYSTEM

    @cached_property
    def user(self) -> str:
        """Who calls, for the history of a job."""
        import getpass

        try:
            return getpass.getuser()
        except (KeyError, OSError):  # a user id without a name, as containers have
            return str(os.getuid())

    @property
    def actor(self) -> str:
        """Who calls, as events name it."""
        return f"cli:{self.user}"

    def daemon_pid(self) -> int | None:
        """
        Return the pid of the daemon that holds the ledger, 0 if it has not yet said, None if there is none.

        Raises: NotPermitted if this user may not look.
        """
        from millrace.errors import NotPermitted
        from millrace.ledger.held import holder

        try:
            return holder(self.places.ledger)
        except PermissionError as error:
            raise NotPermitted(
                f"{error.filename} may not be read by {self.user}: call it as the daemon's user"
            ) from error

    def served(self) -> bool:
        """Whether a daemon runs; who may not look takes it for granted."""
        from millrace.errors import NotPermitted

        try:
            return self.daemon_pid() is not None
        except NotPermitted:
            return True

    def need_config(self) -> None:
        """Refuse to write where no site is, or a wrong folder would become one. Raises SettingsError."""
        if self.config is None:
            from pathlib import Path

            from millrace.errors import SettingsError

            raise SettingsError(
                f"{Path.cwd()} has no config.toml, so that it is no site's folder: go to that folder, or name its "
                "file with `millrace -c FILE`, or make a new site with `millrace init DIR`"
            )

    def site(self) -> Site:
        """Return the validated site. Raises SettingsError, also if there is no config.toml."""
        self.need_config()
        return self.site_or_defaults()

    def site_or_defaults(self) -> Site:
        """Return the validated site, for looks: without config.toml the defaults hold. Raises SettingsError."""
        from millrace.config.load import load_site

        return load_site(self.config, os.environ)

    def never_made(self) -> bool:
        """Whether there is no ledger yet: lists are empty then. Raises LedgerGone if there was one; NotPermitted."""
        from millrace.ledger.made import refuse_if_gone

        with self.permitted():
            refuse_if_gone(self.places.ledger)
            return not self.places.ledger.exists()

    @contextmanager
    def reads(self) -> Iterator[Reads]:
        """Open the ledger for looks. Raises NotFound if there is none yet, NotPermitted."""
        from millrace.ledger.reads import Reads

        with self.permitted(), closing(Reads.open(self.places.ledger)) as reads:
            yield reads

    @contextmanager
    def ledger(self, *, anywhere: bool = False) -> Iterator[Ledger]:
        """
        Open the ledger for moves; a daemon that runs hears of them at once.

        Args:
            anywhere: Also without config.toml.
        Raises: SettingsError if there is none; NotPermitted.
        """
        from millrace.ledger.ledger import Ledger

        if not anywhere:
            self.need_config()
        with self.permitted(write=True), Ledger(self.places.ledger, clock=self.clock) as ledger:
            ledger.on_change.append(self._wake)
            yield ledger

    @contextmanager
    def opened(self) -> Iterator[OpenSite]:
        """Open the site for submissions. Raises SettingsError, NotPermitted."""
        from millrace.queue.site import open_site

        site = self.site()
        with self.permitted(write=True), open_site(site) as found:
            yield found

    @contextmanager
    def permitted(self, *, write: bool = False) -> Iterator[None]:
        """
        Tell what fails within for want of rights as that.

        Raises: NotPermitted.
        """
        from millrace.errors import LedgerError, NotPermitted, SettingsError

        path: object = self.places.ledger
        try:
            yield
        except (PermissionError, LedgerError, SettingsError) as error:
            cause = error.__cause__ if isinstance(error, SettingsError) else error
            if isinstance(cause, PermissionError):
                path = cause.filename or path
            elif type(cause) is not LedgerError or self._may(write=write):
                raise
            what = "written" if write else "read"
            raise NotPermitted(f"{path} may not be {what} by {self.user}: call it as the daemon's user") from error

    def _may(self, *, write: bool) -> bool:
        """Whether this user has the rights; a disk that is read-only for everybody is another matter."""
        ledger = str(self.places.ledger)
        folder = next(str(path) for path in self.places.ledger.parents if os.path.exists(path))  # noqa: PTH110 - see below
        if os.statvfs(folder).f_flag & os.ST_RDONLY:
            return True
        makes = write or not os.path.exists(f"{ledger}-shm")  # noqa: PTH110 - SQLite makes it, also for whoever reads
        there = os.path.exists(ledger)  # noqa: PTH110 - Path.exists raises where this says no
        in_folder = os.access(folder, os.X_OK | (os.W_OK if makes else 0))
        return in_folder and (not there or os.access(ledger, os.R_OK | (os.W_OK if write else 0)))

    def _wake(self, _changes: Changes) -> None:
        from millrace.ledger.wake import poke

        poke(self.places.state)


@contextmanager
def inside(root: Path) -> Iterator[None]:
    """
    Be in the folder of a site, as its daemon is: a relative path in a payload is judged where it will be used.

    Whatever the caller named must have been read, or made absolute, before: config.toml too.
    """
    try:
        before = Path.cwd()
    except FileNotFoundError:  # it was removed under the caller
        before = None
    if before == root:
        yield
        return
    os.chdir(root)
    try:
        yield
    finally:
        if before is not None:
            with suppress(OSError):  # under sudo -u, where this user may not go
                os.chdir(before)


pass_session = click.make_pass_decorator(Session)


def tell(text: str) -> None:
    """Say something to the person at the terminal; the result of a command goes to stdout instead."""
    click.echo(text, err=True)


def tell_error(error: MillraceError, place: str = "") -> None:
    """Name an error on stderr: one line for each thing that is wrong."""
    for line in str(error).splitlines():
        tell(f"millrace: {place}{line}")
