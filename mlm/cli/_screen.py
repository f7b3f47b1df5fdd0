"""The screen that answers are written to, fitted to what stdout is."""

import sys
from io import TextIOWrapper
from typing import TYPE_CHECKING

from mlm.cli._session import wants_plain

if TYPE_CHECKING:
    from mlm.repl.screen import Screen


def open_screen() -> "Screen":
    """Return a screen on stdout: remarks and colours on a terminal only."""
    from mlm.repl.screen import Screen

    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # an answer may hold what the locale cannot write
    is_terminal = sys.stdout.isatty()
    return Screen(
        sys.stdout, is_interactive=is_terminal, has_colour=is_terminal and not wants_plain()
    )
