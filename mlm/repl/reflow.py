"""Where the input is after the window became narrower, in a terminal that wraps its lines anew."""

import os
from collections.abc import Mapping

from prompt_toolkit.data_structures import Point
from prompt_toolkit.layout.screen import Screen
from prompt_toolkit.renderer import Renderer


def is_reflowing(environ: Mapping[str, str] = os.environ) -> bool:
    """Tell whether the terminal wraps lines anew when it is resized, as all but few do.

    xterm, the Linux console and GNU screen cut them.
    """
    if "TMUX" in environ:
        return True
    term = environ.get("TERM", "")
    return "XTERM_VERSION" not in environ and not term.startswith(("linux", "screen"))


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
