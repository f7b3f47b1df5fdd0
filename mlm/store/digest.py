"""Checksums of files: sha256 always, git's object id for the small files that git itself keeps.

While a file is hashed, the checksum of everything up to each whole chunk falls off for nothing: the
prefixes. They tell which chunk of a file has rotted first, and prove the bytes that mend it.
"""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from mlm.units import MIB

CHUNK_BYTES = 4 * MIB  # 20 GB have 4,800 prefixes of 32 bytes
_READ_BYTES = MIB  # what fits a cache is hashed faster than it is read again


class Digest:
    """Hashes bytes as they pass. ``size`` is that of the whole file: git hashes it first."""

    def __init__(self, size: int, *, with_git_oid: bool = False) -> None:
        self._sha256 = hashlib.sha256()
        self._git = hashlib.sha1(usedforsecurity=False) if with_git_oid else None
        if self._git is not None:
            self._git.update(b"blob %d\0" % size)
        self.hashed = 0  # bytes
        self.prefixes: list[bytes] = []  # sha256 of the first chunk, the first two, …

    def update(self, piece: bytes | memoryview) -> None:
        """Take the next bytes."""
        view = memoryview(piece)
        while view:
            part = view[: CHUNK_BYTES - self.hashed % CHUNK_BYTES]
            self._sha256.update(part)
            if self._git is not None:
                self._git.update(part)
            self.hashed += len(part)
            if self.hashed % CHUNK_BYTES == 0:
                self.prefixes.append(self._sha256.digest())
            view = view[len(part) :]

    def followed_by(self, piece: bytes) -> "Digest":
        """Return what this would be after ``piece``, and stay as it is."""
        twin = Digest.__new__(Digest)
        twin._sha256 = self._sha256.copy()
        twin._git = None if self._git is None else self._git.copy()
        twin.hashed, twin.prefixes = self.hashed, list(self.prefixes)
        twin.update(piece)
        return twin

    @property
    def sha256(self) -> str:
        """Of all bytes so far."""
        return self._sha256.hexdigest()

    @property
    def git_oid(self) -> str | None:
        """Git's object id of all bytes so far, None when it was not asked for."""
        return None if self._git is None else self._git.hexdigest()


def digest_file(path: Path, on_bytes: Callable[[int], None] | None = None) -> Digest:
    """Return the digest of a file; ``on_bytes`` hears how many bytes have been read so far.

    Raises:
        OSError: it cannot be read.
    """
    buffer = memoryview(bytearray(_READ_BYTES))
    with path.open("rb", buffering=0) as file:
        digest = Digest(path.stat().st_size)
        while count := file.readinto(buffer):
            digest.update(buffer[:count])
            if on_bytes is not None:
                on_bytes(digest.hashed)
    return digest


def hash_file(path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    """Return the sha256 of a file, as `digest_file`."""
    return digest_file(path, on_bytes).sha256


def first_difference(prefixes: Sequence[bytes], expected: Sequence[bytes]) -> int | None:
    """Return the number of the first chunk that is not as expected, None if all known ones are."""
    pairs = zip(prefixes, expected, strict=False)
    return next((number for number, (one, other) in enumerate(pairs) if one != other), None)
