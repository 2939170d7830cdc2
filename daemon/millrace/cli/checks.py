"""The checks of `millrace doctor`: each looks at one thing and says how to repair it."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from millrace.cli.listening import listening
from millrace.cli.output import plural
from millrace.cli.session import inside
from millrace.cli.times import age
from millrace.clock import MS, rfc3339
from millrace.config.address import is_loopback
from millrace.config.sizes import format_size
from millrace.errors import LedgerForeign, LedgerNewer, MillraceError, NotFound, NotPermitted
from millrace.ledger.rows import JobFilter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from millrace.cli.listening import Listening
    from millrace.cli.session import Session
    from millrace.config.find import Places
    from millrace.ledger.reads import Reads
    from millrace.triggers.timetable import Timetable

Level = Literal["ok", "warn", "fail"]

TOKEN_FILE: Final = "admin.token"  # noqa: S105 - the name of a file
_FOREIGN: Final = (
    "if it was this site's ledger and something has overwritten it: millrace restore FILE; else let [site] state or "
    "[database] url name the ledger of this site"
)
_SKEW_MS: Final = 60 * MS  # rows of other processes may be this far ahead
_EARLIEST_MS: Final = 1_750_000_000_000  # June 2025: before that, no clock of a machine with this program is right
_STALE_BEAT_S: Final = 60.0
_ALL: Final = 0o777
_OTHERS: Final = 0o077


class Check(NamedTuple):
    """What a check found: `level` is ok, warn or fail; `repair` says what to do, empty when nothing."""

    name: str
    level: Level
    text: str
    repair: str = ""

    def as_json(self) -> dict[str, str]:
        """Return the check as JSON."""
        return self._asdict()


def check_settings(session: Session) -> Iterator[Check]:
    """Whether config.toml and the environment are valid."""
    try:
        site = session.site()
    except MillraceError as error:
        for line in str(error).splitlines():
            yield Check("settings", "fail", line, "correct it, then: millrace config check")
        return
    yield Check("settings", "ok", str(site.places.config))


def check_jobs(session: Session) -> Iterator[Check]:
    """Whether the job files load."""
    from millrace.define.load import load_jobs

    try:
        site = session.site_or_defaults()
    except MillraceError:
        yield Check("jobs", "warn", "not looked at: the settings are wrong")
        return
    with inside(site.places.root):
        registry = load_jobs(site.places.root, site.places.jobs, queues=site.settings.queues)
    for problem in registry.problems:
        yield Check("jobs", "fail", str(problem), "correct the file and restart the daemon")
    counts = {"task": len(registry.tasks), "pipeline": len(registry.pipelines)}
    words = " and ".join(plural(count, kind) for kind, count in counts.items() if count)
    if words:
        yield Check("jobs", "ok", f"{words} can be run")
    elif not registry.problems:
        folder = site.places.root / site.places.jobs
        yield Check("jobs", "warn", f"no tasks in {folder}", "write one: millrace new NAME --kind report")


def check_schedules(session: Session) -> Iterator[Check]:
    """Whether each schedule names something that can be run."""
    from millrace.cli.schedules import load_timetable

    try:
        found = load_timetable(session)
    except MillraceError:
        return  # an earlier check has told
    for key, problem in found.problems.items():
        yield Check("schedules", "fail", f"{key}: {problem}", _schedule_repair(session, found, key))
    if found and not found.problems:
        yield Check("schedules", "ok", f"{plural(len(found.schedules), 'schedule')}: see millrace schedules list")


def _schedule_repair(session: Session, found: Timetable, key: str) -> str:
    name = found.schedules[key].name if key in found.schedules else key
    if name in session.site().settings.schedules:
        return f"correct [schedules.{name}], then: millrace reload"
    return f"correct its schedule beside the task, or give it a [schedules.{name}], and restart the daemon"


def check_state(places: Places) -> Iterator[Check]:
    """Whether the state folder can be written and has room."""
    folder = places.state
    if not folder.exists():
        above = next(parent for parent in folder.parents if parent.exists())
        if os.access(above, os.W_OK | os.X_OK):
            yield Check("state", "ok", f"{folder} is made by the first start")
        else:
            yield Check("state", "fail", f"{folder} cannot be made in {above}", "make it, owned by the daemon's user")
        return
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield Check(
            "state", "fail", f"{folder} cannot be written by this user", f"chown or chmod {folder}, or change user"
        )
    elif (error := _write_error(folder)) is not None:
        yield Check(
            "state", "fail", f"no file can be made in {folder}: {error}", "look at its disk and how it is mounted"
        )
    elif stat.S_IMODE(folder.stat().st_mode) & stat.S_IWOTH:
        yield Check("state", "warn", f"everybody may write to {folder}", f"chmod o-w {folder}")
    else:
        yield Check("state", "ok", f"{folder} can be written")


def _write_error(folder: Path) -> str | None:
    """Rights do not tell of a disk that the kernel made read-only after an error, nor of one without inodes: try."""
    import tempfile

    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror or str(error)


def check_disk(places: Places) -> Iterator[Check]:
    """Whether the disk has room."""
    from millrace.observe.storage import FEW_FILES, LOW
    from millrace.queue.room import Room

    folder = next(path for path in (places.ledger.parent, *places.ledger.parent.parents) if path.exists())
    disk = os.statvfs(folder)
    free, total = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
    text = f"{format_size(free)} of {format_size(total)} free"
    level = Room(folder / places.ledger.name, None).level()
    if level is not None and level.refusal is not None:
        yield Check("disk", "fail", text, "make room: work is not taken in any more")
    elif free < min(LOW[0], LOW[1] * total):
        yield Check("disk", "warn", text, "make room soon")
    elif disk.f_files and disk.f_favail < FEW_FILES:  # some file systems count no inodes and say 0 of 0
        yield Check("disk", "warn", f"only {disk.f_favail} files can still be made", "delete files, many small ones")
    else:
        yield Check("disk", "ok", text)


def check_sqlite_version() -> Iterator[Check]:
    """Whether the driver brings a SQLite that can be trusted."""
    from millrace.ledger.checkup import sqlite_version
    from millrace.ledger.database import check_sqlite

    try:
        check_sqlite()
    except MillraceError as error:
        yield Check("sqlite", "fail", str(error), "make setup, or: pip install --upgrade apsw")
        return
    yield Check("sqlite", "ok", f"SQLite {sqlite_version()}")


def check_ledger(session: Session) -> Iterator[Check]:
    """Whether the ledger is sound, accounts for every job, and agrees with the clock."""
    from millrace.cli.backup_checks import check_backup
    from millrace.cli.file_checks import check_files, check_values
    from millrace.cli.orphan_checks import check_orphans

    try:
        with session.reads() as reads:
            yield from _sound(reads)
            yield from _balanced(reads)
            yield from _chained(reads)
            yield from check_orphans(reads)
            yield from check_values(reads)
            yield from check_files(session, reads)
            yield from check_backup(session, reads)
            yield from _timely(session, reads)
    except NotFound:
        yield Check("ledger", "ok", f"{session.places.ledger} is made by the first start")
    except LedgerNewer as error:
        yield Check(
            "ledger", "fail", str(error), "go on with that version: a backup would lack what it has taken since"
        )
    except LedgerForeign as error:
        yield Check("ledger", "fail", str(error), _FOREIGN)
    except NotPermitted as error:
        yield Check("ledger", "fail", str(error), as_owner(session.places))
    except MillraceError as error:
        yield Check("ledger", "fail", str(error), "stop the daemon, keep a copy of the file, and restore a backup")


def _sound(reads: Reads) -> Iterator[Check]:
    from millrace.ledger.checkup import flaws

    found = flaws(reads)
    for flaw in found:
        yield Check("ledger", "fail", flaw, "stop the daemon, keep a copy of the file, and restore a backup")
    if not found:
        yield Check("ledger", "ok", "the database file is sound")


def _balanced(reads: Reads) -> Iterator[Check]:
    balance = reads.balance(count_rows=True)
    if not balance.difference:
        yield Check("conservation", "ok", f"each of {plural(balance.accepted, 'accepted job')} is accounted for")
        return
    from millrace.ledger.trails import trails

    left = "; ".join(map(str, trails(reads))) or "nothing is left of them: who submitted them was told their ids"
    text = f"difference of {balance.difference}: {'; '.join(balance.details)}. {left}"
    yield Check("conservation", "fail", text, "jobs vanished or doubled: keep a copy of the ledger and report it")


def _chained(reads: Reads) -> Iterator[Check]:
    found = reads.audit_chain()
    if found.broken_at is None:
        yield Check("audit", "ok", f"the chain of {plural(found.rows, 'row')} holds")
        return
    text = f"the chain is broken at row {found.broken_at}: {found.why}"
    repair = "nothing repairs it: compare with the log of a backup (millrace restore FILE --check), and keep a copy"
    yield Check("audit", "fail", text, repair)


def _timely(session: Session, reads: Reads) -> Iterator[Check]:
    now_ms = session.clock.now_ms()
    newest = reads.jobs(JobFilter(limit=1)).jobs
    daemon = reads.daemon()
    times = [job.created_at for job in newest] + ([daemon.beat_at] if daemon else [])
    ahead_ms = max(times, default=0) - now_ms
    if now_ms < _EARLIEST_MS:
        yield Check("clock", "fail", f"the clock says {rfc3339(now_ms)}", "set it: timedatectl set-ntp true")
    elif ahead_ms > _SKEW_MS:
        text = f"the ledger is {age(ahead_ms / MS)} ahead of the clock ({rfc3339(now_ms)})"
        yield Check("clock", "warn", text, "set the clock; if it was wrong before, wait until it has caught up")
    else:
        yield Check("clock", "ok", f"{rfc3339(now_ms)}, and no row is from the future")


def check_token(session: Session) -> Iterator[Check]:
    """Whether the first admin token is kept from others, and still opens this ledger."""
    path = session.places.state / TOKEN_FILE
    try:
        found = path.lstat()
    except FileNotFoundError:
        yield Check("token", "ok", f"no {TOKEN_FILE} lies about")
        return
    except OSError as error:
        yield Check("token", "warn", f"{path}: {error.strerror}", "look as the daemon's user")
        return
    check = _token(path, found)
    if check.level == "ok" and _void(session, path):
        repair = f"millrace tokens create NAME --role admin, and remove {path}"
        check = Check("token", "warn", f"the token in {path} is none of this ledger's any more", repair)
    yield check


def _void(session: Session, path: Path) -> bool:
    """Whether a token is not known to the ledger, or was revoked: so after the backup of another site was put back."""
    from millrace.web.tokens import hash_of

    try:
        with session.reads() as reads:
            row = reads.token_by_hash(hash_of(path.read_text().strip()))
    except (MillraceError, OSError, UnicodeDecodeError):
        return False  # not to be told from here; other checks name what is wrong
    return row is None or row.revoked_at is not None


def _token(path: Path, found: os.stat_result) -> Check:
    mode = stat.S_IMODE(found.st_mode) & _ALL
    if not stat.S_ISREG(found.st_mode):
        return Check("token", "fail", f"{path} is no plain file", "remove it")
    if mode & _OTHERS:
        return Check("token", "fail", f"others may read {path} (mode {mode:04o})", f"chmod 600 {path}")
    return Check("token", "ok", f"{path} is for its owner alone")


def check_listen(session: Session, *, pid: int | None) -> Iterator[Check]:
    """Whether the address can be had, and who can reach it."""
    where = _listening(session, pid)
    if not is_loopback(where.host):
        repair = "put a proxy with TLS in front of it, or listen on 127.0.0.1"
        yield Check(
            "listen", "warn", f"{where.text} can be reached from other machines, by tokens sent in the clear", repair
        )
    error = None if pid is not None or where.port == 0 else _bind_error(where.host, where.port)
    if error is not None:
        yield Check("listen", "fail", f"{where.text}: {error}", "end what uses it, or change [web] listen")
    elif is_loopback(where.host):
        yield Check("listen", "ok", f"{where.text}, for this machine only")
    if where.later is not None:
        yield Check("listen", "warn", where.later_words, "start the daemon anew, or put the old address back")


def _listening(session: Session, pid: int | None) -> Listening:
    """Where a daemon that runs listens, else where one would."""
    try:
        with session.reads() as reads:
            daemon = reads.daemon()
            return listening(session.places, reads, daemon if daemon is not None and daemon.pid == pid else None)
    except MillraceError:  # no ledger yet, or none that can be read, which another check tells
        return listening(session.places, None, None)


def _bind_error(host: str, port: int) -> str | None:
    import socket

    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return error.strerror or str(error)
    return None


def as_owner(places: Places) -> str:
    """Return how to call a command as the daemon's user, who owns the state folder."""
    from millrace.cli.rights_checks import user_name

    try:
        owner = places.state.stat().st_uid
    except OSError:
        return "sudo -u with the daemon's user"
    if owner == os.geteuid():
        return f"all in the state folder must be this user's: sudo chown -R {user_name(owner)} {places.state}"
    return f"sudo -u {user_name(owner)} with the same words"


def check_daemon(session: Session, pid: int | None, *, sound: bool) -> Iterator[Check]:
    """Whether the daemon runs and makes progress. Over a ledger that is not sound it takes and does nothing."""
    if pid is None and not sound:
        yield Check("daemon", "fail", "not running: nothing is taken", "first see what is said of the ledger")
        return
    if pid is None:
        yield Check("daemon", "warn", "not running: jobs are taken and wait", "millrace serve")
        return
    try:
        with session.reads() as reads:
            row = reads.daemon()
    except MillraceError:
        row = None
    idle_s = (session.clock.now_ms() - row.beat_at) / MS if row else 0.0
    if idle_s > _STALE_BEAT_S:
        text = f"pid {pid} holds the ledger and has made no progress for {age(idle_s)}"
        yield Check("daemon", "fail", text, f"look at its log; end it with: kill {pid}")
    else:
        yield Check("daemon", "ok", f"running, pid {pid}" if pid else "starting")


def check_threads(session: Session) -> Iterator[Check]:
    """Whether a job in a thread runs beyond its time. Looked at while a daemon runs: it is the one that has threads."""
    from millrace.observe.stuck import stuck_jobs

    try:
        with session.reads() as reads:
            found = list(stuck_jobs(reads))
    except MillraceError:
        return  # an earlier check has told
    for one in found:
        over = age(max(0, session.clock.now_ms() - one.since) / MS)
        text = f"job {one.job.id} ({one.job.task}) runs in a thread of {one.job.queue}, {over} beyond its time"
        yield Check("threads", "warn", text, f"millrace explain {one.job.id}")
