"""Shows how far downloads and checks are: a block on a terminal, lines or JSON elsewhere."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from mlm.store.listener import Listener, Progress
from mlm.terminal import printable
from mlm.units import format_duration, format_size

if TYPE_CHECKING:
    from rich.progress import Progress as Block
    from rich.progress import TaskID

    from mlm.cli._session import Session

ProgressMode = Literal["auto", "json", "none"]

_LINE_STEP = 0.05  # of a file, between two lines
_JSON_INTERVAL_S = 0.2
_WIDE = 64  # columns that it takes to show a bar and both sizes too
_VERBS = {"waiting": "waiting for another process:", "checking": "checking", "downloading": ""}


@contextmanager
def show_progress(session: "Session", mode: ProgressMode = "auto") -> Iterator[Listener]:
    """Yield a listener that shows what it hears on stderr while the block runs."""
    if mode == "json":
        yield JsonLines()
    elif session.quiet or mode == "none":
        yield Notes(session)
    elif sys.stderr.isatty():
        with TerminalBlock(session) as block:
            yield block
    else:
        yield Lines(session)


class Notes(Listener):
    """Passes notes on, shows no progress."""

    def __init__(self, session: "Session") -> None:
        self._session = session

    def note(self, text: str) -> None:
        """Say it on stderr, unless the person wants quiet."""
        self._session.note(text)


@dataclass(slots=True)
class _Speed:
    """Bytes per second of one file since its phase began."""

    phase: str
    first: int
    since: float = field(default_factory=time.monotonic)

    def rate(self, done: int) -> float | None:
        """Return bytes per second, None as long as nothing can be said."""
        elapsed = time.monotonic() - self.since
        return (done - self.first) / elapsed if elapsed > 0 and done > self.first else None


class _Speeds:
    """A speed per file; a new phase starts a new measurement."""

    def __init__(self) -> None:
        self._speeds: dict[str, _Speed] = {}

    def measure(self, progress: Progress) -> tuple[float | None, float | None]:
        """Return bytes per second and the seconds left, None where unknown."""
        speed = self._speeds.get(progress.filename)
        if speed is None or speed.phase != progress.phase or progress.done < speed.first:
            speed = _Speed(progress.phase, progress.done)
            self._speeds[progress.filename] = speed
        rate = speed.rate(progress.done)
        return rate, (progress.total - progress.done) / rate if rate else None


class Lines(Notes):
    """A line when a file begins, and one for every twentieth of it: for logs."""

    def __init__(self, session: "Session") -> None:
        super().__init__(session)
        self._speeds = _Speeds()
        self._next: dict[tuple[str, str], float] = {}

    def progress(self, progress: Progress) -> None:
        """Print a line if enough has happened since the last one."""
        rate, eta_s = self._speeds.measure(progress)
        key = (progress.filename, progress.phase)
        share = progress.done / progress.total if progress.total else 1.0
        if share < self._next.get(key, 0.0):
            return
        self._next[key] = share - share % _LINE_STEP + _LINE_STEP
        words = [_VERBS[progress.phase], progress.filename, f"{share:4.0%}"]
        words.append(f"{format_size(progress.done)} of {format_size(progress.total)}")
        if rate:
            words.append(f"{format_size(int(rate))}/s, {format_duration(eta_s)} left")
        self._session.note("  ".join(word for word in words if word))


class JsonLines(Listener):
    """A JSON object per line, for programs."""

    def __init__(self) -> None:
        self._speeds = _Speeds()
        self._next_at = 0.0

    def progress(self, progress: Progress) -> None:
        """Print a line five times a second, and the last one of each file in any case."""
        rate, eta_s = self._speeds.measure(progress)
        if time.monotonic() < self._next_at and progress.done < progress.total:
            return
        self._next_at = time.monotonic() + _JSON_INTERVAL_S
        _print_json(
            {
                "event": "progress",
                "filename": progress.filename,
                "phase": progress.phase,
                "done_bytes": progress.done,
                "total_bytes": progress.total,
                "bytes_per_s": rate and round(rate),
                "eta_s": eta_s and round(eta_s, 1),
            }
        )

    def note(self, text: str) -> None:
        """Print it as an object too."""
        _print_json({"event": "note", "text": text})


def _print_json(event: dict[str, Any]) -> None:
    print(json.dumps(event), file=sys.stderr, flush=True)


class TerminalBlock(Notes):
    """One block of bars, a line per file: bytes, rate, time left."""

    def __init__(self, session: "Session") -> None:
        super().__init__(session)
        self._speeds = _Speeds()
        self._block = _make_block()
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> "TerminalBlock":
        self._block.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self._block.stop()

    def progress(self, progress: Progress) -> None:
        """Move the bar of the file."""
        rate, eta_s = self._speeds.measure(progress)
        task = self._tasks.get(progress.filename)
        if task is None:
            task = self._block.add_task("", total=progress.total, size="", rate="", left="")
            self._tasks[progress.filename] = task
        self._block.update(
            task,
            completed=progress.done,
            description=printable(f"{_VERBS[progress.phase]} {progress.filename}".strip()),
            size=f"{format_size(progress.done)}/{format_size(progress.total)}",
            rate=f"{format_size(int(rate))}/s" if rate else "",
            left=format_duration(eta_s) if eta_s is not None else "",
        )


def _make_block() -> "Block":
    from rich.progress import BarColumn, ProgressColumn, TextColumn
    from rich.progress import Progress as Block
    from rich.table import Column

    from mlm.cli._session import stderr

    def figure(template: str) -> ProgressColumn:
        return TextColumn(template, table_column=Column(no_wrap=True, justify="right"))

    console = stderr()
    name = Column(ratio=1, no_wrap=True, overflow="ellipsis", min_width=8)
    columns: list[ProgressColumn] = [
        TextColumn("{task.description}", markup=False, table_column=name),
        figure("{task.percentage:>3.0f}%"),
        figure("{task.fields[rate]}"),
        figure("{task.fields[left]}"),
    ]
    if console.width >= _WIDE:
        columns[1:1] = [BarColumn(bar_width=10)]
        columns[3:3] = [figure("{task.fields[size]}")]
    return Block(*columns, console=console, expand=True)
