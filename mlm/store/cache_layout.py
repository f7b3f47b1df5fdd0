"""The Hugging Face cache on disk, so that other tools see our files and we see theirs.

models--org--repo/blobs/<sha256>                 the bytes, once per repository
models--org--repo/snapshots/<commit>/<filename>  relative symbolic links to them
models--org--repo/refs/main                      the commit that a branch was last seen at
.locks/models--org--repo/<sha256>.lock           taken by whoever fetches the blob

What huggingface_hub fetches from the Xet storage it shares between repositories: a blob is then a
link to ``blobs/<2 digits>/<Xet hash>`` of the whole cache, with a lock and a list of links beside.
"""

import contextlib
import os
import shutil
from pathlib import Path

from mlm.store.lock import locked, try_locked
from mlm.store.names import is_sha256

_TAG = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This folder can be fetched again; backups may leave it out: https://bford.info/cachedir/\n"
)
PARTIAL = ".mlm-partial"  # what follows the name of a blob that is on its way in
BLOB_MODE = 0o444  # a model is mapped into memory while it runs: its file never changes in place


class RepoCache:
    """One repository's part of the cache. Names must have been checked (`mlm.store.names`)."""

    def __init__(self, cache_dir: Path, repo_id: str) -> None:
        self.cache_dir = cache_dir
        self.repo_id = repo_id
        self._name = f"models--{repo_id.replace('/', '--')}"
        self.root = cache_dir / self._name
        self.blobs = self.root / "blobs"
        self.snapshots = self.root / "snapshots"
        self.refs = self.root / "refs"

    def blob(self, name: str) -> Path:
        """Where the bytes with this checksum are, or will be."""
        return self.blobs / name

    def partial(self, name: str) -> Path:
        """Where they are kept until they are complete; no tool prunes this name."""
        return self.blobs / f"{name}{PARTIAL}"

    def lock(self, name: str) -> Path:
        """The lock that every tool takes before it fetches this blob."""
        return self.cache_dir / ".locks" / self._name / f"{name}.lock"

    def snapshot(self, commit: str, filename: str) -> Path:
        """Where a file of a commit is found."""
        return self.snapshots / commit / filename

    def prepare(self) -> None:
        """Make the folders.

        Raises:
            OSError: they cannot be made.
        """
        self.blobs.mkdir(parents=True, exist_ok=True)
        self.snapshots.mkdir(exist_ok=True)  # without it, `hf cache ls` calls the cache corrupt
        tag = self.cache_dir / "CACHEDIR.TAG"
        if not tag.exists():
            tag.write_text(_TAG, encoding="ascii")

    def publish(self, partial: Path, name: str) -> Path:
        """Give a verified partial file its final name, for good even if the power fails now."""
        blob = self.blob(name)
        shared = self.shared_file(blob)
        if partial.stat().st_nlink == 1:  # else its mode is that of a file which is not ours, too
            partial.chmod(BLOB_MODE)
        partial.replace(blob)
        sync_folder(self.blobs)
        if shared is not None:
            self._sweep(shared)
        return blob

    def shared_file(self, blob: Path) -> Path | None:
        """Return the file shared between repositories that ``blob`` is a link to, if it is one."""
        try:
            link = blob.readlink()
        except OSError:
            return None
        shared = self.cache_dir / "blobs" / link.name[:2] / link.name
        leads_there = os.path.normpath(blob.parent / link) == os.path.normpath(shared)
        return shared if leads_there and is_sha256(link.name) else None

    def is_linked(self, commit: str, filename: str, blob: Path) -> bool:
        """Whether ``filename`` at ``commit`` leads to ``blob``, which exists."""
        path = self.snapshot(commit, filename)
        return path.exists() and self.blob_of(path) == blob

    def link(self, commit: str, filename: str, blob: Path) -> Path:
        """Make ``filename`` at ``commit`` lead to ``blob`` and return its path.

        The caller holds the lock of the blob.
        """
        path = self.snapshot(commit, filename)
        if self.is_linked(commit, filename, blob):
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.unfinished(blob.name)
        try:
            unfinished.symlink_to(os.path.relpath(blob, path.parent))
        except OSError:  # Windows without the right to make links
            _link_or_copy(blob, unfinished)
        unfinished.replace(path)
        sync_folder(path.parent)
        return path

    def knows_ref(self, revision: str, commit: str) -> bool:
        """Whether ``revision`` (a branch or tag) is recorded as ``commit``; a commit is itself."""
        path = self.refs / revision
        return revision == commit or (path.is_file() and path.read_text("utf-8") == commit)

    def set_ref(self, revision: str, commit: str, blob: Path) -> None:
        """Record that ``revision`` is ``commit``. The caller holds the lock of ``blob``."""
        if self.knows_ref(revision, commit):
            return
        path = self.refs / revision
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.unfinished(blob.name)
        unfinished.write_text(commit, encoding="utf-8")
        unfinished.replace(path)

    def unfinished(self, name: str) -> Path:
        """Return a free place for what only the holder of a lock makes, out of others' sight."""
        path = self.lock(name).with_suffix(".unfinished")
        path.unlink(missing_ok=True)
        return path

    def remove(self, commit: str, filename: str) -> int:
        """Delete a file of a commit, its blob unless another commit uses it, and empty folders.

        Return the bytes that became free.
        """
        path = self.snapshot(commit, filename)
        blob = self.blob_of(path)
        freed = 0
        with contextlib.ExitStack() as held:
            if blob is not None:  # nobody must link to it between the look and the deed
                held.enter_context(locked(self.lock(blob.name)))
            path.unlink(missing_ok=True)
            if blob is not None and blob not in self._linked_blobs():
                freed = self._remove_blob(blob)
        self._remove_empty(path.parent)
        return freed

    def remove_orphan(self, blob: Path) -> bool:
        """Delete a blob that no commit uses, unless it is fetched now or was linked to meanwhile.

        Return whether it is gone.
        """
        with try_locked(self.lock(blob.name)) as is_ours:
            if not is_ours or blob in self._linked_blobs():
                return False
            with contextlib.suppress(FileNotFoundError):
                self._remove_blob(blob)
        self._remove_empty(self.snapshots)
        return True

    def remove_leftover(self, leftover: Path) -> bool:
        """Delete what a download left behind, unless somebody holds its lock: it goes on then.

        Return whether it is gone.
        """
        with try_locked(self.lock(leftover.name.split(".")[0])) as is_ours:
            if is_ours:
                leftover.unlink(missing_ok=True)
        self._remove_empty(self.snapshots)
        return is_ours

    def blob_of(self, path: Path) -> Path | None:
        """Return the blob that a snapshot's file leads to, None when it leads nowhere."""
        if path.is_symlink():
            blob = self.blobs / path.readlink().name
            return blob if blob.is_file() else None
        if not path.is_file():
            return None
        twins = (blob for blob in self.blobs.iterdir() if blob.samefile(path))
        return next(twins, None)

    def _remove_blob(self, blob: Path) -> int:
        """Delete a blob, and what only it shares with others; return the bytes that became free."""
        shared = self.shared_file(blob)
        freed = remove_name(blob)
        return freed if shared is None else self._sweep(shared)

    def _sweep(self, shared: Path) -> int:
        """Delete a shared file unless a repository still links to it; return the bytes freed."""
        with locked(shared.with_name(f"{shared.name}.lock")):
            blobs = self.cache_dir.glob("*--*/blobs/*")
            if not shared.is_file() or any(
                blob.is_symlink() and blob.readlink().name == shared.name for blob in blobs
            ):
                return 0
            shared.with_name(f"{shared.name}.refs").unlink(missing_ok=True)
            return remove_name(shared)

    def _linked_blobs(self) -> set[Path | None]:
        files = (path for path in self.snapshots.rglob("*") if not path.is_dir())
        return {self.blob_of(path) for path in files}

    def _remove_empty(self, folder: Path) -> None:
        """Delete ``folder`` and those above it as far as they are empty, then refs to nothing."""
        with contextlib.suppress(OSError):
            while folder != self.snapshots:
                folder.rmdir()
                folder = folder.parent
        if not self.snapshots.is_dir():
            return
        commits = {path.name for path in self.snapshots.iterdir()}
        for ref in [path for path in self.refs.rglob("*") if path.is_file()]:
            if ref.read_bytes().decode("utf-8", "replace") not in commits:
                ref.unlink(missing_ok=True)
        if not commits and not any(self.blobs.iterdir()):
            shutil.rmtree(self.root)
            shutil.rmtree(self.lock("").parent, ignore_errors=True)


def remove_name(path: Path) -> int:
    """Delete one name of a file; return the bytes that became free: none while it has another."""
    status = path.lstat()
    path.unlink()
    return status.st_size if status.st_nlink == 1 else 0


def sync_folder(folder: Path) -> None:
    """Make new names in ``folder`` survive a power cut, where the system can promise that."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:
        shutil.copyfile(source, target)
