"""Hashes files again and compares them with what was promised."""

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from mlm.errors import IntegrityError
from mlm.store.digest import CHUNK_BYTES, digest_file, first_difference
from mlm.store.listener import Listener, Progress
from mlm.store.prefixes import Prefixes
from mlm.store.types import ModelFile, Verified

_MOST_THREADS = 8  # disks do not get faster by more


class CorruptModelError(IntegrityError):
    """A file in the store is not what it was when it came, so it must not be run."""

    code = "corrupt_model"

    def __init__(self, found: Verified) -> None:
        file = found.file
        remedy = f"mlm verify {file.ref} --repair"
        if file.repo_id is None:
            remedy = f"if it was changed on purpose: mlm import {file.path}"
        actual = f"has the sha256 {found.actual}" if found.actual else "cannot be read"
        super().__init__(
            f"{file.filename} is corrupt: it {actual} instead of {found.expected}", remedy=remedy
        )


def verify_files(
    files: Sequence[ModelFile],
    listener: Listener,
    prefixes: Prefixes,
    is_unchanged: Callable[[ModelFile], bool],
) -> list[Verified]:
    """Return what the bytes of each file are now; one that cannot be read is no error.

    Files that ``is_unchanged`` vouches for are not read. The others are hashed side by side.
    """
    lock, stopped = threading.Lock(), threading.Event()
    unchanged = {file.path for file in files if file.sha256 is not None and is_unchanged(file)}
    listener.expect({f.filename: f.size_bytes for f in files if f.path not in unchanged})

    def verify(file: ModelFile) -> Verified:
        if file.path in unchanged:
            return Verified(file, file.path, file.sha256, file.sha256, hashed=False)

        def tell(done: int) -> None:
            if stopped.is_set():
                raise _Stopped
            with lock:
                listener.progress(Progress(file.filename, "checking", done, file.size_bytes))

        return _verify(file, tell, prefixes)

    with ThreadPoolExecutor(max_workers=min(os.cpu_count() or 1, _MOST_THREADS)) as pool:
        try:
            return list(pool.map(verify, files))
        except BaseException:
            stopped.set()
            raise


class _Stopped(Exception):
    """Somebody does not want to wait any more."""


def _verify(file: ModelFile, tell: Callable[[int], None], prefixes: Prefixes) -> Verified:
    try:
        digest = digest_file(file.path, tell)
    except OSError:
        return Verified(file, file.path, file.sha256, actual=None)
    if digest.sha256 == file.sha256 or file.sha256 is None:
        prefixes.write(digest.sha256, digest.prefixes)
        return Verified(file, file.path, file.sha256, digest.sha256)
    known = prefixes.read(file.sha256)
    chunk = first_difference(digest.prefixes, known)
    if chunk is None and known:
        chunk = min(len(known), len(digest.prefixes))
    rotten_at = None if chunk is None else chunk * CHUNK_BYTES
    return Verified(file, file.path, file.sha256, digest.sha256, rotten_at=rotten_at)
