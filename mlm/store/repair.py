"""Makes a rotten file right again, fetching only the chunks that are wrong.

The file itself is never written: it may be mapped by a running model. A new one grows beside it,
out of the chunks that are still right and those that are fetched, and takes its place once all of
it is right.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from mlm.store.cache_layout import RepoCache
from mlm.store.digest import CHUNK_BYTES, Digest
from mlm.store.download import ChecksumError
from mlm.store.hasher import PIECE_BYTES
from mlm.store.hub import Hub, RemoteBytes
from mlm.store.listener import Listener, Progress
from mlm.store.lock import locked
from mlm.store.partial import Partial, discard_leftovers
from mlm.store.space import check_space, writing_to
from mlm.store.transfer import Transfer
from mlm.store.types import ModelFile, RemoteFile


@dataclass(frozen=True, slots=True)
class Repair:
    """A rotten file of a repository, and what its chunks should be (`mlm.store.prefixes`)."""

    cache: RepoCache
    file: ModelFile
    prefixes: Sequence[bytes]

    def run(self, hub: Hub, listener: Listener) -> int:
        """Replace the file by a right one and return how many bytes were fetched for it.

        Where the prefixes are not known, that is all of them.

        Raises:
            ChecksumError: the hub does not have the right bytes any more either.
            DiskSpaceError: there is no room for a second file beside it.
            MlmError: the hub refuses or cannot be reached.
        """
        file, sha256 = self.file, str(self.file.sha256)
        remote = RemoteFile(file.filename, file.size_bytes, sha256)
        with writing_to(self.cache.root, file.size_bytes), locked(self.cache.lock(sha256)):
            check_space(self.cache.blobs, file.size_bytes)
            path = self.cache.partial(sha256)
            with closing(Partial(path, remote, str(file.commit))) as partial:
                fetched = self._rebuild(partial, hub, listener)
                digest = partial.finish()
                if digest.sha256 != sha256:
                    partial.discard()
                    raise ChecksumError(file.filename, expected=sha256, actual=digest.sha256)
            blob = self.cache.publish(path, sha256)
            discard_leftovers(path)
            self.cache.link(str(file.commit), file.filename, blob)
        return fetched

    def _rebuild(self, partial: Partial, hub: Hub, listener: Listener) -> int:
        """Fill ``partial`` and return how many bytes were fetched."""
        file = self.file
        source = hub.source(str(file.repo_id), str(file.commit), file.filename)
        remote = RemoteBytes(hub, source, file.size_bytes)
        digest, fetched = Digest(file.size_bytes), 0
        with _open_what_is_left(file.path) as old:
            for number, expected in enumerate(self.prefixes):
                chunk = old.read(CHUNK_BYTES)
                if len(chunk) < CHUNK_BYTES:
                    break
                trial = digest.followed_by(chunk)
                if trial.prefixes[-1] != expected:
                    chunk = remote.read(number * CHUNK_BYTES, CHUNK_BYTES)
                    fetched += len(chunk)
                    trial = digest.followed_by(chunk)
                if trial.prefixes[-1] != expected:
                    break  # nothing tells any more what is right: the rest is fetched
                digest = trial
                _put(partial, number * CHUNK_BYTES, chunk)
                progress = Progress(file.filename, "checking", digest.hashed, file.size_bytes)
                listener.progress(progress)
            tail = old.read(CHUNK_BYTES)
            if digest.followed_by(tail).sha256 == file.sha256:
                _put(partial, digest.hashed, tail)
        transfer = Transfer(hub, source, partial, listener)
        transfer.run()
        return fetched + transfer.fetched


def _open_what_is_left(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError:
        return BytesIO()


def _put(partial: Partial, offset: int, content: bytes) -> None:
    view = memoryview(content)
    for start in range(0, len(view), PIECE_BYTES):
        piece = partial.get_piece()
        piece.fill(offset + start, view[start : start + PIECE_BYTES])
        partial.write(piece)
