"""Text from pipes, and from files that options name: checked before a model sees it."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from mlm import text
from mlm.errors import NotFoundError, UsageError
from mlm.pictures import MAX_PICTURE_BYTES, media_type

MAX_TEXT_BYTES = 8 * 1024 * 1024  # the server takes no longer body

Note = Callable[[str], None]


class TooMuchText(UsageError):
    """There is more text than any request may hold."""

    code = "too_much_text"


def is_piped() -> bool:
    """Tell whether somebody else than a person at a terminal writes to stdin."""
    return sys.stdin is not None and not sys.stdin.isatty()


def read_stdin() -> bytes:
    """Return everything on stdin, if that is too much for any model only a part of it."""
    data = sys.stdin.buffer.read(MAX_TEXT_BYTES + 1)
    if media_type(data) is not None:  # it may be large, as it is made smaller
        data += sys.stdin.buffer.read(MAX_PICTURE_BYTES)
    return data


def read_lines(note: Note) -> Iterator[str]:
    """Yield the lines on stdin as they come; raises as `decode`."""
    stream: BinaryIO = sys.stdin.buffer
    while line := stream.readline(MAX_TEXT_BYTES + 1):
        if line.startswith(text.UTF16_MARKS):  # its lines end elsewhere
            raise UsageError("stdin is UTF-16", remedy="convert it: iconv -f utf-16 -t utf-8")
        yield decode(line, "stdin", note)


def read_file(path: Path) -> bytes:
    """Return what a file or a pipe holds, if that is more than `MAX_TEXT_BYTES` only one more.

    Raises:
        NotFoundError: there is no such file.
        UsageError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_TEXT_BYTES + 1)
    except FileNotFoundError as error:
        raise NotFoundError(f"there is no file {path}", remedy=f"ls {path.parent}") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"cannot read {path}: {reason}", remedy=f"ls -l {path}") from error


def decode(data: bytes, source: str, note: Note) -> str:
    """Return bytes of ``source`` as text; ``note`` is told of what is not quite text.

    Raises:
        UsageError: it is not text.
        TooMuchText: it is too long for any model.
    """
    if len(data) > MAX_TEXT_BYTES:
        raise TooMuchText(
            f"{source} holds more than {MAX_TEXT_BYTES // 1024**2} MiB, the most a request may",
            remedy="send a part of it",
        )
    decoded, remark = text.decode(data, source)
    if remark:
        note(f"note: {source}: {remark}")
    return decoded
