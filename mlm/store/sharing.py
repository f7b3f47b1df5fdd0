"""Who else would miss a file: every known name of the same bytes on disk."""

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from mlm.store.survey import DiskFile, Inode, RepoSurvey, look_at
from mlm.store.types import ModelFile


class Names:
    """The names under which model files are known: registered ones, and those of the caches."""

    def __init__(self, files: Iterable[ModelFile], repos: Iterable[RepoSurvey]) -> None:
        self._names: dict[Inode, dict[Path, str]] = defaultdict(dict)  # path -> words for it
        self._entries: dict[Inode, set[str]] = defaultdict(set)  # where the directories have it
        for repo in repos:
            for link in repo.links:
                if link.blob is not None:
                    words = f"{repo.repo_id}/{link.filename} at commit {link.commit[:7]}"
                    self._names[link.blob.inode][link.path] = words
                    self._entries[link.blob.inode].add(os.path.realpath(link.path))
            for blob in repo.blobs:
                self._entries[blob.inode].add(os.path.realpath(blob.path))
        for file in files:
            if content := look_at(file.path, follow=True):
                at = f" at commit {file.commit[:7]}" if file.commit else ""
                self._names[content.inode][file.path] = f"{file.ref}{at}"
                self._entries[content.inode].add(os.path.realpath(file.path))

    def others(self, file: ModelFile, going: Collection[Path] = ()) -> list[str]:
        """Return in words what else leads to the bytes of ``file``; ``going`` are no obstacle."""
        content = look_at(file.path, follow=True)
        return list(self._others(content, {file.path, *going})) if content else []

    def _others(self, content: DiskFile, going: Collection[Path]) -> Iterator[str]:
        for path, words in self._names[content.inode].items():
            if path not in going:
                yield words
        unknown = content.n_links - len(self._entries[content.inode])
        if unknown > 0:
            yield f"{unknown} hard link{'s' if unknown > 1 else ''} that mlm does not know"
