"""A terminal's keys, with an end to how much one paste may hold."""

import sys
from typing import TextIO

from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.key_binding.key_processor import KeyPress
from prompt_toolkit.keys import Keys

MAX_INPUT_CHARS = 256 * 1024  # of one question; more belongs into a file
_END = "\x1b[201~"


class BoundedParser(Vt100Parser):
    """Keeps no more of a paste than may be kept, and looks for its end in new text only.

    A paste that is too long arrives as a ``BracketedPaste`` of ``MAX_INPUT_CHARS`` + 1 characters.
    """

    def reset(self, request: bool = False) -> None:
        """Forget everything that came."""
        super().reset(request)
        self._pasted: list[str] = []
        self._kept = 0
        self._last = ""  # what may be the beginning of the end

    def feed(self, data: str) -> None:
        """Take the next piece of what the terminal sends."""
        if not self._in_bracketed_paste:
            super().feed(data)
            return
        text, mark, rest = (self._last + data).partition(_END)
        if not mark:
            held = len(_END) - 1
            text, self._last = text[:-held], text[-held:]
        if kept := text[: MAX_INPUT_CHARS + 1 - self._kept]:
            self._pasted.append(kept)
            self._kept += len(kept)
        if mark:
            pasted = "".join(self._pasted)
            self._pasted, self._kept, self._last = [], 0, ""
            self._in_bracketed_paste = False
            self.feed_key_callback(KeyPress(Keys.BracketedPaste, pasted))
            self.feed(rest)


def open_input(stdin: TextIO = sys.stdin) -> Vt100Input:
    """Return the keys of a terminal."""
    keys = Vt100Input(stdin)
    keys.vt100_parser = BoundedParser(keys.vt100_parser.feed_key_callback)
    return keys
