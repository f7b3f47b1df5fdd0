"""What a command is."""

from collections.abc import Callable
from dataclasses import dataclass

from mlm.repl.chat import Chat
from mlm.repl.question import Question
from mlm.sessions.types import Session

Outcome = str | Question | Session  # to print, to ask, to remind of


class Goodbye(Exception):
    """The person wants to leave."""


@dataclass(frozen=True, slots=True)
class Command:
    """``act`` gets the chat and the words after the name."""

    name: str
    argument: str
    help: str
    act: Callable[[Chat, str], Outcome]
    details: str = ""  # what ``/help NAME`` tells beside that
    choices: tuple[str, ...] = ()  # words that may come first after it, for a Tab
