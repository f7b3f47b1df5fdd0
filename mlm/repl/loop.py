"""Question, answer, question: with a person at a terminal, or with the lines of a pipe."""

from collections.abc import Iterable
from contextlib import closing
from typing import Protocol

from mlm.client import Delta, Recording
from mlm.errors import MlmError, NetworkError
from mlm.repl.chat import Chat
from mlm.repl.commands import Goodbye, Outcome, run_command
from mlm.sessions.types import Session

PROMPT = ">>> "


class Keyboard(Protocol):
    """Where questions come from; `mlm.repl.application` is the real one."""

    def read(self, draft: str = "") -> str:
        """Return what was typed, or made of ``draft``, which stands in the input to begin with.

        Raises:
            KeyboardInterrupt: it was Ctrl-C.
            EOFError: it was Ctrl-D.
        """


class ChatScreen(Protocol):
    """Where a chat is written: `mlm.repl.screen` or `mlm.repl.live_screen`."""

    def stream(self, deltas: Iterable[Delta]) -> None:
        """Write an answer piece by piece."""

    def conclude(self, answer: Recording) -> None:
        """Write what is to be said of an answer that is complete."""

    def show(self, text: str) -> None:
        """Write what a command found."""

    def remind(self, session: Session) -> None:
        """Write how a saved conversation ended, which goes on now."""

    def remark(self, text: str) -> None:
        """Write something about the chat."""

    def fail(self, error: MlmError) -> None:
        """Write what went wrong and what to do about it."""


class PlainKeyboard:
    """The keyboard of a terminal that cannot move its cursor: a line at a time."""

    def read(self, draft: str = "") -> str:
        """Return what was typed; there is no way to change a draft."""
        return input(PROMPT)


def talk(chat: Chat, keyboard: Keyboard, screen: ChatScreen, before: Session | None = None) -> None:
    """Chat until the person leaves. No failure ends it, and Ctrl-C only stops an answer.

    The person is reminded of what was said ``before``.
    """
    chat.say, chat.reads_files = screen.remark, True
    if before is not None:
        screen.remind(before)
    screen.remark(f"{chat.model} listens. /help lists the commands, Ctrl-D leaves.")
    while True:
        try:
            line = keyboard.read(chat.draft.editable if chat.draft else "")
        except KeyboardInterrupt:
            chat.draft = None
            screen.remark("Ctrl-D leaves.")
            continue
        except EOFError:
            return
        answers = len(chat.answers)
        try:
            respond(chat, line, screen)
        except KeyboardInterrupt:
            screen.remark("stopped")
        except MlmError as error:
            if len(chat.answers) > answers:  # what came of it was kept
                error.remedy = "/retry asks again; what came of the answer is kept"
            elif isinstance(error, NetworkError):
                error.remedy = f"/retry asks again; if its server has ended, {_way_back(chat)}"
            screen.fail(error)
        except Goodbye:
            return


def _way_back(chat: Chat) -> str:
    """Return how to go on with another server."""
    keeper = chat.keeper
    if keeper is not None and keeper.is_saving and keeper.session is not None:
        return f"leave, and `mlm chat --session {keeper.session.id}` goes on"
    ref = keeper.ref_of(chat.model) if keeper is not None else chat.model
    return f"leave, and `mlm chat {ref}` starts another"


def talk_in_pipe(chat: Chat, lines: Iterable[str], screen: ChatScreen) -> None:
    """Answer line after line of one conversation; the first failure ends it."""
    for line in lines:
        try:
            respond(chat, line, screen)
        except Goodbye:
            return


def respond(chat: Chat, line: str, screen: ChatScreen) -> None:
    """Do what a line asks: a command after a slash, nothing if it is empty, else a question."""
    try:
        _respond(chat, line, screen)
    finally:
        chat.keep()


def _respond(chat: Chat, line: str, screen: ChatScreen) -> None:
    outcome = _read(chat, line)
    if isinstance(outcome, str):
        screen.show(outcome)
        return
    if isinstance(outcome, Session):
        screen.remind(outcome)
        return
    with closing(chat.ask(outcome)) as deltas:
        screen.stream(deltas)
    screen.conclude(chat.answers[-1])


def _read(chat: Chat, line: str) -> Outcome:
    if line.startswith("/"):
        return run_command(chat, line.strip())
    if typed := line.strip():
        return chat.read_question(typed)
    chat.draft = None
    return ""
