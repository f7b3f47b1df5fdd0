"""Hashes a file again and compares it with what was promised."""

from mlm.store.digest import hash_file
from mlm.store.listener import Listener, Progress
from mlm.store.types import ModelFile, Verified


def verify_file(file: ModelFile, listener: Listener) -> Verified:
    """Return what the bytes of ``file`` are now; a file that cannot be read is not an error."""

    def tell(done: int) -> None:
        listener.progress(Progress(file.filename, "checking", done, file.size_bytes))

    try:
        actual = hash_file(file.path, tell)
    except OSError:
        actual = None
    return Verified(file, file.path, file.sha256, actual)
