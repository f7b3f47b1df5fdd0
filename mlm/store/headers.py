"""Headers of files on the hub, kept so that the next question about one needs no network.

Each is a file of its own in a folder that may be deleted at any time. What cannot be written is
not kept; what has rotted or was cut off is not found.
"""

import hashlib
import os
import struct
from contextlib import suppress
from pathlib import Path

from mlm.gguf.hole import RawHeader
from mlm.units import MIB

MAX_BYTES = 256 * MIB  # of all: two dozen large vocabularies
_PREFIX = struct.Struct("<Q32s")  # size of the whole file, sha256 of what follows
_SUFFIX = ".header"


class HeaderCache:
    """The headers kept in ``folder``, by repository, commit and file name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, repo_id: str, commit: str, filename: str) -> RawHeader | None:
        """Return the header if it is here."""
        path = self._path(repo_id, commit, filename)
        try:
            kept = path.read_bytes()
            size, digest = _PREFIX.unpack_from(kept)
        except (OSError, struct.error):
            return None
        head = kept[_PREFIX.size :]
        if hashlib.sha256(head).digest() != digest:
            return None
        with suppress(OSError):
            os.utime(path)  # those that are used stay
        return RawHeader(filename, head, size)

    def keep(self, repo_id: str, commit: str, header: RawHeader) -> None:
        """Keep a header; the longest unused ones make room for it."""
        path = self._path(repo_id, commit, header.filename)
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        digest = hashlib.sha256(header.head).digest()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(_PREFIX.pack(header.file_size, digest) + header.head)
            temporary.replace(path)
            self._make_room()
        except OSError:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _make_room(self) -> None:
        files = [(path, path.stat()) for path in self._folder.iterdir()]
        files.sort(key=lambda each: each[1].st_mtime, reverse=True)
        total = 0
        for path, status in files:
            total += status.st_size
            if total > MAX_BYTES:
                path.unlink(missing_ok=True)

    def _path(self, repo_id: str, commit: str, filename: str) -> Path:
        name = hashlib.sha256(f"{repo_id}\n{commit}\n{filename}".encode()).hexdigest()
        return self._folder / f"{name[:40]}{_SUFFIX}"
