"""Copies of local models in ``MLM_HOME/models``, each in a folder named after its content.

A folder appears whole or not at all: files are gathered in one that begins with ``.unfinished``,
under the one lock of the place, and then renamed. What a killed run left behind the next one
sweeps up.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from mlm.store.cache_layout import remove_name, sync_folder
from mlm.store.lock import is_held, locked, try_locked
from mlm.store.side_files import side_role

_UNFINISHED = ".unfinished"


class Copies:
    """The place ``root``; nothing is made there before it is needed."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lock = root / ".lock"

    @contextlib.contextmanager
    def gathering(self) -> Iterator[Path]:
        """Yield an empty folder to gather files in; what is still there afterwards goes.

        Raises:
            OSError: it cannot be made.
        """
        self._root.mkdir(parents=True, exist_ok=True)
        with locked(self._lock):
            for leftover in self._unfinished():
                shutil.rmtree(leftover)
            folder = self._root / f"{_UNFINISHED}-{os.getpid()}"
            folder.mkdir(mode=0o700)
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def publish(self, folder: Path, names: Sequence[str], digests: Sequence[str]) -> list[Path]:
        """Give the gathered files their final place, for good, and return their paths."""
        place = self.place_of(digests)
        folder.chmod(0o755)
        sync_folder(folder)
        if place.is_dir():
            for name in names:  # the same bytes, or what was there has been spoilt
                (folder / name).replace(place / name)
        else:
            folder.rename(place)
        sync_folder(place)
        sync_folder(self._root)
        return [place / name for name in names]

    def place_of(self, digests: Sequence[str]) -> Path:
        """Return the folder for files with these sha256: one file's is its own name."""
        if len(digests) == 1:
            return self._root / digests[0]
        return self._root / hashlib.sha256("\n".join(digests).encode()).hexdigest()

    def abandoned(self) -> list[Path]:
        """Return the folders that killed runs have left; none while one is at work."""
        return [] if is_held(self._lock) else self._unfinished()

    def sweep(self, leftover: Path) -> bool:
        """Delete a file that a killed run left, unless somebody is at work; return if it went."""
        with try_locked(self._lock) as is_ours:
            if is_ours:
                remove_copy(leftover)
        return is_ours

    def _unfinished(self) -> list[Path]:
        return sorted(self._root.glob(f"{_UNFINISHED}-*"))


def remove_copy(path: Path) -> int:
    """Delete a copy, and with the last model of its folder what came along beside it.

    Return the bytes that became free.
    """
    freed = remove_name(path) if path.is_symlink() or path.exists() else 0
    with contextlib.suppress(OSError):
        beside = list(path.parent.iterdir())
        if all(side_role(other.name) for other in beside):
            freed += sum(remove_name(other) for other in beside)
            path.parent.rmdir()
    return freed
