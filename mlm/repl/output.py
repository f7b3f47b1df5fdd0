"""What goes to the terminal, in as few writes as possible: what is drawn at once never flickers."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from prompt_toolkit.data_structures import Size
from prompt_toolkit.output.color_depth import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output


class WholeOutput(Vt100_Output):
    """An output that can keep everything back until it is complete."""

    _is_held = False

    def flush(self) -> None:
        """Write what has gathered, unless it is held back."""
        if not self._is_held:
            super().flush()

    def erase_down(self) -> None:
        """Erase from the cursor, which is at the beginning of a line, to the end of the screen.

        A terminal that erases all of its screen may keep a copy of it among what has scrolled
        away, as tmux does. Who begins one column later does not erase all of it.
        """
        self.write_raw(" \x1b[J\r")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Write nothing inside of this, and all of it in one go at its end."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
            self.flush()


def open_output(*, has_colour: bool, stdout: TextIO = sys.stdout) -> WholeOutput:
    """Return an output to a terminal that is never asked where its cursor is."""

    def get_size() -> Size:
        try:
            columns, rows = os.get_terminal_size(stdout.fileno())
        except OSError:  # it has gone
            columns, rows = 0, 0
        return Size(rows=rows or 24, columns=columns or 80)

    depth = ColorDepth.DEPTH_4_BIT if has_colour else ColorDepth.DEPTH_1_BIT
    return WholeOutput(
        stdout,
        get_size,
        term=os.environ.get("TERM"),
        default_color_depth=depth,
        enable_cpr=False,
    )
