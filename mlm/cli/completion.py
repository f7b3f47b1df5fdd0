"""``mlm completion``: teach a shell to complete mlm's words."""

import os
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from mlm.cli._session import print_text, session
from mlm.errors import UsageError


class Shell(StrEnum):
    """The shells that can be taught."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"
    POWERSHELL = "powershell"


SUFFIXES = {Shell.BASH: "bash", Shell.ZSH: "zsh", Shell.FISH: "fish", Shell.POWERSHELL: "ps1"}

EXAMPLES = {
    "mlm completion --install": "For the shell that you use; from the next one on, Tab completes",
    "mlm completion fish --install": "For another shell",
    "source <(mlm completion bash)": "Only in this bash, and nothing is written",
    "mlm completion powershell | Out-String | Invoke-Expression": "Only in this PowerShell",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a shell finds the script; ``profile`` needs a line to read it, unless it is None."""

    script: Path
    profile: Path | None


def completion(
    ctx: typer.Context,
    shell: Annotated[
        Shell | None,
        typer.Argument(
            metavar="[SHELL]",
            help="bash, zsh, fish or powershell; with --install, by default the one in $SHELL.",
            show_default=False,
        ),
    ] = None,
    install: Annotated[
        bool,
        typer.Option("--install", help="Put the script where the shell reads it when it starts."),
    ] = False,
) -> None:
    """Let a shell complete commands, options, models and quantizations when you press Tab.

    Without --install, the script is printed.
    """
    if not install:
        if shell is None:
            raise UsageError("which shell?", remedy="mlm completion --install, or name a shell")
        print(completion_script(shell), end="")
        return
    chosen = shell or _find_shell()
    place = find_place(chosen, session(ctx).settings.home.completions)
    changed = install_script(chosen, place)
    print_text("\n".join(f"written: {path}" for path in changed) or "it is there already")
    session(ctx).note(f"hint: open a new {chosen}, type: mlm pl, and press Tab")


def completion_script(shell: Shell) -> str:
    """Return the script that completes commands, options and model names in ``shell``."""
    import mlm

    package = Path(mlm.__file__).parent
    packaged = package / "completion" / "scripts"  # in a wheel; a checkout has them at its root
    folder = packaged if packaged.is_dir() else package.parent / "completions"
    return (folder / f"mlm.{SUFFIXES[shell]}").read_text(encoding="utf-8")


def find_place(shell: Shell, folder: Path) -> Place:
    """Return where the script of ``shell`` goes; ``folder`` is mlm's own."""
    user, script = Path.home(), folder / f"mlm.{SUFFIXES[shell]}"
    settings = Path(os.environ.get("XDG_CONFIG_HOME") or user / ".config")
    if shell is Shell.FISH:
        return Place(settings / "fish" / "completions" / "mlm.fish", None)
    if shell is Shell.ZSH:
        return Place(script, Path(os.environ.get("ZDOTDIR") or user) / ".zshrc")
    if shell is Shell.BASH:
        return Place(script, user / ".bashrc")
    windows = user / "Documents" / "PowerShell"
    profiles = windows if sys.platform == "win32" else settings / "powershell"
    return Place(script, profiles / "Microsoft.PowerShell_profile.ps1")


def install_script(shell: Shell, place: Place) -> list[Path]:
    """Write the script, and the line that reads it; return what was changed.

    Raises:
        UsageError: it cannot be written.
    """
    from mlm.paths import replace_text

    script, changed = completion_script(shell), []
    try:
        if not place.script.exists() or place.script.read_text(encoding="utf-8") != script:
            place.script.parent.mkdir(parents=True, exist_ok=True)
            replace_text(place.script, script)
            changed.append(place.script)
        if place.profile is not None and _add_line(shell, place.profile, place.script):
            changed.append(place.profile)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"cannot write it: {error}", remedy=f"mlm completion {shell} > FILE, and source it"
        ) from error
    return changed


def _add_line(shell: Shell, profile: Path, script: Path) -> bool:
    """Let ``profile`` read ``script`` unless it does; what else is in there stays as it is."""
    quoted = "'" + str(script).replace("'", "''" if shell is Shell.POWERSHELL else "'\\''") + "'"
    line = f". {quoted}"
    if shell is not Shell.POWERSHELL:
        line = f"[ -r {quoted} ] && {line}"
    text = profile.read_text(encoding="utf-8") if profile.exists() else ""
    if line in text.splitlines():
        return False
    profile.parent.mkdir(parents=True, exist_ok=True)
    begin = "" if text.endswith("\n") or not text else "\n"
    with profile.open("a", encoding="utf-8") as file:
        file.write(f"{begin}\n# Completes mlm; made by: mlm completion {shell} --install\n{line}\n")
    return True


def _find_shell() -> Shell:
    """Return the user's shell.

    Raises:
        UsageError: it is none of those that mlm can teach.
    """
    name = Path(os.environ.get("SHELL", "")).name
    if not name and sys.platform == "win32":
        return Shell.POWERSHELL
    if name in list(Shell):
        return Shell(name)
    raise UsageError(
        f"mlm cannot teach the shell {name or '(SHELL is not set)'}",
        remedy=f"name one: mlm completion {' or '.join(Shell)} --install",
    )
