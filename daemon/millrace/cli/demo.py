"""`millrace demo`: a real daemon, a pretended outside world, and what happens when one of them breaks."""

from __future__ import annotations

import signal
import sys
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final, Self

import click

from millrace.cli.output import as_json, echo_json, plural
from millrace.cli.session import Session, pass_session, tell
from millrace.cli.table import terminal_width
from millrace.clock import format_duration

if TYPE_CHECKING:
    from millrace.clock import Clock
    from millrace.process.demo.judge import Verdict

PROGRAM: Final = (sys.executable, "-m", "millrace.cli.main")
_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LABEL: Final = 12
_NAMED: Final = 4
_NARROWEST: Final = 30


@click.group("demo")
def demo() -> None:
    """See what becomes of work when things break: crash."""


@demo.command("crash")
@click.option("--careless", is_flag=True, help="Send the mails without once(…), to see what that is for.")
@click.option("--keep", is_flag=True, help="Leave the site there, to look around in it.")
@as_json
@pass_session
def crash(session: Session, *, careless: bool, keep: bool, as_json: bool) -> int:
    r"""
    Kill a daemon in the middle of a run, and start it again.

    On a site of its own in a temporary folder, with a daemon of its own and a pretended mail service: a run of a
    pipeline looks 60 guests up and sends mails. kill -9 comes when a third of them is sent and calls are under way.
    What came of it is told by the mail service's own books. Takes about ten seconds; no other daemon is touched.

    \b
    Exit: 0 nothing was lost, nothing doubled, each mail was sent once; 1 not so.
    """
    from millrace.process.demo.crash import Crash

    with _Interruption() as interruption:
        play = Crash(
            PROGRAM,
            clock=session.clock,
            tell=_Teller(session.clock),
            careful=not careless,
            keep=keep,
            interrupted=lambda: interruption.came,
        )
        verdict = play.play()
    if as_json:
        echo_json({**verdict.as_json(), "folder": str(play.folder) if keep else None})
    else:
        click.echo(_text(verdict, careless=careless))
    if keep:
        tell(f"The site is in {play.folder}; look around, and remove it when you are done:")
        tell(f"  millrace -c {play.folder}/config.toml runs show {verdict.facts.run_id}")
        tell(f"  millrace -c {play.folder}/config.toml effects list")
    return 0 if verdict.held else 1


class _Teller:
    """Says what happens, and when."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._began = clock.monotonic()

    def __call__(self, text: str) -> None:
        at = f"{self._clock.monotonic() - self._began:5.1f}s  "
        tell(at + f"\n{' ' * len(at)}".join(_folded(text, len(at))))


class _Interruption:
    """
    Notes Ctrl-C, TERM and HUP, for the play to end at its next step: its daemon is ended, and its folder removed.
    Whoever asks twice does not want to wait for that.
    """

    def __init__(self) -> None:
        self.came = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._note) for number in _ENDING}
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, *_: Any) -> None:
        if self.came:
            raise KeyboardInterrupt
        self.came = True


def _text(verdict: Verdict, *, careless: bool) -> str:
    facts, balance = verdict.facts, verdict.facts.balance
    lost, doubled = len(verdict.lost), len(verdict.doubled)
    whole = not balance.difference
    lines = [
        "",
        _line("Resumed", f"{format_duration(facts.resumed_after_s)} after the kill"),
        _line("Kept", _kept_words(verdict), good=verdict.kept == verdict.done),
        _line("Taken back", f"{plural(verdict.taken_back, 'attempt')} that the kill cut off, which ran again"),
        _line("In doubt", _doubt_words(verdict)),
        _line("Lost", f"{lost:,}{_named(verdict.lost)}", good=not lost),
        _line("Doubled", f"{doubled:,}{_named(verdict.doubled)}", good=not doubled),
        _line(
            "Mails",
            f"{verdict.sent_once:,} of {verdict.mails:,} sent once, by the mail service's own books",
            good=verdict.sent_once == verdict.mails,
        ),
        _line("Balance", _balance_words(verdict), good=whole),
        "",
        _sum_words(verdict, careless=careless),
    ]
    return "\n".join(lines)


def _line(label: str, words: str, *, good: bool | None = None) -> str:
    color = None if good is None else "green" if good else "red"
    first, *rest = (click.style(line, fg=color) if color else line for line in _folded(words, _LABEL))
    return "\n".join([f"{label:<{_LABEL}}{first}", *(f"{'':<{_LABEL}}{line}" for line in rest)])


def _folded(words: str, margin: int = 0) -> list[str]:
    """Break what is longer than the terminal is wide; a pipe gets it whole."""
    width = terminal_width()
    return [words] if width is None else wrap(words, max(_NARROWEST, width - margin))


def _kept_words(verdict: Verdict) -> str:
    words = f"{verdict.kept:,} of {plural(verdict.done, 'stage job')} that were done"
    again = verdict.done - verdict.kept
    after = f"{again:,} ran again" if again else "none ran again"
    return f"{words}; {after} ({verdict.jobs:,} in all)"


def _doubt_words(verdict: Verdict) -> str:
    facts, sent = verdict.facts, verdict.cut_and_sent
    calls = plural(len(facts.cuts), "mail")
    were = f"{sent:,} had been sent, {len(facts.cuts) - sent:,} had not"
    if not facts.doubts:
        return f"{calls} cut off: {were}, and nothing says so"
    return f"{calls} cut off: the mail service was asked about {facts.asked:,}; {were}"


def _named(what: tuple[str, ...]) -> str:
    if not what:
        return ""
    more = f", and {len(what) - _NAMED:,} more" if len(what) > _NAMED else ""
    return f": {', '.join(what[:_NAMED])}{more}"


def _balance_words(verdict: Verdict) -> str:
    balance = verdict.facts.balance
    if balance.difference:
        return f"DIFFERENCE OF {balance.difference:,}: jobs vanished or doubled"
    return f"each of {plural(balance.accepted, 'accepted job')} is accounted for"


def _sum_words(verdict: Verdict, *, careless: bool) -> str:
    if verdict.held:
        return click.style("The promise held: nothing was lost, and nothing was done twice.", fg="green")
    if not careless:
        return click.style("The promise did not hold.", fg="red")
    why = "This is what once(…) is for: without it nobody knows whether a mail went out before its job was cut off."
    return "\n".join(_folded(why))
