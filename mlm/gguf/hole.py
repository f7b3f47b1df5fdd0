"""Model files of which only the header is there: the rest is a hole, which takes no disk space.

llama.cpp reads nothing else to say what buffers a model needs, but wants the file to be as long
as it ought to be.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from mlm.gguf.source import ByteSource
from mlm.units import MIB


@dataclass(frozen=True, slots=True)
class RawHeader:
    """The beginning of a file, byte for byte, up to its tensor data."""

    filename: str
    head: bytes
    file_size: int

    @property
    def size(self) -> int:
        """Bytes of the whole file; with `read` this is a `ByteSource`."""
        return self.file_size

    def read(self, offset: int, length: int) -> bytes:
        """Return the ``length`` bytes from ``offset``; fewer where the header ends."""
        return self.head[offset : offset + length]


class HoleError(Exception):
    """The files cannot be made here."""


class Recorder:
    """A source that remembers what was read of another one."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self._parts: list[tuple[int, bytes]] = []
        self.n_bytes = 0  # that were read

    @property
    def size(self) -> int:
        """Bytes of the whole file."""
        return self._source.size

    def read(self, offset: int, length: int) -> bytes:
        """Return the ``length`` bytes from ``offset``; fewer only at the end."""
        part = self._source.read(offset, length)
        self._parts.append((offset, part))
        self.n_bytes += len(part)
        return part

    def head(self, length: int) -> bytes:
        """Return the first ``length`` bytes; what a parser skipped is read now."""
        head = bytearray()
        for offset, part in sorted(self._parts):
            head += self._fill(len(head), min(offset, length))
            head += part[max(len(head) - offset, 0) :]
        head += self._fill(len(head), length)
        return bytes(head[:length])

    def _fill(self, start: int, stop: int) -> bytes:
        return self.read(start, stop - start) if start < stop else b""


@contextmanager
def standing_in(headers: Sequence[RawHeader]) -> Iterator[Path]:
    """Yield the path of the first of files that have these headers, and go afterwards.

    Raises:
        HoleError: there is no room for the headers, or holes would take space here.
    """
    with ExitStack() as stack:
        try:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="mlm-header-")))
            _require_holes(folder)
            first = _write_all(headers, folder)
        except OSError as error:
            raise HoleError(f"no file can stand in for it: {error.strerror}") from error
        yield first


def _write_all(headers: Sequence[RawHeader], folder: Path) -> Path:
    """Write the files; parts of a split model keep the names by which llama.cpp finds them."""
    paths = [folder / PurePosixPath(header.filename).name for header in headers]
    for path, header in zip(paths, headers, strict=True):
        with path.open("wb") as file:
            file.write(header.head)
            file.truncate(header.file_size)
    return paths[0]


def _require_holes(folder: Path) -> None:
    trial = folder / "hole"
    with trial.open("wb") as file:
        file.truncate(MIB)
    blocks = getattr(trial.stat(), "st_blocks", None)  # of 512 bytes; Windows does not say
    trial.unlink()
    if blocks is None or blocks * 512 >= MIB:
        raise HoleError(f"no file can stand in for it: {folder.parent} knows no holes in files")
