"""A program at a real pseudo-terminal, and what a person sees of it."""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from pathlib import Path
from typing import Any

import pexpect
import pyte

PATIENCE_S = 30.0
_REFLOWS = {"VTE_VERSION": "7600"}  # what tells a program that the window wraps its lines anew


class Spectator:
    """Looks at a terminal through a screen emulator, which remembers what has scrolled away."""

    def __init__(self, child: "pexpect.spawn[bytes]", rows: int, columns: int) -> None:
        self.child = child
        self.raw = b""
        self._begun = b""  # a sequence that has not come to its end
        self.screen = _Screen(columns, rows, history=10_000, ratio=0.01)
        self._stream = pyte.ByteStream(self.screen)

    @property
    def lines(self) -> list[str]:
        """What is to be seen, line by line, without the empty end."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip().split("\n")

    @property
    def text(self) -> str:
        """What is to be seen."""
        return "\n".join(self.lines)

    @property
    def everything(self) -> str:
        """What is to be seen, after what has left the screen at its top."""
        gone = [_text_of(line, self.screen.columns) for line in self.screen.history.top]
        return "\n".join([*gone, *self.lines])

    def types(self, text: str) -> None:
        """Press keys."""
        self.child.send(text.encode())

    def sees(self, text: str) -> None:
        """Wait until ``text`` is on the screen, or has been."""
        self.waits(lambda: text in self.everything, f"{text!r} does not appear")

    def waits(self, condition: Callable[[], bool], complaint: str) -> None:
        """Wait until ``condition`` holds."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, f"{complaint}; the screen:\n{self.everything}"
            self.look()

    def look(self, seconds: float = 0.05) -> None:
        """Take in what has come."""
        try:
            data = self.child.read_nonblocking(65536, timeout=seconds)
        except (pexpect.TIMEOUT, pexpect.EOF):
            return
        self.raw += data
        whole, self._begun = _split_sequence(self._begun + data)
        self._stream.feed(re.sub(rb"(\x1b\[(?:[0-9;]*;)?)2m", rb"\g<1>9m", whole))

    def resizes(self, rows: int, columns: int, *, cuts: bool = False) -> None:
        """Change the size of the window, which wraps its lines anew, or ``cuts`` them."""
        (self.screen.resize if cuts else self.screen.reflow)(rows, columns)
        self.child.setwinsize(rows, columns)

    def painted(self) -> str:
        """Return the screen with a line under each styled one that tells how it is styled.

        One that looks alike from end to end has one letter and an ellipsis.
        """
        painted = []
        for row, text in enumerate(self.lines):
            marks = "".join(_mark(self.screen.buffer[row][x]) for x in range(len(text))).rstrip()
            if len(marks) == len(text) and len(set(marks)) == 1:
                marks = f"{marks[0]}…"
            painted.append(f"|{text}")
            painted += [f" {marks}"] if marks else []
        return "\n".join(painted)

    def leaves(self) -> int:
        """Type Ctrl-D and return the exit code."""
        self.types("\x04")
        return self.ends()

    def ends(self) -> int:
        """Wait for the program to end and return its exit code."""
        deadline = time.monotonic() + PATIENCE_S
        while self.child.isalive():
            assert time.monotonic() < deadline, f"it does not end; the screen:\n{self.text}"
            self.look()
        self.look()
        self.child.close()
        code = self.child.exitstatus
        assert code is not None
        return code


class _Screen(pyte.HistoryScreen):
    """A terminal as most are today, tmux among them."""

    def erase_in_display(self, how: int = 0, *args: object, **kwargs: object) -> None:
        """Keep what is erased of a whole screen among what has scrolled away."""
        if how == 0 and (self.cursor.x, self.cursor.y) == (0, 0):
            self.history.top.extend(self._take_lines())
        super().erase_in_display(how, *args, **kwargs)

    def reflow(self, rows: int, columns: int) -> None:
        """Change the size; wrap what is too wide, and push out at the top what has no room."""
        at, lines = self.cursor.x, self._take_lines()
        wrapped: list[list[pyte.screens.Char]] = []
        for y, line in enumerate(lines):
            if y == self.cursor.y:
                self.cursor.y = len(wrapped) + at // columns
                self.cursor.x = at % columns
            cells = [line[x] for x in range(self.columns)]
            while len(cells) > columns and cells[-1].data == " ":
                cells.pop()
            wrapped += [cells[x : x + columns] for x in range(0, len(cells), columns)]
        gone = max(len(wrapped) - rows, 0)
        self.cursor.y -= gone
        self.buffer.clear()
        self.lines, self.columns = rows, columns
        self.set_margins()
        for y, cells in enumerate(wrapped):
            line = self.buffer[max(y - gone, 0)] if y >= gone else self.buffer.default_factory()
            line.update(enumerate(cells))
            if y < gone:
                self.history.top.append(line)

    def _take_lines(self) -> list[Any]:
        """Return copies of the lines down to the last one that is written on, or has the cursor."""
        used = [y for y, text in enumerate(self.display) if text.strip()]
        last = max([self.cursor.y, *used])
        return [copy(self.buffer[y]) for y in range(last + 1)]


@contextmanager
def at_terminal(
    *words: str, rows: int = 24, columns: int = 80, cwd: Path | None = None, **environ: str
) -> Iterator[Spectator]:
    """Run ``mlm`` with ``words`` at a terminal; an empty variable of ``environ`` is taken out."""
    environment = {**os.environ, "TERM": "xterm-256color", **_REFLOWS, **environ}
    environment = {name: value for name, value in environment.items() if value}
    environment.pop("COLUMNS", None)
    child = pexpect.spawn(
        sys.executable,
        ["-m", "mlm", *words],
        env=environment,
        cwd=cwd,
        dimensions=(rows, columns),
        timeout=PATIENCE_S,
    )
    child.delaybeforesend = None
    try:
        yield Spectator(child, rows, columns)
    finally:
        child.close(force=True)


def without_figures(text: str) -> str:
    """Return ``text`` with an ``N`` for every speed and time, which differ from run to run."""
    text = re.sub(r"\d+\.\d+ tok/s", "N tok/s", text)
    return re.sub(r"\d+\.\d+ s", "N s", text)


def _split_sequence(data: bytes) -> tuple[bytes, bytes]:
    """Return what can be looked at, and the beginning of a sequence that is not complete."""
    begun = re.search(rb"\x1b(\[[0-9;?]*)?$", data)
    return (data[: begun.start()], data[begun.start() :]) if begun else (data, b"")


def _text_of(line: "pyte.screens.StaticDefaultDict[int, pyte.screens.Char]", width: int) -> str:
    return "".join(line[x].data for x in range(width)).rstrip()


def _mark(char: "pyte.screens.Char") -> str:
    """Return a letter for how a character looks: its colour, else b, i, u, r, d or a space.

    The emulator knows nothing of dim text, so that it comes here as struck through.
    """
    if char.fg != "default":
        return char.fg[0].upper() if not char.bold else char.fg[0]
    looks = (
        ("r", char.reverse),
        ("d", char.strikethrough),
        ("u", char.underscore),
        ("b", char.bold),
        ("i", char.italics),
    )
    return next((letter for letter, has_it in looks if has_it), " ")
