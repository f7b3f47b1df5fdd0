"""One block of bars on a terminal, a line per file, redrawn in place."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

from mlm.cli._progress_lines import ASCII, BLOCKS, Row, draw_lines
from mlm.cli._speed import Pace, Speeds
from mlm.store.listener import Listener, Phase, Progress
from mlm.terminal import printable

if TYPE_CHECKING:
    from mlm.cli._session import Session

_REDRAW_EVERY_S = 0.1
_MAX_LINES = 12
_STATES: dict[Phase, str] = {"waiting": "waiting", "checking": "checking", "downloading": ""}
# ECMA-48 and DEC private modes. With autowrap off, a line that a terminal takes for longer than we
# do is cut off; otherwise it would fill two rows and the block would creep down the screen.
_NO_WRAP, _WRAP = "\x1b[?7l", "\x1b[?7h"
_CLEAR_LINE, _CLEAR_BELOW = "\x1b[K", "\x1b[J"


class Terminal(Protocol):
    """Where the block is drawn."""

    def size(self) -> tuple[int, int]:
        """Return columns and rows as they are now."""
        ...

    def write(self, text: str) -> None:
        """Show ``text`` at once."""
        ...


class StderrTerminal:
    """The terminal that stderr is."""

    def size(self) -> tuple[int, int]:
        """Return columns and rows; 80 and 24 where the terminal does not know."""
        with contextlib.suppress(OSError, ValueError):
            columns, rows = os.get_terminal_size(sys.stderr.fileno())
            if columns > 0 and rows > 0:
                return columns, rows
        return 80, 24

    def write(self, text: str) -> None:
        """Show ``text``; a terminal that has gone away is no reason to stop a download."""
        with contextlib.suppress(OSError, ValueError):
            if self._is_ours():
                sys.stderr.write(text)
                sys.stderr.flush()

    @staticmethod
    def _is_ours() -> bool:
        """Return whether we run in the foreground: after Ctrl-Z and `bg` the shell is there."""
        if sys.platform == "win32":
            return True
        try:
            return os.tcgetpgrp(sys.stderr.fileno()) == os.getpgrp()
        except OSError:  # it is not the terminal that we were started from
            return True


class TerminalBlock(Listener):
    """Shows what it hears about. Between two drawings the cursor rests where the block begins.

    So a resize that folds its lines, a shell that takes over, or a kill leaves it in a place from
    where everything below can be drawn anew; and it is never hidden, so nothing has to bring it
    back. A thread of its own draws: `progress` only notes, and costs its caller a microsecond.
    """

    def __init__(
        self,
        session: "Session",
        terminal: Terminal | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session = session
        self._terminal = terminal or StderrTerminal()
        self._clock = clock
        encoding = getattr(sys.stderr, "encoding", None) or "ascii"
        self._signs = BLOCKS if encoding.lower().startswith("utf") else ASCII
        self._speeds = Speeds()
        self._latest: dict[str, Progress] = {}
        self._expected: dict[str, int] = {}
        self._above: set[str] = set()  # finished files whose line has been left behind
        self._drawn = ""
        self._drawing = threading.Lock()
        self._stopped = threading.Event()
        self._artist = threading.Thread(target=self._redraw, name="progress", daemon=True)

    def __enter__(self) -> "TerminalBlock":
        self._artist.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._stopped.set()
        self._artist.join()
        self._drawn = ""  # draw it once more in any case: Ctrl-C has left its ^C on it
        self.draw()
        if self._drawn:
            self._terminal.write("\n" * self._drawn.count("\n") + "\n")
            self._drawn = ""

    def expect(self, files: Mapping[str, int]) -> None:
        """Count ``files`` into the total from now on."""
        self._expected |= files

    def progress(self, progress: Progress) -> None:
        """Note it for the next drawing."""
        before = self._latest.get(progress.filename)
        self._latest[progress.filename] = progress
        if before is None or before.phase != progress.phase or progress.done < before.done:
            self._speeds.begin(progress, self._clock())

    def note(self, text: str) -> None:
        """Say it above the block."""
        with self._drawing:
            self._terminal.write(f"\r{_CLEAR_BELOW}")
            self._session.note(text)
            self._drawn = ""
        self.draw()

    def draw(self) -> None:
        """Bring the screen up to date, if anything on it has changed."""
        with self._drawing:
            columns, rows = self._terminal.size()
            above, lines = self._compose(columns, max(1, min(_MAX_LINES, rows - 1)))
            if not lines or (not above and self._drawn == "\n".join(lines)):
                return
            self._drawn = "\n".join(lines)
            body = "".join(f"\r{line}{_CLEAR_LINE}\n" for line in above)
            body += f"{_CLEAR_LINE}\n".join(f"\r{line}" for line in lines)
            up = f"\x1b[{len(lines) - 1}A" if len(lines) > 1 else ""
            self._terminal.write(f"{_NO_WRAP}{body}{_CLEAR_BELOW}{_WRAP}{up}\r")

    def _redraw(self) -> None:
        while not self._stopped.wait(_REDRAW_EVERY_S):
            self.draw()

    def _compose(self, columns: int, room: int) -> tuple[list[str], list[str]]:
        """Return the lines to leave behind for good, and those of the block."""
        now = self._clock()
        latest = self._latest.copy()
        paces = {name: self._speeds.measure(progress, now) for name, progress in latest.items()}
        rows = {name: _row(progress, paces[name]) for name, progress in latest.items()}
        total = [self._total(latest, paces)] if len(latest | self._expected) > 1 else []
        self._above -= {name for name in self._above if not _is_finished(latest[name])}
        shown = [name for name in latest if name not in self._above]
        finished = [name for name in shown if _is_finished(latest[name])]
        leaving = finished[: max(0, len(shown) + len(total) - room)]
        self._above |= set(leaving)
        staying = [name for name in shown if name not in leaving][: max(0, room - len(total))]
        above = draw_lines([rows[name] for name in leaving], columns, self._signs)
        block = [rows[name] for name in staying] + total
        return above, draw_lines(block, columns, self._signs)

    def _total(self, latest: Mapping[str, Progress], paces: Mapping[str, Pace]) -> Row:
        """Return the row of all files; those that have not begun count with what is expected."""
        sizes = self._expected | {name: progress.total for name, progress in latest.items()}
        finished = sum(_is_finished(progress) for progress in latest.values())
        running = [name for name, progress in latest.items() if not _is_finished(progress)]
        rates = [rate for name in running if (rate := paces[name].rate) is not None]
        speeds = [
            (latest[name].total - latest[name].done) / eta_s
            for name in running
            if (eta_s := paces[name].eta_s)
        ]
        done = sum(progress.done for progress in latest.values())
        missing = sum(sizes.values()) - done
        return Row(
            name=f"{finished} of {len(sizes)} files",
            done=done,
            total=sum(sizes.values()),
            verified=sum(_verified(progress) for progress in latest.values()),
            rate=sum(rates) if rates else None,
            eta_s=missing / sum(speeds) if speeds else None,
            connections=sum(latest[name].connections for name in running),
        )


def _row(progress: Progress, pace: Pace) -> Row:
    is_waiting = progress.phase == "waiting"
    return Row(
        name=printable(progress.filename).replace("\n", " ").replace("\t", " "),
        done=progress.done,
        total=progress.total,
        state=_STATES[progress.phase],
        verified=progress.verified,
        rate=None if is_waiting else pace.rate,
        eta_s=None if is_waiting else pace.eta_s,
        connections=0 if _is_finished(progress) else progress.connections,
    )


def _verified(progress: Progress) -> int:
    return progress.done if progress.verified is None else progress.verified


def _is_finished(progress: Progress) -> bool:
    is_whole = progress.done >= progress.total and _verified(progress) >= progress.total
    return is_whole and progress.phase != "waiting"
