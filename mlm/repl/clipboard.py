"""Putting text on the clipboard: with the desktop's own program, and by asking the terminal."""

import base64
import os
import shutil
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from mlm.errors import UsageError

_TERMINAL = Path("/dev/tty")
_PATIENCE_S = 5.0
# What terminals take with OSC 52 (xterm's control sequences); some take more, xterm does not.
_MAX_SEQUENCE_BYTES = 100_000
_ON_WAYLAND: tuple[tuple[str, ...], ...] = (("wl-copy",),)
_ON_X11 = (("xclip", "-selection", "clipboard"), ("xsel", "--clipboard", "--input"))
_ANYWHERE = (("pbcopy",), ("clip.exe",))


def copy(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """Put ``text`` on the clipboard and return by which ways.

    Over ssh only the terminal is asked: a program would fill the clipboard of the wrong machine.

    Raises:
        UsageError: there is neither a terminal nor a program that could do it.
    """
    ways = []
    if not any(environment.get(name) for name in ("SSH_TTY", "SSH_CONNECTION")):
        ways += [words[0] for words in _programs(environment) if _pipe_into(words, text)][:1]
    if _ask_terminal(text):
        ways.append("the terminal (OSC 52), if it allows that")
    if ways:
        return " and ".join(ways)
    raise UsageError(
        "there is no clipboard to copy to: no terminal takes this much,"
        " and wl-copy, xclip, xsel and pbcopy are missing or failed",
        remedy="/save FILE writes the conversation to a file",
    )


def _programs(environment: Mapping[str, str]) -> list[tuple[str, ...]]:
    """Return the commands that could reach the clipboard of this desktop, the best first."""
    on_wayland = _ON_WAYLAND if environment.get("WAYLAND_DISPLAY") else ()
    on_x11 = _ON_X11 if environment.get("DISPLAY") else ()
    return [w for w in (*on_wayland, *on_x11, *_ANYWHERE) if shutil.which(w[0])]


def _pipe_into(words: tuple[str, ...], text: str) -> bool:
    with suppress(OSError, subprocess.SubprocessError):
        subprocess.run(
            words,
            input=text.encode("utf-8", "replace"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_PATIENCE_S,
            check=True,
        )
        return True
    return False


def _ask_terminal(text: str) -> bool:
    """Write OSC 52 to the terminal that this process belongs to, wherever stdout leads."""
    encoded = base64.b64encode(text.encode("utf-8", "replace"))
    sequence = b"\x1b]52;c;" + encoded + b"\x07"
    if len(sequence) > _MAX_SEQUENCE_BYTES:
        return False
    with suppress(OSError), _TERMINAL.open("wb", buffering=0) as terminal:
        terminal.write(sequence)
        return True
    return False
