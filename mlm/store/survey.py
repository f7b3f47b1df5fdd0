"""What lies on the disk, fact by fact: files, and in a cache what leads to them or is unfinished.

Nothing is followed out of a folder, and what cannot be read is left out: caches are written by
many tools, and some of what is found there was meant to mislead.
"""

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from mlm.store.cache_layout import PARTIAL, RepoCache
from mlm.store.names import is_commit, is_filename, is_repo_id, is_sha256

Inode = tuple[int, int]  # device and number: the same for every name of a file
_BLOCK_BYTES = 512  # the unit of st_blocks, whatever the file system's own is
_MAX_REF_BYTES = 4096


@dataclass(frozen=True, slots=True)
class DiskFile:
    """A regular file under one of its names."""

    path: Path
    size_bytes: int
    held_bytes: int  # that it takes on the disk: less than its size where it has holes
    inode: Inode
    n_links: int
    changed_at: float  # Unix time
    owner: tuple[int, int]  # user and group
    mode: int  # permissions

    def is_same_as(self, other: "DiskFile | None") -> bool:
        """Whether ``other`` is a later look at this file, and nothing has touched it between."""
        if other is None or self.inode != other.inode:
            return False
        return (self.size_bytes, self.changed_at) == (other.size_bytes, other.changed_at)


@dataclass(frozen=True, slots=True)
class Link:
    """A file of a commit, and the blob that it leads to; None where it leads nowhere."""

    commit: str
    filename: str
    path: Path
    blob: DiskFile | None
    made_at: float  # Unix time


@dataclass(frozen=True, slots=True)
class RepoSurvey:
    """One repository's folder in a cache."""

    repo_id: str
    cache: RepoCache
    blobs: tuple[DiskFile, ...]
    leftovers: tuple[DiskFile, ...]  # of downloads that did not end: ours and huggingface_hub's
    links: tuple[Link, ...]
    refs: dict[str, str]  # branch or tag -> commit


def look_at(path: Path, *, follow: bool = False) -> DiskFile | None:
    """Return the regular file at ``path``, None if there is no such thing."""
    try:
        status = path.stat() if follow else path.lstat()
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    blocks = getattr(status, "st_blocks", None)
    held = status.st_size if blocks is None else min(status.st_size, blocks * _BLOCK_BYTES)
    return DiskFile(
        path=path,
        size_bytes=status.st_size,
        held_bytes=held,
        inode=(status.st_dev, status.st_ino),
        n_links=status.st_nlink,
        changed_at=status.st_mtime,
        owner=(status.st_uid, status.st_gid),
        mode=stat.S_IMODE(status.st_mode),
    )


def walk_files(root: Path) -> Iterator[DiskFile]:
    """Yield every regular file below ``root``; links are not followed."""
    folders = [root]
    while folders:
        for entry in _entries(folders.pop()):
            path = Path(entry.path)
            if _is_folder(entry):
                folders.append(path)
            elif found := look_at(path):
                yield found


def survey_cache(hub_cache: Path) -> list[RepoSurvey]:
    """Return what lies in a Hugging Face cache, a survey per repository of models."""
    found = []
    for entry in _entries(hub_cache):
        kind, _, name = entry.name.partition("--")
        repo_id = name.replace("--", "/", 1)
        if kind == "models" and _is_folder(entry) and is_repo_id(repo_id):
            found.append(_survey_repo(RepoCache(hub_cache, repo_id)))
    return found


def _survey_repo(cache: RepoCache) -> RepoSurvey:
    paths = [Path(entry.path) for entry in _entries(cache.blobs)]
    files = [file for path in paths if (file := look_at(path) or _look_at_shared(cache, path))]
    blobs = tuple(file for file in files if is_blob_name(file.path.name))
    return RepoSurvey(
        repo_id=cache.repo_id,
        cache=cache,
        blobs=blobs,
        leftovers=tuple(file for file in files if is_leftover_name(file.path.name)),
        links=tuple(_links(cache, {blob.path.name: blob for blob in blobs})),
        refs=_read_refs(cache.refs),
    )


def _look_at_shared(cache: RepoCache, blob: Path) -> DiskFile | None:
    """Return the file that ``blob`` shares with other repositories, under the blob's own name."""
    shared = cache.shared_file(blob)
    found = look_at(shared) if shared else None
    return replace(found, path=blob) if found else None


def is_blob_name(name: str) -> bool:
    """Whether a file in ``blobs`` is complete: it is called by a sha256 or a git object id."""
    return is_sha256(name) or is_commit(name)


def is_leftover_name(name: str) -> bool:
    """Whether a file in ``blobs`` belongs to a download that has not ended."""
    return PARTIAL in name or name.endswith(".incomplete")


def _links(cache: RepoCache, blobs: dict[str, DiskFile]) -> Iterator[Link]:
    by_inode = {blob.inode: blob for blob in blobs.values()}
    for commit in _entries(cache.snapshots):
        if not _is_folder(commit):
            continue
        for path in _walk_names(Path(commit.path)):
            filename = path.relative_to(commit.path).as_posix()
            if is_filename(filename):
                yield _read_link(commit.name, filename, path, (blobs, by_inode))


def _read_link(
    commit: str,
    filename: str,
    path: Path,
    blobs: tuple[dict[str, DiskFile], dict[Inode, DiskFile]],
) -> Link:
    by_name, by_inode = blobs
    blob, made_at = None, 0.0
    try:
        status = path.lstat()
        made_at = status.st_mtime
        if stat.S_ISLNK(status.st_mode):
            blob = by_name.get(path.readlink().name)
        else:  # where links are forbidden, snapshots hold the files themselves
            blob = by_inode.get((status.st_dev, status.st_ino)) or look_at(path)
    except OSError:
        pass  # it went while we looked
    return Link(commit, filename, path, blob, made_at)


def _walk_names(root: Path) -> Iterator[Path]:
    folders = [root]
    while folders:
        for entry in _entries(folders.pop()):
            if _is_folder(entry):
                folders.append(Path(entry.path))
            else:
                yield Path(entry.path)


def _read_refs(folder: Path) -> dict[str, str]:
    refs = {}
    for file in walk_files(folder):
        if file.size_bytes <= _MAX_REF_BYTES:
            try:
                commit = file.path.read_text(encoding="ascii").strip()
            except (OSError, ValueError):
                continue
            refs[file.path.relative_to(folder).as_posix()] = commit
    return refs


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir(follow_symlinks=False)
    except OSError:
        return False
