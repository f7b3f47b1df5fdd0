"""A question to the person at the terminal that is answered with yes or no."""

import sys

import typer


def confirm(question: str, *, default: bool = False) -> bool:
    """Ask on stderr and return whether the answer was yes.

    Raises:
        typer.Abort: there is none: Ctrl-C, or the end of stdin.
    """
    try:
        return typer.confirm(question, default=default, err=True)
    except typer.Abort:
        print(file=sys.stderr)  # what comes next, the shell's prompt, gets a line of its own
        raise


def insist(question: str) -> None:
    """Ask for leave to go on.

    Raises:
        typer.Abort: it was not given.
    """
    if not confirm(question):
        raise typer.Abort
