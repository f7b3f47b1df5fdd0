"""Shows how far downloads and checks are: a block on a terminal, lines or JSON elsewhere."""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mlm.cli._speed import Speeds
from mlm.store.listener import Listener, Progress
from mlm.units import format_duration, format_size

if TYPE_CHECKING:
    from mlm.cli._session import Session

ProgressMode = Literal["auto", "json", "none"]
ProgressOpt = Annotated[
    ProgressMode,
    typer.Option("--progress", help="On stderr: auto for people, json as lines of JSON."),
]

_LINES = 20  # of a whole file
_JSON_INTERVAL_S = 0.2
_VERBS = {"waiting": "waiting for another process:", "checking": "checking", "downloading": ""}


@contextmanager
def show_progress(session: "Session", mode: ProgressMode = "auto") -> Iterator[Listener]:
    """Yield a listener that shows what it hears on stderr while the block runs."""
    if mode == "json":
        yield JsonLines()
    elif session.quiet or mode == "none":
        yield Notes(session)
    elif can_redraw():
        from mlm.cli._progress_block import TerminalBlock

        with TerminalBlock(session) as block:
            yield block
    else:
        yield Lines(session)


def can_redraw() -> bool:
    """Return whether stderr is a terminal that understands how to move the cursor."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        return False
    return sys.platform != "win32" or _enable_sequences()


def _enable_sequences() -> bool:
    """Ask Windows to understand escape sequences on stderr; return whether it does."""
    if sys.platform != "win32":
        return True
    import ctypes

    console = ctypes.windll.kernel32
    handle, mode = console.GetStdHandle(-12), ctypes.c_ulong()  # STD_ERROR_HANDLE
    if not console.GetConsoleMode(handle, ctypes.byref(mode)):
        return False
    return bool(console.SetConsoleMode(handle, mode.value | 4))  # VIRTUAL_TERMINAL_PROCESSING


class Notes(Listener):
    """Passes notes on, shows no progress."""

    def __init__(self, session: "Session") -> None:
        self._session = session

    def note(self, text: str) -> None:
        """Say it on stderr, unless the person wants quiet."""
        self._session.note(text)


class Lines(Notes):
    """A line when a file begins, and one for every twentieth of it: for logs."""

    def __init__(self, session: "Session") -> None:
        super().__init__(session)
        self._speeds = Speeds()
        self._steps: dict[tuple[str, str], int] = {}
        self._printing = threading.Lock()

    def progress(self, progress: Progress) -> None:
        """Print a line if enough has happened since the last one."""
        key = (progress.filename, progress.phase)
        step = progress.done * _LINES // progress.total if progress.total else _LINES
        if self._steps.get(key) in (step, step + 1):  # one step back is no new beginning
            return
        with self._printing:
            self._steps[key] = step
            pace = self._speeds.measure(progress, time.monotonic())
            words = [_VERBS[progress.phase], progress.filename, f"{step * 100 // _LINES:3d}%"]
            words.append(f"{format_size(progress.done)} of {format_size(progress.total)}")
            if pace.rate:
                words.append(f"{format_size(int(pace.rate))}/s")
            if pace.eta_s is not None:
                words.append(f"{format_duration(pace.eta_s)} left")
            self._session.note("  ".join(word for word in words if word))


class JsonLines(Listener):
    """A JSON object per line, for programs."""

    def __init__(self) -> None:
        self._speeds = Speeds()
        self._next_at: dict[tuple[str, str], float] = {}
        self._printing = threading.Lock()

    def progress(self, progress: Progress) -> None:
        """Print a line five times a second for each file, and its first and last in any case."""
        key, now = (progress.filename, progress.phase), time.monotonic()
        is_last = progress.done >= progress.total and progress.verified in (None, progress.total)
        if now < self._next_at.get(key, 0.0) and not is_last:
            return
        with self._printing:
            self._next_at[key] = now + _JSON_INTERVAL_S
            pace = self._speeds.measure(progress, now)
            _print_json(
                {
                    "event": "progress",
                    "filename": progress.filename,
                    "phase": progress.phase,
                    "done_bytes": progress.done,
                    "total_bytes": progress.total,
                    "verified_bytes": progress.verified,
                    "connections": progress.connections,
                    "bytes_per_s": None if pace.rate is None else round(pace.rate),
                    "eta_s": None if pace.eta_s is None else round(pace.eta_s, 1),
                }
            )

    def note(self, text: str) -> None:
        """Print it as an object too."""
        with self._printing:
            _print_json({"event": "note", "text": text})


def _print_json(event: dict[str, Any]) -> None:
    print(json.dumps(event), file=sys.stderr, flush=True)
