"""Gets one file into the cache: found there, adopted, or fetched, and verified before it is named.

The order of the last steps is what makes a crash harmless: sync the bytes, compare the checksum,
rename, sync the folder, link the snapshot, write the receipt, add the row. A crash between any two
leaves either a partial that the next run continues, or a right file that the next run finds.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from mlm.errors import DiskSpaceError, IntegrityError
from mlm.store.cache_layout import BLOB_MODE, RepoCache
from mlm.store.copying import copy_file, share_file
from mlm.store.digest import Digest, digest_file
from mlm.store.hub import Hub
from mlm.store.listener import Listener, Phase, Progress
from mlm.store.lock import locked
from mlm.store.partial import Partial, discard_leftovers
from mlm.store.remote import SpoiledError
from mlm.store.space import check_space, occupied, writing_to
from mlm.store.transfer import Transfer
from mlm.store.types import DownloadStatus, ModelFile, RemoteFile

_ATTEMPTS = 2  # nothing tells which part of a wrong file is wrong: it is fetched whole once more
_KEEP_BYTES = 1024 * 1024  # a smaller partial is not worth keeping on a full disk


class ChecksumError(SpoiledError):
    """All bytes came, and they are not the promised ones."""

    code = "checksum"

    def __init__(self, filename: str, *, expected: str, actual: str) -> None:
        super().__init__(filename, f"its checksum is {actual} instead of {expected}")


class UnverifiableError(IntegrityError):
    """Nobody has said what the file's checksum should be."""

    code = "no_checksum"

    def __init__(self, filename: str) -> None:
        super().__init__(
            f"the hub gives no sha256 for {filename}, so it cannot be verified",
            remedy="if you trust it nevertheless, repeat with --allow-unverified",
        )


@dataclass(frozen=True, slots=True)
class Terms:
    """How a download is to be done."""

    allow_unverified: bool = False
    force: bool = False  # fetch again what is there
    limit_rate: int | None = None  # bytes per second


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the cache the files belong: a repository, and the commit that a revision is."""

    cache: RepoCache
    revision: str
    commit: str


@dataclass(frozen=True, slots=True)
class Fetched:
    """A verified blob, and how it came to be there."""

    blob: Path
    sha256: str
    status: DownloadStatus
    fetched_bytes: int = 0
    prefixes: Sequence[bytes] = ()  # see `mlm.store.digest`; none where it was not hashed now


class Ledger(Protocol):
    """What is known of blobs: asked before a download, told after it."""

    def is_trusted(self, blob: Path) -> bool:
        """Whether ``blob`` was verified before, and not touched since."""
        ...

    def find_twin(self, sha256: str) -> ModelFile | None:
        """Return a trusted file with these bytes, wherever it is."""
        ...

    def enter(self, file: RemoteFile, fetched: Fetched) -> None:
        """Write down that ``file`` is here now, and how it came."""
        ...


class Download:
    """Fetches files of one repository at one commit, one process at a time."""

    def __init__(
        self,
        hub: Hub,
        place: Place,
        terms: Terms,
        listener: Listener,
        ledger: Ledger,
    ) -> None:
        self._hub = hub
        self._cache = place.cache
        self._revision = place.revision
        self._commit = place.commit
        self._terms = terms
        self._listener = listener
        self._ledger = ledger

    def fetch(self, file: RemoteFile) -> Fetched:
        """Return the blob of ``file``, complete, verified, linked into its snapshot, known.

        Raises:
            UnverifiableError: there is no checksum to verify it by.
            ChecksumError, SpoiledError: what the server sends is wrong, twice.
            DiskSpaceError: it does not fit.
            NetworkError, AuthError, NotFoundError: the hub refuses or cannot be reached.
        """
        if file.sha256 is None and not self._terms.allow_unverified:
            raise UnverifiableError(file.filename)
        found = self.find_trusted(file)
        if found is not None and self._is_linked(file, found.blob):
            self._ledger.enter(file, found)
            return found
        with writing_to(self._cache.root, file.size_bytes):
            self._cache.prepare()
            with locked(self._cache.lock(self._name(file)), lambda: self._tell_waiting(file)):
                found = (
                    self.find_trusted(file)
                    or self._adopt(file)
                    or self._share(file)
                    or self._fetch(file)
                )
                discard_leftovers(self._cache.partial(self._name(file)))
                self._cache.link(self._commit, file.filename, found.blob)
                self._cache.set_ref(self._revision, self._commit, found.blob)
                self._ledger.enter(file, found)
        return found

    def check_space(self, files: Iterable[RemoteFile]) -> None:
        """Make sure that all of ``files`` that are not here yet fit on the disk together.

        Raises:
            DiskSpaceError: they do not.
        """
        missing = sum(self.missing_bytes(file) for file in files)
        if missing:
            folder = self._cache.root
            while not folder.exists():
                folder = folder.parent
            check_space(folder, missing)

    def missing_bytes(self, file: RemoteFile) -> int:
        """Return the bytes that still have to be written for ``file``."""
        name = self._name(file)
        if self._terms.force:
            return file.size_bytes
        for path in (self._cache.blob(name), self._cache.partial(name)):
            with contextlib.suppress(OSError):
                return max(0, file.size_bytes - occupied(path))
        return file.size_bytes

    def _name(self, file: RemoteFile) -> str:
        """Return the name of the blob: its checksum, or until that is known, one for its place."""
        place = f"{self._cache.repo_id}/{self._commit}/{file.filename}"
        return file.sha256 or file.git_oid or hashlib.sha256(place.encode()).hexdigest()

    def _tell_waiting(self, file: RemoteFile) -> None:
        partial = self._cache.partial(self._name(file))
        with contextlib.suppress(OSError):
            self._tell(file, "waiting", occupied(partial))

    def _tell(self, file: RemoteFile, phase: Phase, done: int) -> None:
        self._listener.progress(Progress(file.filename, phase, done, file.size_bytes))

    def find_trusted(self, file: RemoteFile) -> Fetched | None:
        """Return the blob of ``file`` if it is there and was verified; nothing is read or asked."""
        blob = self._cache.blob(self._name(file))
        if self._terms.force or file.sha256 is None or not self._ledger.is_trusted(blob):
            return None
        return Fetched(blob, file.sha256, "present")

    def _is_linked(self, file: RemoteFile, blob: Path) -> bool:
        linked = self._cache.is_linked(self._commit, file.filename, blob)
        return linked and self._cache.knows_ref(self._revision, self._commit)

    def _adopt(self, file: RemoteFile) -> Fetched | None:
        """Return the blob if somebody has put it there already, and it is right."""
        blob = self._cache.blob(self._name(file))
        if self._terms.force or file.sha256 is None or not blob.is_file():
            return None
        if blob.stat().st_size != file.size_bytes:
            return None
        digest = digest_file(blob, lambda done: self._tell(file, "checking", done))
        if digest.sha256 != file.sha256:
            self._listener.note(f"{file.filename} is in the cache, but corrupt: fetching it again")
            return None
        with contextlib.suppress(OSError):  # somebody else's file: reading it is enough
            blob.chmod(BLOB_MODE)
        return Fetched(blob, file.sha256, "adopted", prefixes=digest.prefixes)

    def _share(self, file: RemoteFile) -> Fetched | None:
        """Return a blob that shares the bytes of a file elsewhere on this machine, if one does.

        Where the disk cannot share them they are copied: still faster than any network. So is a
        file of a person's own, rather than linked: they may write to it.
        """
        if self._terms.force or file.sha256 is None:
            return None
        twin = self._ledger.find_twin(file.sha256)
        if twin is None:
            return None
        # Never under the name of a partial: that would be written to, and with it the other file.
        target = self._cache.unfinished(file.sha256)
        source = Path(os.path.realpath(twin.path))
        sharing = share_file(source, target, may_link=twin.origin != "import")
        if sharing is None:
            sha256 = copy_file(source, target, lambda done: self._tell(file, "checking", done))
            if sha256 != file.sha256:
                target.unlink()
                return None
        how = {"hardlink": "linked", "clone": "shared", None: "copied"}[sharing]
        self._listener.note(f"{file.filename} is on this machine as {source}: {how}, not fetched")
        return Fetched(self._cache.publish(target, file.sha256), file.sha256, "adopted")

    def _fetch(self, file: RemoteFile) -> Fetched:
        fetched = 0
        for attempt in range(1, _ATTEMPTS + 1):
            partial = self._open_partial(file)
            resumed = partial.size > 0
            transfer = self._transfer(partial)
            try:
                digest = self._complete(partial, transfer)
            except SpoiledError as error:
                partial.discard()
                if attempt == _ATTEMPTS:
                    raise
                self._listener.note(f"{error.message}; fetching it once more from the start")
                continue
            finally:
                partial.close()
                fetched += transfer.fetched
            name = file.sha256 or file.git_oid or digest.sha256
            blob = self._cache.publish(partial.path, name)
            status: DownloadStatus = "resumed" if resumed else "downloaded"
            return Fetched(blob, digest.sha256, status, fetched, digest.prefixes)
        raise AssertionError("the last attempt returns or raises")

    def _open_partial(self, file: RemoteFile) -> Partial:
        return Partial(self._cache.partial(self._name(file)), file, self._commit)

    def _transfer(self, partial: Partial) -> Transfer:
        filename = partial.expected.filename
        source = self._hub.source(self._cache.repo_id, self._commit, filename)
        return Transfer(self._hub, source, partial, self._listener, self._terms.limit_rate)

    def _complete(self, partial: Partial, transfer: Transfer) -> Digest:
        """Fetch what is missing and compare the checksum."""
        file = partial.expected
        try:
            transfer.run()
            digest = partial.finish()
        except (OSError, DiskSpaceError):
            if partial.size < _KEEP_BYTES:
                partial.discard()
            raise
        expected = file.sha256 or file.git_oid
        actual = digest.sha256 if file.sha256 else digest.git_oid
        if expected is not None and actual != expected:
            raise ChecksumError(file.filename, expected=expected, actual=str(actual))
        return digest
