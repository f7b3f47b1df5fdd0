"""A file on its way in: bytes at their places as they come, a `Journal` of them beside it.

Both survive the death of the process, at any moment and any number of times; a power cut costs
`SYNC_BYTES` at most. The bytes are hashed behind the writers, see `Hasher`.
"""

import contextlib
import os
import threading
from dataclasses import replace
from pathlib import Path

from mlm.store.digest import CHUNK_BYTES, Digest
from mlm.store.hasher import Hasher, Piece
from mlm.store.journal import Facts, Journal, Left, unfinished_path
from mlm.store.ranges import Range, Ranges
from mlm.store.types import RemoteFile
from mlm.units import MIB

SYNC_BYTES = 64 * MIB
_HEAD_BYTES = 256


class Partial:
    """The bytes so far. Several threads may `write`; close it, or file and thread stay open."""

    def __init__(self, path: Path, file: RemoteFile, commit: str) -> None:
        """Open ``path``, and take up what an earlier run left there for the same file.

        Raises:
            OSError: the file cannot be written.
        """
        self.path = path
        self.expected = file
        self.ranges = Ranges()
        self._facts = Facts(commit, file.filename, file.size_bytes, file.sha256, file.git_oid)
        self._lock = threading.Lock()  # of ranges and journal
        self._synced = 0  # bytes
        self._fd = _open_own(path)
        self._journal = Journal(_journal_path(path))
        self._promised: list[bytes] = []  # prefixes that an earlier run has noted
        self._hasher = self._new_hasher()
        try:
            self._take_up(self._journal.read())
        except BaseException:
            self._close()
            raise

    @property
    def etag(self) -> str | None:
        """What the server that sent these bytes calls this version of the file."""
        return self._facts.etag

    @property
    def size(self) -> int:
        """Bytes that are there, wherever they are."""
        return self.ranges.total

    @property
    def missing(self) -> int:
        """Bytes that have yet to come."""
        return self.expected.size_bytes - self.size

    @property
    def hashed(self) -> int:
        """Bytes from the start that have been hashed."""
        return self._hasher.hashed

    def gaps(self) -> list[Range]:
        """Return what is missing, in order."""
        with self._lock:
            return list(self.ranges.gaps(self.expected.size_bytes))

    def get_piece(self) -> Piece:
        """Return an empty piece to be filled and written; wait while hashing is behind.

        Raises:
            OSError: the file cannot be read.
        """
        return self._hasher.get_piece()

    def give_back(self, piece: Piece) -> None:
        """Take a piece back that was not written."""
        self._hasher.give_back(piece)

    def write(self, piece: Piece) -> None:
        """Write ``piece`` to its place, and take it over.

        Raises:
            OSError: it cannot be written.
        """
        view, offset = piece.bytes, piece.offset
        while view:
            count = os.pwrite(self._fd, view, offset)
            view, offset = view[count:], offset + count
        with self._lock:
            self.ranges.add(piece.offset, piece.stop)
            self._journal.note_written(piece.offset, piece.stop)
            self._hasher.take(piece, self.ranges.end_from(0))

    def read_head(self) -> bytes:
        """Return the first bytes, as far as they are there: they tell what kind of file this is."""
        return os.pread(self._fd, min(_HEAD_BYTES, self.ranges.end_from(0)), 0)

    def note_etag(self, etag: str | None) -> None:
        """Remember what the server calls this version of the file."""
        with self._lock:
            if etag != self._facts.etag:
                self._facts = replace(self._facts, etag=etag)
                self._journal.note_etag(etag)

    def sync(self, *, at_least: int = SYNC_BYTES) -> None:
        """Make everything so far survive a power cut, if ``at_least`` so many bytes are new.

        Raises:
            OSError: it cannot.
        """
        with self._lock:
            size, noted = self.size, self._journal.size
        if size - self._synced >= max(1, at_least):
            os.fsync(self._fd)
            self._journal.note_synced(noted)
            self._synced = size

    def restart(self) -> None:
        """Forget all bytes. Nobody may be writing."""
        self._facts = replace(self._facts, etag=None)
        self._begin(Ranges(), [])

    @property
    def is_rotten(self) -> bool:
        """Whether some of it is not any more what an earlier run wrote."""
        return self._hasher.rotten is not None

    def drop_rotten(self) -> None:
        """Forget what is rotten, if anything is, and what lies behind it. Nobody may be writing."""
        rotten = self._hasher.rotten
        if rotten is not None:
            self._begin(self.ranges.cut(rotten), self._promised[: rotten // CHUNK_BYTES])

    def wait_hashed(self, timeout_s: float) -> bool:
        """Wait a while until the whole file is hashed; whether it is.

        Raises:
            OSError: the file cannot be read.
        """
        return self._hasher.wait(self.expected.size_bytes, timeout_s)

    def finish(self) -> Digest:
        """Close the file, which is complete and hashed, safe from a power cut.

        Return its checksums.
        """
        os.fsync(self._fd)
        digest = self._hasher.close()
        self._close()
        return digest

    def close(self) -> None:
        """Give the file back; it stays where it is for the next run, with all its bytes."""
        if self._fd >= 0:
            with contextlib.suppress(OSError):  # a full disk: what was noted before still counts
                self.sync(at_least=1)
            self._close()

    def discard(self) -> None:
        """Close and delete it."""
        self._close()
        discard_leftovers(self.path)

    def _close(self) -> None:
        self._hasher.close()
        self._journal.close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _take_up(self, left: Left | None) -> None:
        """Go on with what is left of an earlier run, if it is of the same file."""
        if left is None or not left.facts.is_same_file(self._facts):
            self._begin(Ranges(), [])
            return
        there = min(os.fstat(self._fd).st_size, self.expected.size_bytes)
        ranges = left.ranges.cut(there)
        self._facts = replace(self._facts, etag=left.facts.etag)
        if left.is_whole and ranges.total == left.ranges.total:
            self._journal.go_on()
            self._follow(ranges, left.prefixes)
        else:
            self._begin(ranges, left.prefixes)

    def _begin(self, ranges: Ranges, promised: list[bytes]) -> None:
        """Start anew with the bytes ``ranges`` of what is in the file."""
        os.ftruncate(self._fd, max((stop for _, stop in ranges), default=0))
        self._journal.begin(self._facts, ranges, promised)
        self._synced = 0
        self._follow(ranges, promised)

    def _follow(self, ranges: Ranges, promised: list[bytes]) -> None:
        """Hash from the start what there is, and what will come."""
        self._hasher.close()
        self.ranges, self._promised = ranges, promised
        self._hasher = self._new_hasher()
        self._hasher.reach(ranges.end_from(0))

    def _new_hasher(self) -> Hasher:
        digest = Digest(self.expected.size_bytes, with_git_oid=self.expected.sha256 is None)
        return Hasher(digest, self._read_into, self._promised, self._note_prefix)

    def _read_into(self, view: memoryview, offset: int) -> int:
        return os.preadv(self._fd, [view], offset)

    def _note_prefix(self, prefix: bytes) -> None:
        with self._lock:
            self._journal.note_prefix(prefix)


def _open_own(path: Path) -> int:
    """Open a file of ours: never through a link, and none that has another name."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags, 0o644)
    if os.fstat(descriptor).st_nlink == 1:
        return descriptor
    os.close(descriptor)
    path.unlink()
    return os.open(path, flags | os.O_EXCL, 0o644)


def discard_leftovers(path: Path) -> None:
    """Delete the partial file ``path`` and all that belongs to it, as far as it is there."""
    journal = _journal_path(path)
    for leftover in (path, journal, unfinished_path(journal)):
        leftover.unlink(missing_ok=True)


def _journal_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.journal")
