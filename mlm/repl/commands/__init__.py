"""What can be typed after a slash: a file per group of commands, one small function per command."""

from difflib import get_close_matches

from mlm.errors import NotFoundError
from mlm.repl.chat import Chat
from mlm.repl.commands.asking import ASKING
from mlm.repl.commands.command import Command, Goodbye, Outcome
from mlm.repl.commands.context import CONTEXT
from mlm.repl.commands.files import FILES
from mlm.repl.commands.sessions import SESSIONS
from mlm.repl.commands.thinking import THINKING
from mlm.repl.commands.turns import TURNS

__all__ = ["COMMANDS", "Command", "Goodbye", "Outcome", "run_command"]

_KEYS = (
    "@FILE in a question sends that file with it.",
    "Enter sends, Alt-Enter starts a new line, Up and Down walk the history.",
    "Ctrl-C stops an answer, Ctrl-D leaves.",
)


def run_command(chat: Chat, line: str) -> Outcome:
    """Do what ``line`` says (``/save notes.md``); return what comes of it.

    Raises:
        NotFoundError: there is no such command.
        Goodbye: it was ``/exit``.
    """
    chat.draft = None
    name, _, argument = line.removeprefix("/").partition(" ")
    return _find(name).act(chat, argument.strip())


def _find(name: str) -> Command:
    for command in COMMANDS:
        if command.name == name:
            return command
    near = get_close_matches(name, [command.name for command in COMMANDS], n=1)
    raise NotFoundError(
        f"there is no command /{name}",
        remedy=f"/{near[0]}" if near else "/help lists them; a space before the / sends the line",
    )


def _help(_chat: Chat, name: str) -> str:
    if name:
        command = _find(name.removeprefix("/"))
        usage = f"/{command.name} {command.argument}".rstrip()
        return f"{usage}\n{_sentence(command.help)}" + f"\n\n{command.details}".rstrip()
    usages = [f"/{command.name} {command.argument}".rstrip() for command in COMMANDS]
    width = max(map(len, usages))
    rows = [
        f"{usage:<{width}}  {command.help}" for usage, command in zip(usages, COMMANDS, strict=True)
    ]
    return "\n".join([*rows, "", *_KEYS])


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _exit(_chat: Chat, _argument: str) -> str:
    raise Goodbye


COMMANDS = (
    Command("help", "[COMMAND]", "show this list, or more on one command", _help),
    *ASKING,
    *TURNS,
    *CONTEXT,
    *FILES,
    *SESSIONS,
    *THINKING,
    Command("exit", "", "leave (so does Ctrl-D)", _exit),
)
