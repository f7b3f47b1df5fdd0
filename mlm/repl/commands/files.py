"""The conversation and files."""

import errno
from datetime import datetime
from pathlib import Path

from mlm.errors import ConflictError, DiskSpaceError, UsageError
from mlm.repl.chat import Chat
from mlm.repl.commands.command import Command


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


FILES = (
    Command("save", "[FILE]", "write the conversation as Markdown, or as JSON to x.json", _save),
)
