"""Where a header's bytes come from, and a window that moves forward over them."""

import os
import stat
import struct
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from mlm.errors import NotFoundError
from mlm.gguf.errors import GGUFError
from mlm.units import MIB, format_size

# The largest real headers (vocabularies of 256k tokens with merges) have 16 MiB.
MAX_HEADER_BYTES = 64 * MIB
_FIRST_STEP, _LAST_STEP = MIB, 4 * MIB  # of a header of 16 MiB no more than 19 are read


class ByteSource(Protocol):
    """Something of known size that can be read in pieces: a file, or a range of a remote one."""

    @property
    def size(self) -> int:
        """Bytes in all."""
        ...

    def read(self, offset: int, length: int) -> bytes:
        """Return the ``length`` bytes from ``offset``; fewer only at the end."""
        ...


class FileSource:
    """A local file as a ByteSource; close it, or use it in a ``with`` statement.

    Raises:
        NotFoundError: there is no such file.
        GGUFError: it is not a regular file, or may not be read.
    """

    def __init__(self, path: Path) -> None:
        try:
            # O_NONBLOCK: opening a pipe would wait for a writer for ever.
            self._fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        except FileNotFoundError:
            raise NotFoundError(f"there is no file {path}", remedy="mlm list") from None
        except OSError as error:
            raise GGUFError(f"cannot open {path}: {error.strerror}") from error
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            os.close(self._fd)
            raise GGUFError(f"{path} is not a file", remedy="name a .gguf file")
        self._path = path
        self.size = status.st_size

    def read(self, offset: int, length: int) -> bytes:
        """Return the ``length`` bytes from ``offset``; fewer only at the end of the file."""
        try:
            os.lseek(self._fd, offset, os.SEEK_SET)
            parts = []
            while length > 0 and (part := os.read(self._fd, length)):
                parts.append(part)
                length -= len(part)
        except OSError as error:
            raise GGUFError(f"cannot read {self._path}: {error.strerror}") from error
        return b"".join(parts)

    def close(self) -> None:
        """Give the file back."""
        os.close(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Window:
    """The part of a source that is being parsed. It reads ahead in growing steps: few requests
    for a long remote header, few bytes for a short one; what has been parsed is let go.

    ``buffer[position]`` is the next byte; a parser in a hurry may move ``position`` itself, as
    long as it calls `require` before it reads.
    """

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._step = _FIRST_STEP
        self.buffer = b""
        self.position = 0
        self._base = 0  # offset in the file of buffer[0]

    @property
    def offset(self) -> int:
        """The place of the next byte in the file."""
        return self._base + self.position

    @property
    def left(self) -> int:
        """Bytes of the file from here on."""
        return self._source.size - self.offset

    def require(self, length: int, what: str) -> None:
        """Make the next ``length`` bytes available in ``buffer``.

        Raises:
            GGUFError: the file ends first, or the header is larger than any real one.
        """
        if self.position + length <= len(self.buffer):
            return
        offset = self.offset
        if offset + length > self._source.size:
            raise truncated(what, self._source.size)
        if offset + length > MAX_HEADER_BYTES:
            raise GGUFError(
                f"its header is larger than {format_size(MAX_HEADER_BYTES)}, no model's is"
            )
        kept = self.buffer[self.position :]
        wanted = max(length - len(kept), min(self._step, self._source.size - offset - len(kept)))
        self.buffer = kept + self._source.read(offset + len(kept), wanted)
        self._base, self.position = offset, 0
        self._step = min(self._step * 2, _LAST_STEP)
        if len(self.buffer) < length:
            raise truncated(what, self._source.size)

    def take(self, length: int, what: str) -> bytes:
        """Return the next ``length`` bytes and move past them."""
        self.require(length, what)
        start = self.position
        self.position = start + length
        return self.buffer[start : self.position]

    def skip(self, length: int, what: str) -> None:
        """Move past ``length`` bytes without reading what is not here yet."""
        if length > self.left:
            raise truncated(what, self._source.size)
        self.position += length
        if self.position > len(self.buffer):
            self._base, self.buffer, self.position = self.offset, b"", 0

    def unpack(self, layout: struct.Struct, what: str) -> tuple[int, ...]:
        """Return the next fields as ``layout`` has them."""
        return layout.unpack(self.take(layout.size, what))


def truncated(what: str, size: int) -> GGUFError:
    """Return the error for a file that ends too early."""
    return GGUFError(
        f"the file is cut off: its {format_size(size)} end inside {what}",
        remedy="download it again: mlm download REF --force",
    )
