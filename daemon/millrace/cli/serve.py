"""`millrace serve`: the daemon."""

from __future__ import annotations

import click

from millrace.cli.session import Session, pass_session


@click.command("serve")
@pass_session
def serve(session: Session) -> int:
    r"""
    Run the daemon in the foreground.

    It works until it is told to stop: TERM or Ctrl-C lets running jobs finish for a while, a second one hands them
    back at once.

    \b
    Exit: 0 stopped in order; 1 it failed; 75 another daemon holds the ledger;
    77 not permitted; 78 bad configuration.
    """
    from millrace.process.serve import serve as serve_site

    site = session.site()
    with session.permitted(write=True):
        return serve_site(site)
