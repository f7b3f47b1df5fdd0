"""An answer on its way from a server to stdout: as it comes, at its end, or as checked JSON."""

import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TextIO

from mlm.cli._answer_check import parse_answer
from mlm.cli._reader import reader_watched
from mlm.cli._session import print_document, print_json, wants_plain
from mlm.cli._waiting import waiting_for
from mlm.errors import MlmError
from mlm.terminal import TerminalFilter

if TYPE_CHECKING:
    from mlm.cli._session import Session
    from mlm.client import Delta, Recording

_DIM, _PLAIN = "\x1b[2m", "\x1b[0m"


@dataclass(frozen=True, slots=True)
class Manner:
    """How somebody wants to see an answer."""

    is_streamed: bool = True
    is_document: bool = False  # ``mlm.run/1``
    is_raw: bool = False  # byte for byte, though never to a terminal
    shows_thoughts: bool | None = None  # None: to a terminal only
    schema: dict[str, Any] | None = None  # that the answer is to be JSON by


def print_answer(session: "Session", model: str, answer: "Recording", manner: Manner) -> None:
    """Print the answer of ``model`` on stdout, and on stderr what is waited for.

    Raises:
        MlmError: it fails, or is not what ``manner`` asks for; its ``details`` tell what has come.
        ReaderGone: nobody reads it any more.
    """
    page = _Page(manner)
    pieces = _explained(session, model, answer, page)  # closed when nobody is watched any more
    try:
        try:
            with reader_watched(sys.stdout):
                for delta in pieces:
                    page.write(delta)
        finally:
            page.end()
        value = None if manner.schema is None else parse_answer(answer, manner.schema)
    except MlmError as error:
        if answer.text:
            error.details = {"answer": answer.text}
        raise
    if manner.is_document:
        print_document("run", _to_fields(model, answer, page.thoughts, value))
    elif manner.schema is not None:
        indent = 2 if sys.stdout.isatty() else None  # for people; programs like a value a line
        print_json(value, indent)
    elif not manner.is_streamed:
        page.write_text(answer.text)
        page.end()


class _Page:
    """Where an answer is written; nothing that a model says commands a terminal.

    Its thoughts go to the margin, if there is one: dimmed before the answer, or stderr.
    """

    def __init__(self, manner: Manner) -> None:
        self._out: TextIO = sys.stdout
        is_terminal = self._out.isatty()
        self._is_raw = manner.is_raw and not is_terminal
        self._holds_back = manner.is_document or manner.schema is not None or not manner.is_streamed
        shows = is_terminal if manner.shows_thoughts is None else manner.shows_thoughts
        self._margin = (self._out if is_terminal else sys.stderr) if shows else None
        is_shown = self._margin is not None and self._margin.isatty()
        self._is_dimmed = is_shown and not wants_plain()
        self._text, self._thought = TerminalFilter(), TerminalFilter()
        self._last = self._last_thought = ""  # what was written last of each
        self._thoughts: list[str] = []

    @property
    def thoughts(self) -> str:
        """All that the model thought, shown or not."""
        return "".join(self._thoughts)

    def shows(self, delta: "Delta") -> bool:
        """Tell whether a piece of the answer is seen when it comes."""
        return self._margin is not None if delta.thinking else not self._holds_back

    def write(self, delta: "Delta") -> None:
        """Write the next piece, if it is to be seen now."""
        if delta.thinking:
            self._thoughts.append(delta.text)
            self._write_thought(delta.text)
        elif not self._holds_back:
            self.write_text(delta.text)

    def write_text(self, text: str) -> None:
        """Write a piece of the answer proper."""
        shown = text if self._is_raw else self._text.feed(text)
        if shown:
            self._end_thoughts("\n\n")
            self._last = shown
        _write(self._out, shown)

    def end(self) -> None:
        """End the line that was begun, whatever happened."""
        self._end_thoughts("\n")
        if self._last and not self._last.endswith("\n") and not self._is_raw:
            self._last = "\n"
            _write(self._out, "\n")

    def _write_thought(self, text: str) -> None:
        shown = self._thought.feed(text)
        if self._margin is not None and shown:
            self._last_thought = shown
            _write(self._margin, f"{_DIM}{shown}{_PLAIN}" if self._is_dimmed else shown)

    def _end_thoughts(self, ending: str) -> None:
        if self._margin is not None and self._last_thought:
            _write(self._margin, ending[self._last_thought.endswith("\n") :])
            self._last_thought = ""


def _write(out: TextIO, text: str) -> None:
    out.write(text)
    out.flush()


def _explained(
    session: "Session", model: str, answer: "Recording", page: _Page
) -> "Iterator[Delta]":
    """Yield the pieces of an answer; say what happens while none of them is seen."""
    doing = "reads the prompt"
    with ExitStack() as wait:
        wait.enter_context(waiting_for(session, f"{model} {doing}"))
        for delta in answer:
            is_seen = page.shows(delta)
            now = "" if is_seen else "thinks" if delta.thinking else "answers"
            if now != doing:
                wait.close()
                if now:
                    wait.enter_context(waiting_for(session, f"{model} {now}"))
                doing = now
            yield delta


def _to_fields(model: str, answer: "Recording", thoughts: str, value: Any) -> dict[str, Any]:
    """Return the fields of ``mlm.run/1``; ``value`` is what a schema made of the answer."""
    finished = answer.finished
    return {
        "model": model,
        "answer": answer.text,
        "value": value,
        "thinking": thoughts or None,
        "finish_reason": finished.reason if finished else None,
        "usage": asdict(finished.usage) if finished and finished.usage else None,
        "cache": finished.cache if finished else None,
        "ttft_s": answer.ttft_s,
        "e2e_s": answer.e2e_s,
        "decode_tps": answer.decode_tps,
    }
