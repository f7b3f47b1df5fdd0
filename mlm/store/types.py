"""What the store holds, and what it knows of files that are still on the hub."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Origin = Literal["hub", "import", "adopted"]
DownloadStatus = Literal["downloaded", "resumed", "present", "adopted", "planned"]


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One model file on disk. ``ref`` is what a person types to get it again.

    A model in several shards is its first one; ``size_bytes`` then counts all ``n_files``.
    """

    ref: str  # org/repo:Q4_K_M, or the path of an imported file
    model_id: str  # what the server calls it; never a path
    model: str | None  # the catalog's name for it, where it has one
    quant: str | None
    repo_id: str | None
    commit: str | None
    filename: str  # inside the repository
    path: Path
    size_bytes: int
    sha256: str | None
    verified_at: float | None  # Unix time of the last time all bytes were hashed and right
    origin: Origin
    last_used_at: float | None
    n_files: int = 1

    @property
    def short_ref(self) -> str:
        """The shortest that finds it again: by the catalog's name where there is one."""
        return f"{self.model}:{self.quant}" if self.model and self.quant else self.ref


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as the hub lists it."""

    filename: str
    size_bytes: int
    sha256: str | None  # of the bytes; None for small files that git itself keeps
    git_oid: str | None = None  # git's own object id, sha1 over a short header and the bytes


@dataclass(frozen=True, slots=True)
class RepoFiles:
    """The GGUF files of a repository at one commit."""

    repo_id: str
    commit: str
    files: tuple[RemoteFile, ...]
    tags: tuple[str, ...] = ()  # license:apache-2.0, base_model:org/name …
    gated: bool | None = None


@dataclass(frozen=True, slots=True)
class RepoSummary:
    """A repository that the hub has found."""

    repo_id: str
    tags: tuple[str, ...]
    gated: bool | None
    downloads: int | None  # in the last month
    likes: int | None


@dataclass(frozen=True, slots=True)
class Downloaded:
    """What became of one file that was asked for."""

    repo_id: str
    revision: str
    commit: str | None  # None: of a file that was here without one
    filename: str
    path: Path
    size_bytes: int
    sha256: str | None
    status: DownloadStatus
    fetched_bytes: int  # over the network, by this run
    elapsed_s: float


@dataclass(frozen=True, slots=True)
class Verified:
    """What looking at one file again found."""

    file: ModelFile
    path: Path
    expected: str | None  # None: nobody has said what it should be
    actual: str | None  # None: the file is gone, or cannot be read
    hashed: bool = True  # False: not read, for nothing has touched it since it was
    rotten_at: int | None = None  # the offset of the first chunk that is wrong, where it is known
    repaired_bytes: int | None = None  # fetched to make it right again

    @property
    def ok(self) -> bool:
        """Whether every byte is what was promised."""
        return self.expected is not None and self.actual == self.expected


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What an index was made from."""

    receipts: int  # that could be read
    found: int  # files in the cache that there is no receipt for
    gone: tuple[ModelFile, ...]  # known from a receipt, but not there
    unreadable: int  # receipts that are damaged
