"""Typing a question: what was typed before, and what could be meant."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, History, InMemoryHistory

from mlm.repl.commands import COMMANDS

CONTINUATION = "... "
Names = Callable[[], Sequence[tuple[str, str]]]  # models, each with what is known of it

_FILES_AFTER = ("attach", "save", "export")


class ChatCompleter(Completer):
    """Completes ``/commands``, the model or the file after one, and the file after an ``@``."""

    def __init__(self, list_names: Names) -> None:
        self._list_names = list_names
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterator[Completion]:
        """Yield what could stand at the cursor."""
        text = document.text_before_cursor
        name, space, argument = text.partition(" ")
        if text.startswith("/") and not space:
            yield from _commands(name)
        elif name == "/model":
            yield from self._models(argument)
        elif name in [f"/{command}" for command in _FILES_AFTER]:
            yield from self._paths.get_completions(Document(argument), event)
        elif choices := _choices(name):
            for choice in choices:
                if choice.startswith(argument):
                    yield Completion(choice, start_position=-len(argument))
        elif is_naming_file(text):
            path = text.split()[-1][1:]
            yield from self._paths.get_completions(Document(path), event)

    def _models(self, begun: str) -> Iterator[Completion]:
        for name, meta in self._list_names():
            if name.startswith(begun) and name.isprintable():
                yield Completion(name, start_position=-len(begun), display_meta=meta)


def _commands(begun: str) -> Iterator[Completion]:
    for command in COMMANDS:
        name = f"/{command.name}"
        if name.startswith(begun):
            yield Completion(name, start_position=-len(begun), display_meta=command.help)


def _choices(name: str) -> Sequence[str]:
    """Return the words that may come after a command."""
    if name == "/help":
        return [command.name for command in COMMANDS]
    return next((c.choices for c in COMMANDS if f"/{c.name}" == name), ())


def is_completing(document: Document) -> bool:
    """Tell whether completions are shown without being asked for."""
    text = document.text_before_cursor
    return (text.startswith("/") and "\n" not in text) or is_naming_file(text)


def is_naming_file(text: str) -> bool:
    """Tell whether ``text`` ends in an ``@`` and what may become the name of a file."""
    last = text.rsplit(None, 1)[-1] if text.strip() and not text[-1].isspace() else ""
    return last.startswith("@")


def open_history(file: Path) -> History:
    """Return the history in ``file``, for its owner's eyes only; in memory if it cannot be."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.open("ab").close()
    except OSError:
        return InMemoryHistory()
    return _ForgivingHistory(str(file))


class _ForgivingHistory(FileHistory):
    """A history whose file may become impossible to write: the chat goes on."""

    def store_string(self, string: str) -> None:
        """Keep a line."""
        with suppress(OSError):
            super().store_string(string)
