"""What the fake hub holds: repositories, commits, files."""

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any


@dataclass
class File:
    """One file at one commit. Without ``lfs`` it is kept by git and has no sha256 in listings.

    The content of a large one is a path: it is sent from there without being held in memory.
    """

    name: str
    content: bytes | Path
    lfs: bool = True
    listed: dict[str, Any] = field(default_factory=dict)  # fields of the listing to lie about
    xet_hash: str | None = None  # as files have that the hub keeps in its newer storage

    @cached_property
    def size(self) -> int:
        return self.content.stat().st_size if isinstance(self.content, Path) else len(self.content)

    @cached_property
    def sha256(self) -> str:
        if isinstance(self.content, Path):
            with self.content.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def git_oid(self) -> str:
        if isinstance(self.content, Path):
            return hashlib.sha1(f"pointer to {self.sha256}".encode()).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()

    @property
    def etag(self) -> str:
        return self.sha256 if self.lfs else self.git_oid

    def sibling(self, *, with_blobs: bool) -> dict[str, Any]:
        """Return the entry of ``GET /api/models/{id}``."""
        entry: dict[str, Any] = {"rfilename": self.name}
        if with_blobs:
            entry |= {"size": self.size, "blobId": self.git_oid}
            if self.lfs:
                entry["lfs"] = {"sha256": self.sha256, "size": self.size, "pointerSize": 135}
        return entry | self.listed

    def tree_entry(self) -> dict[str, Any]:
        """Return the entry of ``GET /api/models/{id}/tree/{rev}``."""
        entry: dict[str, Any] = {
            "type": "file",
            "path": self.name,
            "size": self.size,
            "oid": self.git_oid,
        }
        if self.lfs:
            entry["lfs"] = {"oid": self.sha256, "size": self.size, "pointerSize": 135}
        if self.xet_hash:
            entry["xetHash"] = self.xet_hash
        return entry


@dataclass
class Repo:
    """A repository with all its commits; ``refs`` says which of them a name means."""

    repo_id: str
    commits: dict[str, dict[str, File]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    token: str | None = None  # who does not show it is refused
    gated: bool = False  # … as somebody who has not accepted the licence
    info: dict[str, Any] = field(default_factory=dict)  # fields of the description to lie about

    def commit(self, files: list[File], ref: str = "main") -> str:
        """Make a commit with these files and let ``ref`` mean it; return its hash."""
        parts = [self.repo_id, str(len(self.commits)), *(f"{f.name}:{f.sha256}" for f in files)]
        commit = hashlib.sha1("\n".join(parts).encode()).hexdigest()
        self.commits[commit] = {file.name: file for file in files}
        self.refs[ref] = commit
        return commit

    def find(self, revision: str) -> str | None:
        """Return the commit that ``revision`` means."""
        return revision if revision in self.commits else self.refs.get(revision)

    def describe(self, commit: str, *, with_blobs: bool) -> dict[str, Any]:
        """Return the answer to ``GET /api/models/{id}``."""
        files = self.commits[commit].values()
        return {
            "_id": "0" * 24,
            "id": self.repo_id,
            "modelId": self.repo_id,
            "sha": commit,
            "private": False,
            "gated": "manual" if self.gated else False,
            "disabled": False,
            "tags": ["gguf"],
            "downloads": 0,
            "likes": 0,
            "lastModified": "2026-01-01T00:00:00.000Z",
            "createdAt": "2026-01-01T00:00:00.000Z",
            "siblings": [file.sibling(with_blobs=with_blobs) for file in files],
        } | self.info

    def summarize(self) -> dict[str, Any]:
        """Return what a search tells of it: the description without commit and files."""
        described = self.describe(self.refs["main"], with_blobs=False)
        return {key: value for key, value in described.items() if key not in ("sha", "siblings")}

    def list_tree(self, commit: str, folder: str, *, recursive: bool) -> list[dict[str, Any]]:
        """Return the answer to ``GET /api/models/{id}/tree/{rev}/{folder}``, all pages of it."""
        below = f"{folder}/" if folder else ""
        entries, folders = [], {}
        for file in self.commits[commit].values():
            if not file.name.startswith(below):
                continue
            inside = file.name[len(below) :].split("/")
            for depth in range(1, len(inside)):
                path = below + "/".join(inside[:depth])
                oid = hashlib.sha1(path.encode()).hexdigest()
                if recursive or depth == 1:
                    folders[path] = {"type": "directory", "path": path, "oid": oid, "size": 0}
            if recursive or len(inside) == 1:
                entries.append(file.tree_entry())
        return [*folders.values(), *entries]
