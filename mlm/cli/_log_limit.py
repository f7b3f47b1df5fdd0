"""The log of a server in the background does not fill the disk."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlm.units import MIB

_MOST_BYTES, _EVERY_S = 32 * MIB, 5.0


def log_path(folder: Path, pid: int) -> Path:
    """Return where a server in the background prints."""
    return folder / f"serve-{pid}.log"


def older_log(path: Path) -> Path:
    """Return where what a log held is, since it was begun anew."""
    return path.with_name(f"{path.name}.1")


@contextmanager
def limited_log(path: Path, most: int = _MOST_BYTES, every_s: float = _EVERY_S) -> Iterator[None]:
    """While the block runs, begin ``path`` anew whenever it is longer than ``most`` bytes.

    What it held is then the `older_log`, in place of what was there. Only if this
    process prints into ``path``; a file of somebody else's, as of ``mlm serve 2> log``, is theirs.
    """
    over = threading.Event()

    def watch() -> None:
        while not over.wait(every_s):
            with suppress(OSError):  # a full disk, or the file is gone: there is nobody to tell
                _look_at(path, most)

    watcher = threading.Thread(target=watch, name="limit log", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _look_at(path: Path, most: int) -> None:
    printed, found = os.fstat(2), path.stat()
    if not os.path.samestat(printed, found) or found.st_size <= most:
        return
    new = path.with_name(f"{path.name}.new")
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_APPEND, found.st_mode & 0o777)
    try:
        path.replace(older_log(path))
        new.replace(path)
        for number in (1, 2):
            os.dup2(handle, number)
    finally:
        os.close(handle)
