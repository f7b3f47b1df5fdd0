"""Text from a pipe: read once, checked before a model sees it."""

import sys
from collections.abc import Iterator
from typing import BinaryIO

from mlm.errors import UsageError

MAX_TEXT_BYTES = 8 * 1024 * 1024  # the server takes no longer body


def is_piped() -> bool:
    """Tell whether somebody else than a person at a terminal writes to stdin."""
    return sys.stdin is not None and not sys.stdin.isatty()


def read_text() -> str:
    """Return everything on stdin.

    Raises:
        UsageError: it is not text, or too long for any model.
    """
    data = sys.stdin.buffer.read(MAX_TEXT_BYTES + 1)
    return _decode(data)


def read_lines() -> Iterator[str]:
    """Yield the lines on stdin as they come; raises as `read_text`."""
    stream: BinaryIO = sys.stdin.buffer
    while line := stream.readline(MAX_TEXT_BYTES + 1):
        yield _decode(line)


def _decode(data: bytes) -> str:
    if len(data) > MAX_TEXT_BYTES:
        raise UsageError(
            f"stdin holds more than {MAX_TEXT_BYTES // 1024**2} MiB", remedy="send a part of it"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"stdin is not UTF-8 text (byte {error.start})",
            remedy="convert it first, for example with iconv -t utf-8",
        ) from error
    if "\0" in text:
        raise UsageError("stdin is binary, not text", remedy="send text")
    return text
