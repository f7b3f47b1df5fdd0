"""``mlm help``: what a command does, for those who ask in that order."""

from typing import Annotated

import typer

EXAMPLES = {
    "mlm help": "All commands",
    "mlm help download": "One of them, as mlm download --help",
    "mlm help config show": "A command of a group",
}


def help(
    ctx: typer.Context,
    words: Annotated[
        list[str] | None,
        typer.Argument(metavar="[COMMAND]...", help="Which command; all when none is named."),
    ] = None,
) -> None:
    """Show what a command does, which options it has, and examples."""
    root = ctx.find_root().command
    root.main([*(words or ()), "--help"], prog_name="mlm", standalone_mode=False)
