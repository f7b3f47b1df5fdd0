"""Where a chat is written: a terminal, or plain text in a pipe."""

from collections.abc import Iterable
from typing import TextIO

from mlm.client import Delta, Recording
from mlm.errors import MlmError
from mlm.repl.figures import status_line
from mlm.repl.recall import describe_session, latest, shorten
from mlm.sessions.types import Session
from mlm.terminal import TerminalFilter, printable

_DIM, _RED, _PLAIN = "\x1b[2m", "\x1b[31m", "\x1b[0m"


class Screen:
    """Writes answers as they come. Nothing that a model or a server says can command a terminal.

    A pipe gets the answers and what commands print, and none of the remarks around them.
    """

    def __init__(self, out: TextIO, *, is_interactive: bool, has_colour: bool) -> None:
        self._out = out
        self._is_interactive = is_interactive
        self._has_colour = has_colour

    def stream(self, deltas: Iterable[Delta]) -> None:
        """Write an answer piece by piece; whatever happens, a line that was begun is ended."""
        text, thoughts = TerminalFilter(), TerminalFilter()
        last = ""
        has_thought = False
        is_begun = self._is_interactive  # the terminal itself writes there: ^C
        try:
            for delta in deltas:
                if not delta.thinking:
                    if has_thought:
                        self._write("\n" if last.endswith("\n") else "\n\n")
                    has_thought = False
                    shown = text.feed(delta.text)
                    self._write(shown)
                elif self._is_interactive:
                    shown = thoughts.feed(delta.text)
                    if not (has_thought or self._has_colour):
                        self._write("thinking: ")
                    self._write(self._painted(shown, _DIM))
                    has_thought = True
                else:
                    continue
                last = shown or last
            is_begun = True
        finally:
            if (last or is_begun) and not last.endswith("\n"):
                self._write("\n")

    def conclude(self, answer: Recording) -> None:
        """Write the figures of an answer."""
        self.remark(status_line(answer))

    def show(self, text: str) -> None:
        """Write what a command found."""
        if text:
            self._write(printable(text) + "\n")

    def remind(self, session: Session) -> None:
        """Write how a saved conversation ended, which goes on now."""
        lines = [*describe_session(session)]
        for message in latest(session):
            lines += ["", *shorten(message)]
        self.show("\n".join(lines))

    def remark(self, text: str) -> None:
        """Write something about the chat, dimmed; a pipe does not get it."""
        if self._is_interactive:
            self._write(self._painted(printable(text), _DIM) + "\n")

    def fail(self, error: MlmError) -> None:
        """Write what went wrong and what to do about it."""
        self._write(self._painted("error: ", _RED) + printable(error.message) + "\n")
        if error.remedy:
            self.remark(f"hint: {error.remedy}")

    def _painted(self, text: str, colour: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._has_colour and text else text

    def _write(self, text: str) -> None:
        self._out.write(text)
        self._out.flush()
