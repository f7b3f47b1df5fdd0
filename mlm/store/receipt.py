"""What is known of a file on disk and cannot be read off it: one small JSON file each.

The index is only a fast view of the receipts; losing it loses nothing.
"""

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mlm.store.types import ModelFile

_USE_STEP_S = 3600.0  # the index knows times of use exactly; losing it may cost this much of one


@dataclass(frozen=True, slots=True)
class Receipt:
    """A file, and how it looked on disk when all its bytes were last known to be right."""

    file: ModelFile
    mtime_ns: int
    inode: int | None = None  # None: from an older mlm

    @classmethod
    def of(cls, file: ModelFile) -> "Receipt":
        """Return the receipt for ``file`` as it is on disk now.

        Raises:
            OSError: it is not there.
        """
        status = file.path.stat()
        return cls(file, status.st_mtime_ns, _inode(status))

    def is_current(self) -> bool:
        """Whether the file has not been touched since its bytes were right."""
        try:
            status = self.file.path.stat()
        except OSError:
            return False
        if self.file.verified_at is None or self.inode not in (None, _inode(status)):
            return False
        return (status.st_size, status.st_mtime_ns) == (self.file.size_bytes, self.mtime_ns)


def _inode(status: os.stat_result) -> int:
    return status.st_ino & 2**63 - 1  # SQLite has no larger numbers


class Receipts:
    """The folder of receipts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, receipt: Receipt) -> None:
        """Keep ``receipt``, replacing an older one of the same path."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._path(receipt.file.path)
        document = asdict(receipt.file) | {"path": str(receipt.file.path)}
        text = json.dumps(
            {"file": document, "mtime_ns": receipt.mtime_ns, "inode": receipt.inode}, indent=1
        )
        unfinished = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}.unfinished")
        try:
            unfinished.write_text(text, encoding="utf-8")
            unfinished.replace(path)
        finally:
            unfinished.unlink(missing_ok=True)

    def note_use(self, receipt: Receipt, at: float) -> None:
        """Keep when the file of ``receipt`` was used (Unix time), at most once an hour."""
        path = self._path(receipt.file.path)
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            receipt = _parse(json.loads(path.read_bytes()))
        last = receipt.file.last_used_at
        if last is None or not 0 <= at - last < _USE_STEP_S:
            self.write(replace(receipt, file=replace(receipt.file, last_used_at=at)))

    def forget(self, path: Path) -> None:
        """Throw away the receipt for ``path``."""
        self._path(path).unlink(missing_ok=True)

    def find(self, path: Path) -> Receipt | None:
        """Return the receipt for the file at ``path``; None also when it cannot be read."""
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
            return _parse(json.loads(self._path(path).read_bytes()))
        return None

    def read_all(self) -> Iterator[Receipt]:
        """Yield every receipt that can be read."""
        for path in self._paths():
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                yield _parse(json.loads(path.read_bytes()))

    def count(self) -> int:
        """Return how many there are, whether they can be read or not."""
        return len(self._paths())

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob("*.json")) if self._folder.is_dir() else []

    def _path(self, file: Path) -> Path:
        return self._folder / f"{hashlib.sha256(os.fsencode(file)).hexdigest()[:32]}.json"


def _parse(document: dict[str, Any]) -> Receipt:
    fields = document["file"]
    file = ModelFile(**(fields | {"path": Path(fields["path"])}))
    names = (file.ref, file.model_id, file.filename, file.origin)
    if not all(isinstance(name, str) for name in names) or not isinstance(file.size_bytes, int):
        raise ValueError("not a receipt")
    return Receipt(file, int(document["mtime_ns"]), document.get("inode"))
