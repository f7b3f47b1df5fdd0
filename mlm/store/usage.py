"""What takes the space: each file of mlm's places counted once, under one heading."""

import os
import shutil
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mlm.paths import Home
from mlm.store.copies import Copies
from mlm.store.sharing import Names
from mlm.store.store import Store
from mlm.store.survey import DiskFile, Inode, RepoSurvey, look_at, survey_cache, walk_files
from mlm.store.types import ModelFile

Category = Literal[
    "models", "in_place", "partial", "orphan", "other_cache",
    "sessions", "response_cache", "stats", "index", "logs", "other",
]  # fmt: skip
CATEGORIES: tuple[Category, ...] = Category.__args__  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """One model's part. What is shared would not become free if this model alone went."""

    model: ModelFile
    in_place: bool  # its file is not mlm's
    exclusive_bytes: int
    shared_bytes: int
    shared_with: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Disk:
    """A file system that holds some of it."""

    mount: Path
    total: int
    free: int
    folders: tuple[Path, ...]  # of mlm's that are on it


@dataclass(frozen=True, slots=True)
class Usage:
    """The whole account. ``categories`` are disjoint: a file with two names is counted once."""

    models: tuple[ModelUsage, ...]
    categories: dict[Category, int]
    disks: tuple[Disk, ...]

    @property
    def total_bytes(self) -> int:
        """Of everything but the files that are only registered in place."""
        return sum(size for name, size in self.categories.items() if name != "in_place")


def measure_usage(store: Store) -> Usage:
    """Return what takes the space now."""
    repos = survey_cache(store.hub_cache)
    names = Names(_files(store), repos)
    models = [_measure(store, model, names) for model in _largest(store)]
    count = _Count(store)
    for repo in repos:
        count.add_repo(repo)
    for folder in Copies(store.home.models).abandoned():
        for file in walk_files(folder):
            count.add("partial", file)
    for file in walk_files(store.hub_cache):
        count.add("other_cache", file)
    for file in walk_files(store.home.root):
        count.add(_category(store.home, file.path), file)
    folders = [store.hub_cache, store.home.root]
    folders += [usage.model.path.parent for usage in models if usage.in_place]
    return Usage(tuple(models), count.bytes, tuple(_find_disks(folders)))


def _files(store: Store) -> list[ModelFile]:
    return [receipt.file for receipt in store.receipts()]


def _largest(store: Store) -> list[ModelFile]:
    return sorted(store.models(), key=lambda model: (-model.size_bytes, model.ref))


def _measure(store: Store, model: ModelFile, names: Names) -> ModelUsage:
    exclusive, shared, sharers = 0, 0, dict[str, None]()
    files = store.files(model)
    for file in files:
        content = look_at(file.path, follow=True)
        if content is None:
            continue
        if others := names.others(file):
            shared += content.size_bytes
            sharers |= dict.fromkeys(others)
        else:
            exclusive += content.size_bytes
    in_place = not all(store.is_ours(file) for file in files)
    return ModelUsage(model, in_place, exclusive, shared, tuple(sharers))


@dataclass(slots=True)
class _Count:
    """Adds up sizes, each file once; what is a model is known before anything is added."""

    store: Store
    bytes: dict[Category, int] = field(default_factory=lambda: dict.fromkeys(CATEGORIES, 0))
    _counted: set[Inode] = field(default_factory=set)

    def __post_init__(self) -> None:
        ours: list[DiskFile] = []
        others: list[DiskFile] = []
        for file in _files(self.store):
            if content := look_at(file.path, follow=True):
                (ours if self.store.is_ours(file) else others).append(content)
        for content in ours:
            self.add("models", content)
        for content in others:
            self.add("in_place", content)

    def add(self, category: Category, file: DiskFile) -> None:
        """Count ``file`` unless it has been counted."""
        if file.inode not in self._counted:
            self._counted.add(file.inode)
            self.bytes[category] += file.held_bytes if category == "partial" else file.size_bytes

    def add_repo(self, repo: RepoSurvey) -> None:
        """Count what is unfinished or has lost its name in one repository."""
        linked = {link.blob.inode for link in repo.links if link.blob}
        for file in repo.leftovers:
            self.add("partial", file)
        for blob in repo.blobs:
            if blob.inode not in linked:
                self.add("orphan", blob)


def _category(home: Home, path: Path) -> Category:
    databases: dict[Path, Category] = {
        home.sessions_db: "sessions",
        home.response_cache_db: "response_cache",
        home.stats_db: "stats",
        home.ledger_db: "stats",
        home.index_db: "index",
    }
    for database, category in databases.items():
        if path.parent == database.parent and path.name.startswith(database.name):
            return category  # -wal, -shm and .broken as well
    if home.logs in path.parents:
        return "logs"
    is_known = home.receipts in path.parents or home.prefixes in path.parents
    return "index" if is_known else "other"


def _find_disks(folders: Iterable[Path]) -> Iterable[Disk]:
    on: dict[int, list[Path]] = defaultdict(list)
    for folder in dict.fromkeys(folders):
        existing = next((p for p in (folder, *folder.absolute().parents) if p.exists()), None)
        if existing is not None:
            on[existing.stat().st_dev].append(folder)
    for found in on.values():
        place = next(p for p in (found[0], *found[0].absolute().parents) if p.exists())
        space = shutil.disk_usage(place)
        yield Disk(_mount_of(place), space.total, space.free, tuple(found))


def _mount_of(place: Path) -> Path:
    real = Path(os.path.realpath(place))
    return next(
        path for path in (real, *real.parents) if os.path.ismount(path) or path == path.parent
    )
