"""The conversation and what lies outside of it: files and the clipboard."""

import re
import shlex
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from mlm.errors import DISK_FULL, ConflictError, DiskSpaceError, NotFoundError, UsageError
from mlm.repl.chat import Chat
from mlm.repl.clipboard import copy
from mlm.repl.commands.command import Command
from mlm.repl.conversation import Turn
from mlm.repl.keeper import to_messages
from mlm.sessions.export import to_json, to_markdown
from mlm.sessions.title import make_title
from mlm.terminal import printable

_CODE = re.compile(
    r"^ {0,3}(`{3,}|~{3,})[^\n]*\n(.*?)^ {0,3}\1[`~]*[ \t]*$", re.DOTALL | re.MULTILINE
)


def _save(chat: Chat, name: str) -> str:
    if not chat.conversation.turns:
        raise UsageError("there is nothing to save yet", remedy="ask something first")
    path = Path(name or f"chat-{datetime.now():%Y%m%d-%H%M%S}.md").expanduser()
    said = (chat.keeper.messages if chat.keeper else to_messages)(chat.conversation, chat.model)
    known, first = chat.keeper and chat.keeper.session, chat.conversation.turns[0]
    title = known.title if known else make_title(first.typed or first.question)
    is_json = path.suffix == ".json"
    text = to_json(chat.model, said) if is_json else to_markdown(title, chat.model, said)
    try:
        with path.open("x", encoding="utf-8", errors="replace") as file:
            file.write(text)
    except FileExistsError as error:
        raise ConflictError(f"{path} is there already", remedy="/save OTHER.md") from error
    except OSError as error:
        family = DiskSpaceError if error.errno in DISK_FULL else UsageError
        why = error.strerror or str(error)
        raise family(f"cannot write {path}: {why}", remedy="/save ~/chat.md") from error
    return f"Saved to {path}"


def _attach(chat: Chat, argument: str) -> str:
    if argument == "-":
        chat.attached = ()
        return "Nothing is attached any more."
    if not argument:
        names = [
            f"{file.name}, {file.picture.size}" if file.picture else file.name
            for file in chat.attached
        ]
        return "\n".join(names) or "Nothing is attached; /attach FILE... adds to the next question."
    new = {file.name: file for name in _split(argument) for file in chat.attach(name)}
    chat.attached = (*(file for file in chat.attached if file.name not in new), *new.values())
    return "It goes with the next question; /attach - takes it off."


def _split(argument: str) -> list[str]:
    """Return the names of files; one that is there with its spaces needs no quotes."""
    if Path(argument).expanduser().exists():
        return [argument]
    try:
        return shlex.split(argument)
    except ValueError as error:
        raise UsageError(f"a quote does not end: {argument}", remedy='/attach "my file"') from error


def _copy(chat: Chat, argument: str) -> str:
    what, text = choose_text(chat.conversation.turns, argument)
    return f"{what} ({len(text):,} characters) is on the clipboard, through {copy(text)}"


def choose_text(turns: Sequence[Turn], which: str) -> tuple[str, str]:
    """Return what ``/copy`` copies, in words, and its text without what commands a terminal.

    Raises:
        UsageError, NotFoundError: there is no such answer, or no code in it.
    """
    if not turns:
        raise UsageError("there is nothing to copy yet", remedy="ask something first")
    if which == "code":
        blocks = _CODE.findall(turns[-1].answer)
        if not blocks:
            raise NotFoundError("the last answer holds no code block", remedy="/copy")
        return "The last code block", printable(blocks[-1][1])
    if not which:
        return "The last answer", printable(turns[-1].answer)
    if which.isascii() and which.isdigit() and 0 < int(which[:9]) <= len(turns):
        return f"The answer of turn {int(which)}", printable(turns[int(which) - 1].answer)
    raise UsageError(
        f"'{which[:40]}' is not the number of a turn", remedy="/copy, /copy code or /copy 1"
    )


FILES = (
    Command(
        "attach",
        "[FILE...|-]",
        "add texts or pictures to the next question; - ends that",
        _attach,
        "A folder adds its text files and pictures; patterns as src/**/*.py work.\n"
        "Pictures are PNG, JPEG, GIF and WebP, for a model that takes them.\n"
        'In a question, @FILE or @"my file" does the same.',
    ),
    Command("save", "[FILE]", "write the conversation as Markdown, or as JSON to x.json", _save),
    Command("export", "[FILE]", "the same as /save", _save),
    Command(
        "copy",
        "[N|code]",
        "put an answer or its last code block on the clipboard",
        _copy,
        "/copy        the last answer\n/copy 2      the answer of turn 2\n"
        "/copy code   the last code block of the last answer",
        ("code",),
    ),
)
