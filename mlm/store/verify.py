"""Hashes a file again and compares it with what was promised."""

from mlm.errors import IntegrityError
from mlm.store.digest import hash_file
from mlm.store.listener import Listener, Progress
from mlm.store.types import ModelFile, Verified


class CorruptModelError(IntegrityError):
    """A file in the store is not what it was when it came, so it must not be run."""

    code = "corrupt_model"

    def __init__(self, found: Verified) -> None:
        file = found.file
        remedy = f"mlm download {file.ref} --force"
        if file.origin == "import":
            remedy = f"if it was changed on purpose: mlm import {file.path}"
        actual = f"has the sha256 {found.actual}" if found.actual else "cannot be read"
        super().__init__(
            f"{file.filename} is corrupt: it {actual} instead of {found.expected}", remedy=remedy
        )


def verify_file(file: ModelFile, listener: Listener) -> Verified:
    """Return what the bytes of ``file`` are now; a file that cannot be read is not an error."""

    def tell(done: int) -> None:
        listener.progress(Progress(file.filename, "checking", done, file.size_bytes))

    try:
        actual = hash_file(file.path, tell)
    except OSError:
        actual = None
    return Verified(file, file.path, file.sha256, actual)
