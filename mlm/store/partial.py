"""A file on its way in: its bytes so far, and a sidecar that says what they are part of.

Both survive the death of the process. The sidecar counts only bytes that `fsync` has confirmed;
what lies beyond is cut off on the next run, so a power cut costs `SYNC_BYTES` at most.
"""

import contextlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mlm.store.digest import Digest
from mlm.store.types import RemoteFile
from mlm.units import KIB, MIB

SYNC_BYTES = 4 * MIB
_READ_BYTES = MIB
_HEAD_BYTES = 256
_SIDECAR_ROOM = 64 * KIB  # more than one block of any usual file system


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What a partial file is part of."""

    commit: str
    filename: str
    size: int  # of the whole file
    sha256: str | None
    git_oid: str | None
    etag: str | None = None  # of the server that sent the bytes: only it can say "unchanged"
    synced: int = 0

    def is_same_file(self, other: "Sidecar") -> bool:
        """Whether bytes of one are bytes of the other: same checksum, or same commit and name."""
        if self.sha256 or other.sha256:
            return (self.sha256, self.size) == (other.sha256, other.size)
        return replace(self, etag=None, synced=0) == replace(other, etag=None, synced=0)


class Partial:
    """The bytes so far, hashed as they are written. Close it, or the file stays open."""

    def __init__(
        self,
        path: Path,
        file: RemoteFile,
        commit: str,
        on_hashed: Callable[[int], None] | None = None,
    ) -> None:
        """Open ``path``, and take up what an earlier run left there for the same file.

        ``on_hashed`` hears how much of that has been hashed again.

        Raises:
            OSError: the file cannot be written.
        """
        self.path = path
        self.expected = file
        self.head = b""  # the first bytes, to tell what kind of file this is
        self.size = 0
        self._facts = Sidecar(commit, file.filename, file.size_bytes, file.sha256, file.git_oid)
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        self._fd = os.open(path, flags, 0o644)
        self._digest = self._new_digest()
        self._take_up(on_hashed)

    @property
    def etag(self) -> str | None:
        """What the server that sent these bytes calls this version of the file."""
        return self._facts.etag

    @property
    def missing(self) -> int:
        """Bytes that have yet to come."""
        return self.expected.size_bytes - self.size

    def append(self, chunk: bytes) -> None:
        """Write and hash the next bytes."""
        view = memoryview(chunk)
        while view:
            view = view[os.write(self._fd, view) :]
        self._count(chunk)
        if self.size - self._facts.synced >= SYNC_BYTES:
            self.sync()

    def note_etag(self, etag: str | None) -> None:
        """Remember what the server calls this version of the file."""
        if etag != self._facts.etag:
            self._facts = replace(self._facts, etag=etag)
            self._write_sidecar()

    def sync(self) -> None:
        """Make everything so far survive a power cut."""
        os.fsync(self._fd)
        self._facts = replace(self._facts, synced=self.size)
        self._write_sidecar()

    def restart(self) -> None:
        """Forget all bytes."""
        self._cut(0)
        self._digest = self._new_digest()
        self.head, self.size = b"", 0
        self._facts = replace(self._facts, etag=None, synced=0)
        self._write_sidecar()

    def finish(self) -> Digest:
        """Close the complete file, safe from a power cut, and return its checksums."""
        os.fsync(self._fd)
        self._close()
        return self._digest

    def close(self) -> None:
        """Give the file back; it stays where it is for the next run, with all its bytes."""
        if self._fd < 0:
            return
        try:
            if self.size > self._facts.synced:
                self._sync_somehow()
        finally:
            self._close()

    def _sync_somehow(self) -> None:
        """Sync; on a full disk give up the last bytes to make room for the sidecar."""
        try:
            self.sync()
        except OSError:
            self.size = max(0, self.size - _SIDECAR_ROOM)
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self.size)
                self.sync()

    def discard(self) -> None:
        """Close and delete it."""
        self._close()
        discard_leftovers(self.path)

    def _close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _new_digest(self) -> Digest:
        return Digest(self.expected.size_bytes, with_git_oid=self.expected.sha256 is None)

    def _take_up(self, on_hashed: Callable[[int], None] | None) -> None:
        left = self._read_sidecar()
        if left is None or not left.is_same_file(self._facts):
            self._cut(0)
            return
        there = os.fstat(self._fd).st_size
        keep = min(left.synced, there, self.expected.size_bytes)
        self._cut(keep)
        self._facts = replace(self._facts, etag=left.etag, synced=keep)
        while self.size < keep:
            chunk = os.read(self._fd, min(_READ_BYTES, keep - self.size))
            self._count(chunk)
            if on_hashed is not None:
                on_hashed(self.size)

    def _cut(self, size: int) -> None:
        os.ftruncate(self._fd, size)
        os.lseek(self._fd, 0, os.SEEK_SET)

    def _count(self, chunk: bytes) -> None:
        self._digest.update(chunk)
        self.size += len(chunk)
        if len(self.head) < _HEAD_BYTES:
            self.head += chunk[: _HEAD_BYTES - len(self.head)]

    def _read_sidecar(self) -> Sidecar | None:
        try:
            left = Sidecar(**json.loads(_sidecar_path(self.path).read_bytes()))
            return left if 0 <= left.synced <= left.size else None
        except (OSError, ValueError, TypeError):
            return None  # none, or not one of ours: the bytes cannot be placed

    def _write_sidecar(self) -> None:
        unfinished = _unfinished_sidecar_path(self.path)
        unfinished.write_text(json.dumps(asdict(self._facts)), encoding="utf-8")
        unfinished.replace(_sidecar_path(self.path))


def discard_leftovers(path: Path) -> None:
    """Delete the partial file ``path`` and all that belongs to it, as far as it is there."""
    for leftover in (path, _sidecar_path(path), _unfinished_sidecar_path(path)):
        leftover.unlink(missing_ok=True)


def _sidecar_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _unfinished_sidecar_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.json.unfinished")
