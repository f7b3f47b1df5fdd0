"""What the keys of a chat do, beyond what they do in every line editor."""

import signal
from collections.abc import Callable
from dataclasses import dataclass

from prompt_toolkit.application import get_app
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import (
    Condition,
    emacs_insert_mode,
    has_focus,
    vi_navigation_mode,
)
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys

from mlm.repl.paste import MAX_INPUT_CHARS

TOO_LONG = f"more than {MAX_INPUT_CHARS // 1024} KiB: put it into a file, then /attach FILE"


@dataclass(frozen=True, slots=True)
class Acts:
    """What the chat does for some keys."""

    interrupt: Callable[[], None]  # Ctrl-C
    leave: Callable[[], None]  # Ctrl-D
    warn: Callable[[str], None]
    edit: Callable[[], None]  # in the person's own editor


def make_bindings(acts: Acts) -> KeyBindings:
    """Return the bindings; everything else is prompt_toolkit's."""
    bindings = KeyBindings()
    is_typing = has_focus(DEFAULT_BUFFER)
    is_empty = Condition(lambda: not get_app().current_buffer.text)

    @bindings.add("enter", filter=is_typing)
    def _send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @bindings.add("escape", "enter", filter=is_typing)
    def _start_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @bindings.add("c-c")
    @bindings.add("<sigint>")
    def _interrupt(event: KeyPressEvent) -> None:
        acts.interrupt()

    @bindings.add("c-d", filter=is_typing & is_empty)
    def _leave(event: KeyPressEvent) -> None:
        acts.leave()

    @bindings.add("c-z", filter=Condition(lambda: hasattr(signal, "SIGTSTP")))
    def _suspend(event: KeyPressEvent) -> None:
        event.app.suspend_to_background()

    @bindings.add(Keys.BracketedPaste)
    def _paste(event: KeyPressEvent) -> None:
        text = event.data.replace("\r\n", "\n").replace("\r", "\n")
        if len(event.current_buffer.text) + len(text) > MAX_INPUT_CHARS:
            acts.warn(TOO_LONG)
        else:
            event.current_buffer.insert_text(text)

    @bindings.add("c-x", "c-e", filter=emacs_insert_mode)
    @bindings.add("v", filter=vi_navigation_mode)
    def _edit(event: KeyPressEvent) -> None:
        acts.edit()

    return bindings
