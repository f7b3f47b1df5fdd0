"""``mlm completion``: the script that teaches a shell to complete mlm's words."""

from enum import StrEnum
from typing import Annotated

import typer


class Shell(StrEnum):
    """The shells that can be taught."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"


def completion(
    ctx: typer.Context,
    shell: Annotated[
        Shell,
        typer.Argument(metavar="SHELL", help="bash, zsh, fish or powershell", show_default=False),
    ],
) -> None:
    """Print a completion script: source <(mlm completion bash)."""
    print(completion_script(shell))


def completion_script(shell: Shell) -> str:
    """Return the script that completes commands, options and model names in ``shell``."""
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    return get_completion_script(prog_name="mlm", complete_var="_MLM_COMPLETE", shell=shell.value)
