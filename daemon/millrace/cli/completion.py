"""`millrace completion`: the script that teaches a shell the commands and options."""

from __future__ import annotations

from typing import Final

import click
from click.shell_completion import get_completion_class

_WHERE: Final = {
    "bash": "millrace completion bash > ~/.local/share/bash-completion/completions/millrace",
    "zsh": 'millrace completion zsh > "${fpath[1]}/_millrace"',
    "fish": "millrace completion fish > ~/.config/fish/completions/millrace.fish",
}
VARIABLE: Final = "_MILLRACE_COMPLETE"  # the name that click derives from the program's


@click.command("completion", epilog="\b\n" + "\n".join(_WHERE.values()))
@click.argument("shell", type=click.Choice(list(_WHERE)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    r"""
    Print the completion script of a shell.

    Each shell reads it from a place of its own, below, and then completes commands and options.

    \b
    Exit: 0 printed; 2 an unknown shell.
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise click.UsageError(f"this version of click does not know {shell}", ctx)
    click.echo(kind(ctx.find_root().command, {}, "millrace", VARIABLE).source(), nl=False)
