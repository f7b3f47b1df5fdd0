"""Hashes a file in order while it arrives in any order: one thread that follows from the start.

The piece that comes next is hashed from memory, while the processor's cache still holds it; what
came ahead of its turn is read back from the page cache, 512 MiB behind the writers at most.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence

from mlm.store.digest import CHUNK_BYTES, Digest
from mlm.units import KIB

PIECE_BYTES = 512 * KIB  # written, noted and hashed at a time
_PIECES = 24  # in memory at once: one for each connection, and some that wait to be hashed

ReadInto = Callable[[memoryview, int], int]  # fill from that offset of the file on; how many bytes
OnPrefix = Callable[[bytes], None]


class Piece:
    """Some bytes of a file in memory. It belongs to whoever got it, until it is given back."""

    def __init__(self) -> None:
        self.buffer = memoryview(bytearray(PIECE_BYTES))
        self.offset = 0
        self.count = 0

    def fill(self, offset: int, content: memoryview) -> None:
        """Put ``content`` in, which belongs at ``offset``."""
        self.offset, self.count = offset, len(content)
        self.buffer[: self.count] = content

    @property
    def bytes(self) -> memoryview:
        """What is in it."""
        return self.buffer[: self.count]

    @property
    def stop(self) -> int:
        """Where in the file the byte behind it belongs."""
        return self.offset + self.count


class Hasher:
    """Hashes what is there of a file of ``size`` bytes. Close it, or its thread stays.

    ``promised`` are prefixes from an earlier run. When the file does not lead to one of them any
    more, hashing stops, and ``rotten`` is the offset of the chunk that is not what it was.
    """

    def __init__(
        self, digest: Digest, read_into: ReadInto, promised: Sequence[bytes], on_prefix: OnPrefix
    ) -> None:
        self.rotten: int | None = None
        self._digest = digest
        self._read_into = read_into
        self._promised = promised
        self._on_prefix = on_prefix
        self._change = threading.Condition()
        self._free: list[Piece] = []
        self._unmade = _PIECES  # pieces that may still be made
        self._queue: deque[Piece] = deque()  # the next ones, in order
        self._reached = 0  # everything before is in the file
        self._next = 0  # everything before has been hashed, is being hashed, or waits in the queue
        self._closing = False
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="hash", daemon=True)
        self._thread.start()

    @property
    def hashed(self) -> int:
        """Bytes from the start that have been hashed."""
        return self._digest.hashed

    def get_piece(self) -> Piece:
        """Return an empty piece; wait for one while hashing is behind.

        Raises:
            OSError: hashing has failed, so that there will never be one.
        """
        with self._change:
            self._change.wait_for(lambda: self._free or self._unmade or self._stopped)
            if self._failure:
                raise self._failure
            if self._free:
                return self._free.pop()
            self._unmade -= 1
            return Piece()

    def give_back(self, piece: Piece) -> None:
        """Take back a piece whose bytes are not needed any more."""
        with self._change:
            self._free.append(piece)
            self._change.notify_all()

    def take(self, piece: Piece, reached: int) -> None:
        """Take a piece that has been written; everything before ``reached`` is in the file now."""
        with self._change:
            self._reached = reached
            if piece.offset == self._next:
                self._next = piece.stop
                self._queue.append(piece)
            else:
                self._free.append(piece)
            self._change.notify_all()

    def reach(self, reached: int) -> None:
        """Hear that everything before ``reached`` is in the file."""
        with self._change:
            self._reached = reached
            self._change.notify_all()

    def wait(self, size: int, timeout_s: float) -> bool:
        """Wait until ``size`` bytes are hashed, but not longer than that; whether they are.

        Raises:
            OSError: the file cannot be read.
        """
        with self._change:
            self._change.wait_for(lambda: self.hashed >= size or self._stopped, timeout_s)
            if self._failure:
                raise self._failure
            return self.hashed >= size

    def close(self) -> Digest:
        """Stop hashing and return the state so far."""
        with self._change:
            self._closing = True
            self._change.notify_all()
        self._thread.join()
        return self._digest

    @property
    def _stopped(self) -> bool:
        return self._closing or self._failure is not None or self.rotten is not None

    def _run(self) -> None:
        scratch = Piece()
        try:
            while piece := self._next_piece(scratch):
                if piece is scratch:
                    self._read_back(scratch)
                self._hash(piece)
                if piece is not scratch:
                    self.give_back(piece)
        except Exception as error:  # whoever waits for us has to hear of it
            with self._change:
                self._failure = error
                self._change.notify_all()

    def _next_piece(self, scratch: Piece) -> Piece | None:
        """Return what to hash next, None at the end; ``scratch`` has to be read first."""
        with self._change:
            self._change.wait_for(
                lambda: self._stopped or self._queue or self._reached > self._next
            )
            if self._stopped:
                return None
            if self._queue:
                return self._queue.popleft()
            scratch.offset = self._next
            scratch.count = min(PIECE_BYTES, self._reached - self._next)
            self._next = scratch.stop
            return scratch

    def _read_back(self, piece: Piece) -> None:
        filled = 0
        while filled < piece.count:
            count = self._read_into(piece.buffer[filled : piece.count], piece.offset + filled)
            if not count:
                raise OSError("the file became shorter while it was being written")
            filled += count

    def _hash(self, piece: Piece) -> None:
        known = len(self._digest.prefixes)
        self._digest.update(piece.bytes)
        for number, prefix in enumerate(self._digest.prefixes[known:], known):
            if number >= len(self._promised):
                self._on_prefix(prefix)
            elif prefix != self._promised[number]:
                self.rotten = number * CHUNK_BYTES
        with self._change:
            self._change.notify_all()
