"""Where the input is after the window became narrower, in a terminal that wraps its lines anew."""

import os
from collections.abc import Mapping

from prompt_toolkit.data_structures import Point
from prompt_toolkit.layout.screen import Screen
from prompt_toolkit.renderer import Renderer

# What terminals are known by that wrap their lines anew: variables that they set, and names.
_VARIABLES = (
    "TMUX",
    "VTE_VERSION",  # GNOME's and its kin
    "KONSOLE_VERSION",
    "KITTY_WINDOW_ID",
    "WEZTERM_PANE",
    "ALACRITTY_WINDOW_ID",
    "GHOSTTY_RESOURCES_DIR",
    "WT_SESSION",  # Windows Terminal
    "TERM_PROGRAM",  # Apple's, iTerm2, Visual Studio Code's
)
_NAMES = ("tmux", "xterm-kitty", "xterm-ghostty", "alacritty", "foot", "wezterm")


def is_reflowing(environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether the terminal is known to wrap lines anew when it is resized.

    One that is not, as xterm and GNU screen, or any that is called xterm at the other end of ssh,
    may cut them: erasing too much there would be worse than a line left behind.
    """
    if environ.get("TERM", "").startswith(_NAMES):
        return True
    return any(environ.get(name) for name in _VARIABLES)


def follow_reflow(renderer: Renderer, columns: int) -> None:
    """Let ``renderer`` know how many rows the lines take that were drawn in a wider window.

    Else it would erase as many as they took, and leave their beginnings above the input.
    """
    screen, size = renderer._last_screen, renderer._last_size
    if screen is None or size is None or columns >= size.columns:
        return
    cursor = renderer._cursor_pos
    above = sum(-(-max(_used(screen, row), 1) // columns) for row in range(cursor.y))
    renderer._cursor_pos = Point(x=cursor.x % columns, y=above + cursor.x // columns)


def _used(screen: Screen, row: int) -> int:
    """Return how many columns of a row are written on."""
    cells = screen.data_buffer[row]
    return max((x + cell.width for x, cell in cells.items() if cell.char != " "), default=0)
