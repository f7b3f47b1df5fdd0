"""What has become of locked files in the repository that they are from."""

from dataclasses import dataclass
from typing import Literal

from mlm.manifest.types import LockedModel
from mlm.store.types import RemoteFile, RepoFiles

FileNews = Literal["same", "replaced", "gone"]
News = Literal["current", "moved", "replaced", "unavailable"]


@dataclass(frozen=True, slots=True)
class ComparedFile:
    """One locked file and what has its name now."""

    locked: RemoteFile
    upstream: RemoteFile | None

    @property
    def news(self) -> FileNews:
        """Whether somebody who downloads it now gets the same bytes."""
        if self.upstream is None:
            return "gone"
        return "same" if self.upstream.sha256 == self.locked.sha256 else "replaced"


@dataclass(frozen=True, slots=True)
class Compared:
    """One locked model and its repository now; ``why``: what the hub says if it shows none."""

    model: LockedModel
    commit: str | None
    files: tuple[ComparedFile, ...] = ()
    why: str | None = None

    @property
    def news(self) -> News:
        """All of it in a word; ``moved`` is a new commit with the same files."""
        if self.commit is None:
            return "unavailable"
        if any(file.news != "same" for file in self.files):
            return "replaced"
        return "current" if self.commit == self.model.commit else "moved"


def compare_upstream(model: LockedModel, repo: RepoFiles) -> Compared:
    """Return how ``model`` compares with its repository at the revision that it follows."""
    there = {file.filename: file for file in repo.files}
    files = tuple(ComparedFile(file, there.get(file.filename)) for file in model.files)
    return Compared(model, repo.commit, files)
