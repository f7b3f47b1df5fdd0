"""What can be typed after a slash: one small function per command."""

import errno
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches
from pathlib import Path

from mlm.errors import ConflictError, DiskSpaceError, NotFoundError, UsageError
from mlm.repl.chat import Chat
from mlm.repl.figures import summarise


class Goodbye(Exception):
    """The person wants to leave."""


@dataclass(frozen=True, slots=True)
class Command:
    """``act`` gets the chat and the words after the name, and returns what to print."""

    name: str
    argument: str
    help: str
    act: Callable[[Chat, str], str]


def run_command(chat: Chat, line: str) -> str:
    """Do what ``line`` says (``/save notes.md``) and return what to print.

    Raises:
        NotFoundError: there is no such command.
        Goodbye: it was ``/exit``.
    """
    name, _, argument = line.removeprefix("/").partition(" ")
    for command in COMMANDS:
        if command.name == name:
            return command.act(chat, argument.strip())
    near = get_close_matches(name, [command.name for command in COMMANDS], n=1)
    raise NotFoundError(
        f"there is no command /{name}",
        remedy=f"/{near[0]}" if near else "/help lists them; a space before the / sends the line",
    )


def _help(_chat: Chat, _argument: str) -> str:
    usages = [f"/{command.name} {command.argument}".rstrip() for command in COMMANDS]
    width = max(map(len, usages))
    rows = [
        f"{usage:<{width}}  {command.help}" for usage, command in zip(usages, COMMANDS, strict=True)
    ]
    return "\n".join([*rows, "", *_KEYS])


_KEYS = (
    "Enter sends, Alt-Enter starts a new line, Up and Down walk the history.",
    "Ctrl-C stops an answer, Ctrl-D leaves.",
)


def _model(chat: Chat, name: str) -> str:
    offered = chat.client.models()
    if not name:
        return "\n".join(f"{'*' if model == chat.model else ' '} {model}" for model in offered)
    if name not in offered:
        near = get_close_matches(name, offered, n=3, cutoff=0.4) or offered
        raise NotFoundError(
            f"this server has no model '{name}'", remedy="/model " + " or /model ".join(near)
        )
    chat.model = name
    return f"Now talking with {name}; it knows the conversation so far."


def _system(chat: Chat, text: str) -> str:
    if not text:
        return chat.conversation.system or "There is no system prompt; /system TEXT sets one."
    chat.conversation = chat.conversation.with_system(None if text == "-" else text)
    return "The system prompt is gone." if text == "-" else "The system prompt is set."


def _stats(chat: Chat, _argument: str) -> str:
    return summarise(chat.model, chat.answers)


def _save(chat: Chat, name: str) -> str:
    if not chat.conversation.turns:
        raise UsageError("there is nothing to save yet", remedy="ask something first")
    path = Path(name or f"chat-{datetime.now():%Y%m%d-%H%M%S}.md").expanduser()
    write = chat.conversation.to_json if path.suffix == ".json" else chat.conversation.to_markdown
    try:
        with path.open("x", encoding="utf-8", errors="replace") as file:
            file.write(write(chat.model))
    except FileExistsError as error:
        raise ConflictError(f"{path} is there already", remedy="/save OTHER.md") from error
    except OSError as error:
        family = DiskSpaceError if error.errno == errno.ENOSPC else UsageError
        why = error.strerror or str(error)
        raise family(f"cannot write {path}: {why}", remedy="/save ~/chat.md") from error
    return f"Saved to {path}"


def _clear(chat: Chat, _argument: str) -> str:
    chat.conversation = chat.conversation.cleared()
    return "Forgotten; the system prompt stays."


def _exit(_chat: Chat, _argument: str) -> str:
    raise Goodbye


COMMANDS = (
    Command("help", "", "show this list", _help),
    Command("model", "[NAME]", "show the models of this server, or talk with another one", _model),
    Command("system", "[TEXT|-]", "show the system prompt, set it, or remove it with -", _system),
    Command("stats", "", "show tokens and speed so far", _stats),
    Command("save", "[FILE]", "write the conversation as Markdown, or as JSON to x.json", _save),
    Command("clear", "", "forget the conversation", _clear),
    Command("exit", "", "leave (so does Ctrl-D)", _exit),
)
