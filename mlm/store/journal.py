"""What is known of an unfinished file, in a small file beside it, a line for each thing learned.

The first line says what the file is part of. Then come, in any order::

    w 0 524288   these bytes have been written
    p 9f86d0…    the checksum of all bytes up to the end of the next whole chunk
    e "…"        what the server that sends them calls this version of the file
    s 1234       so many bytes of these notes, and what they speak of, have reached the disk

A line is one small append, so a killed process loses nothing that it has written. After a power
cut (another boot) only what the last ``s`` covers counts.
"""

import errno
import json
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path

from mlm.hardware.sysfs import BOOT_ID
from mlm.store.names import is_strong_etag
from mlm.store.ranges import Ranges

_SYNCED = re.compile(rb"^s (\d{1,18})$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Facts:
    """What an unfinished file is part of."""

    commit: str
    filename: str
    size: int  # of the whole file
    sha256: str | None
    git_oid: str | None
    etag: str | None = None  # of the server that sent the bytes: only it can say "unchanged"

    def is_same_file(self, other: "Facts") -> bool:
        """Whether bytes of one are bytes of the other: same checksum, or same commit and name."""
        if self.sha256 or other.sha256:
            return (self.sha256, self.size) == (other.sha256, other.size)
        return replace(self, etag=None) == replace(other, etag=None)


@dataclass(slots=True)
class Left:
    """What an earlier run has left behind."""

    facts: Facts
    is_whole: bool = True  # all its notes count
    ranges: Ranges = field(default_factory=Ranges)
    prefixes: list[bytes] = field(default_factory=list)


class Journal:
    """The file of notes. Begin it, then add to it; close it at the end."""

    def __init__(self, path: Path) -> None:
        self.size = 0  # bytes
        self._path = path
        self._fd = -1

    def read(self) -> Left | None:
        """Return what an earlier run has noted, None if there is nothing to go by."""
        try:
            text = self._path.read_bytes()
            document = json.loads(text.partition(b"\n")[0])
            survives = document.pop("boot") == _boot_id()
            left = Left(Facts(**document))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return None  # none, or not one of ours: the bytes cannot be placed
        if not isinstance(left.facts.size, int) or not _is_etag(left.facts.etag):
            return None
        notes = text if survives else text[: _synced(text)]
        whole_lines, _, torn = notes.rpartition(b"\n")
        left.is_whole = survives and not torn
        for line in whole_lines.splitlines()[1:]:
            if not _take_in(left, line.decode("utf-8", "replace")):
                left.is_whole = False
                break
        return left

    def begin(self, facts: Facts, ranges: Ranges, prefixes: Sequence[bytes]) -> None:
        """Start anew with what is known; the old notes stay until these are complete.

        Raises:
            OSError: it cannot be written.
        """
        self.close()
        lines = [json.dumps(asdict(facts) | {"boot": _boot_id()})]
        lines += [f"w {start} {stop}" for start, stop in ranges]
        lines += [f"p {prefix.hex()}" for prefix in prefixes]
        unfinished = unfinished_path(self._path)
        unfinished.write_text("\n".join(lines) + "\n", encoding="utf-8")
        unfinished.replace(self._path)
        self.go_on()

    def go_on(self) -> None:
        """Add to what is there.

        Raises:
            OSError: it cannot be written.
        """
        self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        self.size = os.fstat(self._fd).st_size

    def note_written(self, start: int, stop: int) -> None:
        """Note bytes that have been written."""
        self._add(f"w {start} {stop}")

    def note_prefix(self, prefix: bytes) -> None:
        """Note the checksum of everything up to the end of the next whole chunk."""
        self._add(f"p {prefix.hex()}")

    def note_etag(self, etag: str | None) -> None:
        """Note what the server calls this version of the file."""
        self._add(f"e {json.dumps(etag)}")

    def note_synced(self, size: int) -> None:
        """Note that what the first ``size`` bytes of the notes speak of has reached the disk."""
        self._add(f"s {size}")
        os.fsync(self._fd)

    def close(self) -> None:
        """Give the file back; it stays."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _add(self, line: str) -> None:
        text = f"{line}\n".encode()
        if os.write(self._fd, text) < len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        self.size += len(text)


def unfinished_path(path: Path) -> Path:
    """Return where the notes at ``path`` are written anew."""
    return path.with_name(f"{path.name}.unfinished")


def _take_in(left: Left, line: str) -> bool:
    """Add what a line says to ``left``; False if it makes no sense."""
    kind, _, rest = line.partition(" ")
    try:
        if kind == "w":
            start, stop = map(int, rest.split())
            if not 0 <= start <= stop <= left.facts.size:
                return False
            left.ranges.add(start, stop)
        elif kind == "p":
            left.prefixes.append(bytes.fromhex(rest))
        elif kind == "e":
            etag = json.loads(rest)
            left.facts = replace(left.facts, etag=etag if _is_etag(etag) else None)
            return _is_etag(etag)
        else:
            return kind == "s"  # see `_synced`
    except (ValueError, RecursionError):
        return False
    return True


def _is_etag(value: object) -> bool:
    return value is None or is_strong_etag(value)


def _synced(text: bytes) -> int:
    """Return how many bytes of the notes count whatever has happened since."""
    return max((int(size) for size in _SYNCED.findall(text)), default=0)


@cache
def _boot_id() -> str:
    """Return what changes when the machine starts anew."""
    try:
        return BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        pass
    import psutil  # 50 ms that Linux does not need

    return str(round(psutil.boot_time(), -2))
