"""What a server prints, written on a thread of its own: nobody waits for who reads it.

A terminal that was stopped (Ctrl-S), or a pipe that nobody empties, must not stop a server.
"""

import os
import queue
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

Stream = Literal["stdout", "stderr"]
Text = Callable[[], str]
_MAX_WAITING = 2000  # pieces of text
_FAREWELL_S = 1.0  # for the last of them to be written


class Outlet:
    """Writes texts in the order given; those for which there is no room are counted."""

    def __init__(self, tell_lost: Callable[[int], tuple[Stream, str]] | None = None) -> None:
        """``tell_lost`` makes of a number of lost texts what is written about them."""
        self._tell_lost = tell_lost
        self._texts: queue.Queue[tuple[Stream, Text] | None] = queue.Queue(_MAX_WAITING)
        self._lost = 0
        self._thread = threading.Thread(target=self._run, name="write log", daemon=True)
        self._thread.start()

    def put(self, stream: Stream, text: Text) -> None:
        """Have ``text`` called and written soon."""
        try:
            self._texts.put_nowait((stream, text))
        except queue.Full:
            self._lost += 1

    def close(self) -> None:
        """Write what is still waiting, unless nobody takes it."""
        with suppress(queue.Full):
            self._texts.put(None, timeout=_FAREWELL_S)
        self._thread.join(_FAREWELL_S)

    def _run(self) -> None:
        while (waiting := self._texts.get()) is not None:
            stream, text = waiting
            _write(stream, text())
            if self._lost and self._texts.empty():
                lost, self._lost = self._lost, 0
                if self._tell_lost is not None:
                    _write(*self._tell_lost(lost))


def _write(stream: Stream, text: str) -> None:
    rest = text.encode("utf-8", "replace")
    with suppress(OSError, ValueError):  # the reader has gone, or the stream is closed
        # Not by `print`: a lock that this thread holds at the end would be Python's own end.
        number = getattr(sys, stream).fileno()
        while rest:
            rest = rest[os.write(number, rest) :]
