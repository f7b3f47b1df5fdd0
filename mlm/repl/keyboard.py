"""Typing a question: history, editing, several lines, completion."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from mlm.errors import MlmError
from mlm.repl.commands import COMMANDS

PROMPT, CONTINUATION = ">>> ", "... "


class PromptKeyboard:
    """A person's keyboard. Enter sends, Alt-Enter starts a line, a pasted text keeps its lines."""

    def __init__(self, history_file: Path, list_models: Callable[[], Sequence[str]]) -> None:
        self._prompt: PromptSession[str] = PromptSession(
            PROMPT,
            multiline=True,
            prompt_continuation=CONTINUATION,
            key_bindings=_key_bindings(),
            history=_open_history(history_file),
            completer=SlashCompleter(list_models),
            complete_while_typing=Condition(lambda: get_app().current_buffer.text.startswith("/")),
            enable_open_in_editor=True,
        )

    def read(self, draft: str = "") -> str:
        """Return what was typed; KeyboardInterrupt for Ctrl-C, EOFError for Ctrl-D."""
        return self._prompt.prompt(default=draft)


class SlashCompleter(Completer):
    """Completes ``/commands``, the model after ``/model`` and the file after ``/save``."""

    def __init__(self, list_models: Callable[[], Sequence[str]]) -> None:
        self._list_models = list_models
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterator[Completion]:
        """Yield what could stand at the cursor."""
        name, space, argument = document.text_before_cursor.partition(" ")
        if not name.startswith("/"):
            return
        if not space:
            for command in COMMANDS:
                if command.name.startswith(name[1:]):
                    yield Completion(
                        f"/{command.name}", start_position=-len(name), display_meta=command.help
                    )
        elif name == "/model":
            for model in self._offered():
                if model.startswith(argument):
                    yield Completion(model, start_position=-len(argument))
        elif name == "/save":
            yield from self._paths.get_completions(Document(argument), event)

    def _offered(self) -> Sequence[str]:
        try:
            return self._list_models()
        except MlmError:
            return ()  # a server that is gone shows with the next question


def _key_bindings() -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("enter")
    def _send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @bindings.add("escape", "enter")
    def _start_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return bindings


def _open_history(file: Path) -> History:
    """Return the history in ``file``, for its owner's eyes only; in memory if it cannot be."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode=0o600)
        file.open("ab").close()
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(file))
