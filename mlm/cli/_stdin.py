"""Text from a pipe: read once, checked before a model sees it."""

import codecs
import sys
from collections.abc import Callable, Iterator
from typing import BinaryIO

from mlm.errors import UsageError

MAX_TEXT_BYTES = 8 * 1024 * 1024  # the server takes no longer body
_MOST_BROKEN = 0.1  # of the characters; with more it is no text in UTF-8 at all

Note = Callable[[str], None]


class TooMuchText(UsageError):
    """There is more text than any request may hold."""

    code = "too_much_text"


def is_piped() -> bool:
    """Tell whether somebody else than a person at a terminal writes to stdin."""
    return sys.stdin is not None and not sys.stdin.isatty()


def read_text(note: Note) -> str:
    """Return everything on stdin; no more than `MAX_TEXT_BYTES` are ever read of it.

    Raises:
        UsageError: it is not text.
        TooMuchText: it is too long for any model.
    """
    return decode(sys.stdin.buffer.read(MAX_TEXT_BYTES + 1), "stdin", note)


def read_lines(note: Note) -> Iterator[str]:
    """Yield the lines on stdin as they come; raises as `read_text`."""
    stream: BinaryIO = sys.stdin.buffer
    while line := stream.readline(MAX_TEXT_BYTES + 1):
        yield decode(line, "stdin", note)


def decode(data: bytes, source: str, note: Note) -> str:
    """Return bytes of ``source`` as text. What is not UTF-8 becomes U+FFFD, and ``note`` says so.

    Raises:
        UsageError: it is not text.
        TooMuchText: it is too long for any model.
    """
    if len(data) > MAX_TEXT_BYTES:
        raise TooMuchText(
            f"{source} holds more than {MAX_TEXT_BYTES // 1024**2} MiB, the most a request may",
            remedy="send a part of it",
        )
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise UsageError(f"{source} is UTF-16", remedy="convert it: iconv -f utf-16 -t utf-8")
    if b"\0" in data:
        raise UsageError(f"{source} is binary, not text", remedy="send text")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        return _repaired(data, source, error.start, note)


def _repaired(data: bytes, source: str, first: int, note: Note) -> str:
    text = data.decode("utf-8-sig", "replace")
    n_broken = text.count("\ufffd") - data.count("\ufffd".encode())
    if n_broken > _MOST_BROKEN * len(text):
        raise UsageError(
            f"{source} is not UTF-8 text (byte {first})",
            remedy="convert it first, for example with iconv -f latin1 -t utf-8",
        )
    note(f"note: {source} is not all UTF-8 (byte {first} …): {n_broken} U+FFFD stand for the rest")
    return text
