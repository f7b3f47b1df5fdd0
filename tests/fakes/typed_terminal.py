"""`mlm` on a real pseudo-terminal, and the screen that a person would see."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pyte

PATIENCE_S = 30.0


class TypedTerminal:
    """A command that was typed, its keyboard, and its screen."""

    def __init__(
        self, command: list[str], size: tuple[int, int], environ: dict[str, str], *, echo: bool
    ) -> None:
        columns, rows = size
        self.raw = b""  # everything that was ever written to it
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._child = pexpect.spawn(
            sys.executable, command, dimensions=(rows, columns), env=environ, echo=echo
        )
        self._child.delaybeforesend = None

    @property
    def lines(self) -> list[str]:
        """The screen as it is."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        """The screen as one text."""
        return "\n".join(self.lines)

    @property
    def pid(self) -> int:
        """The process that was started."""
        return int(self._child.pid)

    def press(self, keys: str) -> None:
        """Type."""
        self._child.send(keys)

    def resize(self, columns: int, rows: int) -> None:
        """Make the window larger or smaller."""
        self._screen.resize(rows, columns)
        self._child.setwinsize(rows, columns)

    def wait_for(self, wanted: str | Callable[[], bool]) -> None:
        """Read until the screen has a text, or until something is so."""
        deadline = time.monotonic() + PATIENCE_S
        while not (wanted in self.text if isinstance(wanted, str) else wanted()):
            assert time.monotonic() < deadline, f"no {wanted} on the screen:\n{self.text}"
            assert self._read(), f"it ended without {wanted}:\n{self.text}"

    def wait(self) -> int:
        """Read to the end and return the exit code."""
        deadline = time.monotonic() + PATIENCE_S
        while self._read():
            assert time.monotonic() < deadline, f"it does not end:\n{self.text}"
        self._child.close()
        assert self._child.exitstatus is not None, f"signal {self._child.signalstatus}"
        return int(self._child.exitstatus)

    def close(self) -> None:
        """End it, whatever it is doing."""
        self._child.close(force=True)

    def _read(self) -> bool:
        """Read what comes in a moment; False: there will be nothing more."""
        try:
            piece = self._child.read_nonblocking(65536, timeout=0.1)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += piece
        self._stream.feed(piece)
        return True


@contextmanager
def typed(
    *words: object,
    columns: int = 80,
    rows: int = 24,
    script: Path | None = None,
    echo: bool = True,
    **environ: str,
) -> Iterator[TypedTerminal]:
    """Type ``mlm WORDS``, or another ``script``, on a terminal; it ends with the block."""
    given = os.environ | {"TERM": "xterm-256color", "PYTHONIOENCODING": "utf-8"} | environ
    for name in ("COLUMNS", "LINES"):
        given.pop(name, None)
    given["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    program = ["-m", "mlm"] if script is None else [str(script)]
    terminal = TypedTerminal([*program, *map(str, words)], (columns, rows), given, echo=echo)
    try:
        yield terminal
    finally:
        terminal.close()
