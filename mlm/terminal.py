"""What may reach a terminal of text that somebody else wrote: models, files, servers.

A terminal obeys escape sequences: they rename its window, fill the clipboard, hide or reorder text
(ECMA-48, xterm's control sequences; for the bidirectional overrides, "Trojan Source", 2021).
"""

import re
from typing import Literal

State = Literal["text", "escape", "intermediate", "csi", "string"]

# C0 but newline and tab, DEL, C1, bidirectional overrides and isolates, lone surrogates.
_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_OPENERS: dict[str, State] = {
    "\x1b": "escape",
    "\x9b": "csi",
    "\x90": "string",  # DCS
    "\x98": "string",  # SOS
    "\x9d": "string",  # OSC
    "\x9e": "string",  # PM
    "\x9f": "string",  # APC
}
_TERMINATORS = "\x07\x9c"  # of strings: BEL, ST
_ABORTERS = "\x18\x1a"  # of any sequence: CAN, SUB
_AFTER_ESCAPE: dict[str, State] = {
    "[": "csi",
    "P": "string",
    "X": "string",
    "]": "string",
    "^": "string",
    "_": "string",
}


class TerminalFilter:
    """Drops escape sequences and control characters from a text that comes in pieces.

    A sequence may be cut anywhere between two pieces. One that never ends swallows no more than
    the rest of its line.
    """

    def __init__(self) -> None:
        self._state: State = "text"

    def feed(self, piece: str) -> str:
        """Return what of the next piece is safe to print."""
        safe: list[str] = []
        position = 0
        while position < len(piece):
            if self._state == "text":
                unsafe = _UNSAFE.search(piece, position)
                end = unsafe.start() if unsafe else len(piece)
                safe.append(piece[position:end])
                if unsafe:
                    self._state = _OPENERS.get(unsafe[0], "text")
                position = end + 1
            elif self._swallow(piece[position]):
                position += 1
        return "".join(safe)

    def _swallow(self, char: str) -> bool:
        """Take ``char`` as the next one of the sequence; False if it is text and ends it."""
        if char in _OPENERS:
            self._state = _OPENERS[char]
            return True
        if char == "\n":
            self._state = "text"
            return False
        if char in _ABORTERS:
            self._state = "text"
            return True
        if self._state == "string":
            if char in _TERMINATORS:
                self._state = "text"
            return True
        if char < " " or char == "\x7f":  # obeyed inside a sequence, which goes on after it
            return True
        if self._state == "escape" and char in _AFTER_ESCAPE:
            self._state = _AFTER_ESCAPE[char]
            return True
        if " " <= char <= "/":
            self._state = "csi" if self._state == "csi" else "intermediate"
            return True
        if self._state == "csi" and "0" <= char <= "?":
            return True
        self._state = "text"
        return "0" <= char <= "~"  # the final byte


def printable(text: str) -> str:
    """Return a whole ``text`` without what could command a terminal."""
    return TerminalFilter().feed(text)


def printable_json(text: str) -> str:
    """Return JSON ``text`` that means the same, with every control character written as \\uXXXX."""
    return _UNSAFE.sub(lambda unsafe: f"\\u{ord(unsafe[0]):04x}", text)
