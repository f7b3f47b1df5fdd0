"""The prefixes of verified files, kept: they tell which chunk of a file has rotted since.

One small file per checksum, 32 bytes per chunk of 4 MiB; see `mlm.store.digest`. Losing it costs
only that a rotten file has to be fetched whole.
"""

import contextlib
import os
from collections.abc import Sequence
from pathlib import Path

_DIGEST_BYTES = 32


class Prefixes:
    """The folder of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, sha256: str, prefixes: Sequence[bytes]) -> None:
        """Keep the prefixes of the file with this checksum; where that fails, they are missed."""
        if not prefixes or (path := self._path(sha256)).exists():
            return
        unfinished = path.with_name(f"{path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            unfinished.write_bytes(b"".join(prefixes))
            unfinished.replace(path)

    def read(self, sha256: str) -> list[bytes]:
        """Return the prefixes of the file with this checksum; none if they are not known."""
        try:
            packed = self._path(sha256).read_bytes()
        except OSError:
            return []
        whole = range(0, len(packed) - _DIGEST_BYTES + 1, _DIGEST_BYTES)
        return [packed[start : start + _DIGEST_BYTES] for start in whole]

    def forget(self, sha256: str) -> None:
        """Throw them away: the file has gone, or they were found to be wrong."""
        with contextlib.suppress(OSError):
            self._path(sha256).unlink(missing_ok=True)

    def _path(self, sha256: str) -> Path:
        return self._folder / sha256
