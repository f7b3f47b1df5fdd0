"""What an answer carries: bytes in memory, a part of a file on disk, or a flood without end."""

import gzip
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class Body(Protocol):
    """``size`` is None where nobody knows before the end."""

    size: int | None

    def pieces(self, step: int) -> Iterator[bytes | memoryview]:
        """Yield the bytes in pieces of at most ``step``, made as they are asked for."""
        ...


@dataclass
class InMemory:
    content: bytes | memoryview

    @property
    def size(self) -> int:
        return len(self.content)

    def pieces(self, step: int) -> Iterator[memoryview]:
        view = memoryview(self.content)
        for start in range(0, len(view), step):
            yield view[start : start + step]


@dataclass
class OnDisk:
    """Of a file: the ``size`` bytes from ``offset`` on, never in memory as a whole."""

    path: Path
    offset: int
    size: int

    def pieces(self, step: int) -> Iterator[bytes]:
        with self.path.open("rb") as file:
            file.seek(self.offset)
            for start in range(0, self.size, step):
                yield file.read(min(step, self.size - start))

    def send_to(self, descriptor: int, step: int, limit: int) -> Iterator[int]:
        """Let the kernel copy at most ``limit`` bytes to a socket; yield how many at a time."""
        with self.path.open("rb") as file:
            sent, end = 0, min(self.size, limit)
            while sent < end:
                count = min(step, end - sent)
                went = os.sendfile(descriptor, file.fileno(), self.offset + sent, count)
                sent += went
                yield went


@dataclass
class Repeated:
    """The same bytes again and again: a flood costs no memory where it comes from."""

    piece: bytes
    times: int

    @property
    def size(self) -> int:
        return len(self.piece) * self.times

    def pieces(self, step: int) -> Iterator[memoryview]:
        for _ in range(self.times):
            yield from InMemory(self.piece).pieces(step)


@dataclass
class Made:
    """Bytes made on the way, which nobody has counted: they go out in chunks."""

    make: Callable[[], Iterator[bytes]]
    size: None = None

    def pieces(self, step: int) -> Iterator[memoryview]:
        for piece in self.make():
            yield from InMemory(piece).pieces(step)


def compress(body: Body) -> Body:
    """Return the body as gzip; of a flood each wave is compressed for itself, as gzip allows."""
    if isinstance(body, Repeated):
        return Repeated(gzip.compress(body.piece), body.times)
    return InMemory(gzip.compress(b"".join(body.pieces(1 << 20))))
