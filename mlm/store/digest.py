"""Checksums of files: sha256 always, git's object id for the small files that git itself keeps."""

import hashlib
from collections.abc import Callable
from pathlib import Path

from mlm.units import MIB

_CHUNK_BYTES = MIB


class Digest:
    """Hashes bytes as they pass. ``size`` is that of the whole file: git hashes it first."""

    def __init__(self, size: int, *, with_git_oid: bool = False) -> None:
        self._sha256 = hashlib.sha256()
        self._git = hashlib.sha1(usedforsecurity=False) if with_git_oid else None
        if self._git is not None:
            self._git.update(b"blob %d\0" % size)

    def update(self, chunk: bytes) -> None:
        """Take the next bytes."""
        self._sha256.update(chunk)
        if self._git is not None:
            self._git.update(chunk)

    @property
    def sha256(self) -> str:
        """Of all bytes so far."""
        return self._sha256.hexdigest()

    @property
    def git_oid(self) -> str | None:
        """Git's object id of all bytes so far, None when it was not asked for."""
        return None if self._git is None else self._git.hexdigest()


def hash_file(path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    """Return the sha256 of a file; ``on_bytes`` hears how many bytes have been read so far.

    Raises:
        OSError: it cannot be read.
    """
    digest, done = hashlib.sha256(), 0
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            if on_bytes is not None:
                on_bytes(done)
    return digest.hexdigest()
