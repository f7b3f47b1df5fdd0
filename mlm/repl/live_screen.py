"""The screen of a terminal that can move its cursor: Markdown as it comes, above the input."""

from collections.abc import Callable, Iterable

from mlm.client import Delta, Recording
from mlm.errors import MlmError
from mlm.repl.application import ChatApplication, echo
from mlm.repl.figures import remarkable
from mlm.repl.markdown import parts_of
from mlm.repl.recall import ANSWER_LINES, QUESTION_LINES, asked, describe_session, latest
from mlm.repl.rendering import Line, render, wrap_rows, wrap_words
from mlm.repl.view import DIM, AnswerView
from mlm.sessions.types import Session
from mlm.terminal import printable


class LiveScreen:
    """Writes through the application, which knows where the input is. Speeds are in its status."""

    def __init__(self, application: ChatApplication, ask_why: Callable[[], str]) -> None:
        self._application = application
        self._ask_why = ask_why  # the first token is not there yet

    def stream(self, deltas: Iterable[Delta]) -> None:
        """Draw an answer piece by piece.

        Raises:
            KeyboardInterrupt: the person has stopped it.
        """
        view = AnswerView()
        try:
            with self._application.showing(view, self._ask_why):
                for delta in deltas:
                    view.feed(delta)
                    if self._application.is_stopped:
                        raise KeyboardInterrupt
        except MlmError as error:
            if self._application.is_stopped:  # and so the connection is cut
                raise KeyboardInterrupt from error
            if view.tokens:
                self._application.print([[]])
            raise

    def conclude(self, answer: Recording) -> None:
        """Say what is out of the ordinary with an answer, and make room for the next question."""
        if remark := remarkable(answer):
            self.remark(remark)
        else:
            self._application.print([[]])

    def show(self, text: str) -> None:
        """Write what a command found."""
        if text:
            rows = wrap_rows(printable(text), self._application.width)
            self._application.print([*([("", row)] for row in rows), []])

    def remind(self, session: Session) -> None:
        """Write how a saved conversation ended, which goes on now."""
        title, which = describe_session(session)
        heading = [*self._wrap("", "", title, "bold"), *self._wrap("", "", which, DIM), []]
        self._application.print(heading)
        width = self._application.width
        for message in latest(session):
            if message.role == "user":
                text = printable(asked(message))
                self._application.print(echo(text, most=QUESTION_LINES))
            else:
                lines = list(render(parts_of(printable(message.text)), width, is_first=True))
                more: list[Line] = [[(DIM, "…")]] if len(lines) > ANSWER_LINES else []
                self._application.print([*lines[:ANSWER_LINES], *more, []])

    def remark(self, text: str) -> None:
        """Write something about the chat."""
        self._print(text, DIM)

    def fail(self, error: MlmError) -> None:
        """Write what went wrong and what to do about it."""
        lines = self._wrap("error: ", "ansired", error.message, "")
        if error.remedy:
            lines += self._wrap("hint: ", DIM, error.remedy, DIM)
        self._application.print([*lines, []])

    def _print(self, text: str, style: str) -> None:
        self._application.print([*self._wrap("", "", text, style), []])

    def _wrap(self, head: str, head_style: str, text: str, style: str) -> list[Line]:
        """Return ``text`` after ``head`` as lines that fit the terminal."""
        first, *more = wrap_words(head + printable(text), self._application.width)
        return [
            [(head_style, first[: len(head)]), (style, first[len(head) :])],
            *([(style, line)] for line in more),
        ]
