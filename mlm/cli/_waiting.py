"""Says on a terminal what a command waits for, once that takes longer than a moment."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from mlm.cli._columns import one_line

if TYPE_CHECKING:
    from mlm.cli._session import Session

_SILENT_S = 0.5  # a shorter wait is none
_REDRAW_EVERY_S = 0.5
_CLEAR_LINE = "\x1b[K"

Show = Callable[[float | None], None]


@contextmanager
def waiting_for(session: "Session", what: str) -> Iterator[Show]:
    """Show ``what`` is going on, on a line of stderr that vanishes at the end of the block.

    It yields what takes the share that is done, 0 to 1, or None where nobody knows. Nothing is
    shown of a short wait, with ``--quiet``, or where stderr is no terminal. Waits do not nest.
    """
    if session.quiet or not sys.stderr.isatty():
        yield lambda progress: None
        return
    line = _Line(one_line(what))
    line.start()
    try:
        yield line.show
    finally:
        line.end()


class _Line:
    """The line; a thread of its own draws it.

    Between two drawings the cursor rests where it begins, so that whatever else is printed
    meanwhile takes its place.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._progress: float | None = None
        self._begun_at = time.monotonic()
        self._is_drawn = False
        self._ended = threading.Event()
        self._artist = threading.Thread(target=self._run, name="waiting", daemon=True)

    def start(self) -> None:
        self._artist.start()

    def show(self, progress: float | None) -> None:
        """Note it for the next drawing."""
        self._progress = progress

    def end(self) -> None:
        """Take the line away."""
        self._ended.set()
        self._artist.join()
        if self._is_drawn:
            self._terminal.write(f"\r{_CLEAR_LINE}")

    def _run(self) -> None:
        if self._ended.wait(_SILENT_S):
            return
        from mlm.cli._progress import can_redraw
        from mlm.cli._progress_block import StderrTerminal

        self._terminal = StderrTerminal()
        if not can_redraw():  # it cannot take a line away again
            self._terminal.write(f"{self._text} …\n")
            return
        while True:
            self._terminal.write(f"\r{self._compose()}{_CLEAR_LINE}\r")
            self._is_drawn = True
            if self._ended.wait(_REDRAW_EVERY_S):
                return

    def _compose(self) -> str:
        seconds = int(time.monotonic() - self._begun_at)
        figures = f" {seconds} s" if seconds else ""
        if self._progress is not None:
            figures = f" {self._progress:.0%}{',' if figures else ''}{figures}"
        columns, _ = self._terminal.size()
        room = columns - 1 - len(figures)
        text = f"{self._text} …"
        return (text if len(text) <= room else f"{text[: max(room - 1, 0)]}…") + figures
