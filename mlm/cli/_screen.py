"""The screen that answers are written to, fitted to what stdout is."""

import os
import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlm.repl.screen import Screen


def open_screen(*, raw: bool = False) -> "Screen":
    """Return a screen on stdout: remarks and colours on a terminal only.

    ``raw`` lets control characters through to a pipe or file, never to a terminal.
    """
    from mlm.repl.screen import Screen

    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an answer may hold what the locale cannot write
    is_terminal = sys.stdout.isatty()
    is_plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
    return Screen(
        sys.stdout,
        is_interactive=is_terminal,
        has_colour=is_terminal and not is_plain,
        is_raw=raw and not is_terminal,
    )
