"""A terminal's keys, with an end to how much one paste may hold."""

import sys
import time
from typing import TextIO

from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.key_binding.key_processor import KeyPress
from prompt_toolkit.keys import Keys

MAX_INPUT_CHARS = 256 * 1024  # of one question; more belongs into a file
_END = "\x1b[201~"
_AT_A_TIME_S = 0.02  # of reading a paste, before the rest of the chat has its turn
_READ_BYTES = 64 * 1024


class BoundedParser(Vt100Parser):
    """Keeps no more of a paste than may be kept, and looks for its end in new text only.

    A paste that is too long arrives as a ``BracketedPaste`` of ``MAX_INPUT_CHARS`` + 1 characters:
    as soon as that is known, and again at its end, which may be minutes later.
    """

    def reset(self, request: bool = False) -> None:
        """Forget everything that came."""
        super().reset(request)
        self._pasted: list[str] = []
        self._kept = 0
        self._last = ""  # what may be the beginning of the end

    @property
    def is_pasting(self) -> bool:
        """Whether a paste has begun and not ended."""
        return self._in_bracketed_paste

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
            if self._kept > MAX_INPUT_CHARS and not mark:
                self._press()
        if mark:
            self._press()
            self._pasted, self._kept, self._last = [], 0, ""
            self._in_bracketed_paste = False
            self.feed(rest)

    def _press(self) -> None:
        self.feed_key_callback(KeyPress(Keys.BracketedPaste, "".join(self._pasted)))


class PatientInput(Vt100Input):
    """Keys of which a paste is read without starting anew for each piece of it."""

    def __init__(self, stdin: TextIO) -> None:
        super().__init__(stdin)
        self._parser = self.vt100_parser = BoundedParser(self.vt100_parser.feed_key_callback)

    def read_keys(self) -> list[KeyPress]:
        """Return the keys that were pressed since the last time."""
        until = time.monotonic() + _AT_A_TIME_S
        keys = super().read_keys()
        while self._parser.is_pasting and not keys and time.monotonic() < until:
            if not (more := self.stdin_reader.read(_READ_BYTES)):
                break
            self._parser.feed(more)
            keys, self._buffer = self._buffer, keys
        return keys


def open_input(stdin: TextIO = sys.stdin) -> PatientInput:
    """Return the keys of a terminal."""
    return PatientInput(stdin)
