"""What a command is."""

from collections.abc import Callable
from dataclasses import dataclass

from mlm.repl.chat import Chat


class Goodbye(Exception):
    """The person wants to leave."""


@dataclass(frozen=True, slots=True)
class Command:
    """``act`` gets the chat and the words after the name, and returns what to print."""

    name: str
    argument: str
    help: str
    act: Callable[[Chat, str], str]
