"""What one run of the command line knows: settings, loudness, and how to print."""

import json
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import typer

import mlm
from mlm.errors import MlmError
from mlm.settings import Settings
from mlm.terminal import printable, printable_json

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType


_MAX_MESSAGE = 2000  # characters of an error on a terminal; --json has it whole


@dataclass(frozen=True, slots=True)
class Session:
    """Made once by ``mlm/cli/app.py`` from the global options; commands get it from `session`."""

    settings: Settings
    quiet: bool

    def emit(
        self,
        command: str,
        payload: dict[str, Any],
        *,
        as_json: bool,
        human: "Callable[[], RenderableType]",
    ) -> None:
        """Print the data of a command on stdout: one JSON document, or what ``human`` renders."""
        if as_json:
            print_document(command, payload)
        else:
            stdout().print(human())

    def note(self, text: str) -> None:
        """Say something about the data, on stderr; ``--quiet`` silences it."""
        if not self.quiet:
            print(f"{_clear_line()}{printable(text)}", file=sys.stderr)


def wants_plain() -> bool:
    """Whether a terminal is to show no colours and nothing bold: it cannot, or NO_COLOR is set."""
    return bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"


def _clear_line() -> str:
    """Return what takes away the line of a wait that a note is printed over; see `_waiting`."""
    can_redraw = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    return "\x1b[K" if can_redraw and sys.platform != "win32" else ""


def session(ctx: typer.Context) -> Session:
    """Return the session of the run that ``ctx`` belongs to."""
    found = ctx.find_root().obj
    assert isinstance(found, Session)
    return found


def print_text(text: str) -> None:
    """Print the data of a command for people, without what could command their terminal."""
    print(printable(text))


def print_document(command: str, payload: dict[str, Any], *, indent: int | None = 2) -> None:
    """Print ``payload`` as the JSON document ``mlm.<command>/1``; ``indent`` None: on one line."""
    print_json({"schema": f"mlm.{command}/1", "mlm_version": mlm.__version__, **payload}, indent)


def print_json(value: Any, indent: int | None) -> None:
    """Print ``value`` as JSON; what the locale cannot write, or obeys, is escaped."""
    is_utf8 = (sys.stdout.encoding or "").lower().startswith("utf")
    print(printable_json(json.dumps(value, indent=indent, ensure_ascii=not is_utf8)))


def print_error(error: MlmError, *, as_json: bool) -> None:
    """Print a failure: ``mlm.error/1`` on stdout, or two lines on stderr."""
    if as_json:
        payload = {
            "code": error.code,
            "message": error.message,
            "remedy": error.remedy,
            "exit_code": int(error.exit_code),
        }
        print_document(
            "error", {"error": payload, **error.details}, indent=None
        )  # it may end JSON lines
        return
    print(f"error: {printable(_shorten(error.message))}", file=sys.stderr)
    if error.remedy:
        print(f"hint: {printable(error.remedy)}", file=sys.stderr)


def _shorten(text: str) -> str:
    """Return ``text`` without the middle if it is endless: it may repeat what was typed."""
    half = _MAX_MESSAGE // 2
    return text if len(text) <= _MAX_MESSAGE else f"{text[:half]} … {text[-half:]}"


def stdout() -> "Console":
    """Return a rich console on stdout: 80 columns without a terminal, no colour if unwanted.

    Text from outside has its control characters taken out, which rich itself does not do.
    """
    from rich.console import Console
    from rich.segment import Segment

    class Output(Console):
        def render(
            self, renderable: "RenderableType", options: "ConsoleOptions | None" = None
        ) -> "Iterable[Segment]":
            for segment in super().render(renderable, options):
                text, style, control = segment
                yield segment if control else Segment(printable(text), style)

        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # rich would end with exit code 1

    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else 80
    return Output(width=width, highlight=False, soft_wrap=False, emoji=False)


def stderr() -> "Console":
    """Return a rich console on stderr, for progress."""
    from rich.console import Console

    return Console(stderr=True, highlight=False, emoji=False)
