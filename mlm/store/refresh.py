"""What has become of the files that the catalog lists, by the listings of their repositories."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from mlm.catalog.types import CatalogEntry, Quant, Shard, SideFile
from mlm.store.names import split_shard
from mlm.store.types import RemoteFile, RepoFiles
from mlm.store.variant import group_variants

News = Literal["same", "pinned", "resized", "replaced", "gone"]


@dataclass(frozen=True, slots=True)
class FileNews:
    """One file, or set of shards, of an entry, and what has its name now."""

    label: str  # Q4_K_M, or mmproj
    listed: Quant | SideFile
    found: tuple[RemoteFile, ...]  # in the order of the shards; empty: gone
    commit: str

    @property
    def news(self) -> News:
        """In a word. ``pinned``: only more is known now, a checksum or the exact size."""
        if not self.found:
            return "gone"
        known = self._known()
        if any(old and new and old != new for old, new in zip(known, self.sha256s, strict=True)):
            return "replaced"
        if self.listed.size_exact and self.listed.size_bytes != self.size_bytes:
            return "resized"
        is_more = not self.listed.size_exact or any(
            new and not old for old, new in zip(known, self.sha256s, strict=True)
        )
        return "pinned" if is_more else "same"

    @property
    def size_bytes(self) -> int:
        """What it has now, all shards together."""
        return sum(file.size_bytes for file in self.found)

    @property
    def sha256s(self) -> tuple[str | None, ...]:
        """The checksums that the hub gives, of each file."""
        return tuple(file.sha256 for file in self.found)

    @property
    def was_verified(self) -> bool:
        """Whether the catalog's checksum had been verified."""
        return self.listed.sha256_verified

    def _known(self) -> tuple[str | None, ...]:
        """Return the catalog's checksums, of each file."""
        if len(self.found) == 1:
            return (self.listed.sha256,)
        shards = self.listed.shards if isinstance(self.listed, Quant) else ()
        known = {shard.filename: shard.sha256 for shard in shards}
        return tuple(known.get(file.filename) for file in self.found)


@dataclass(frozen=True, slots=True)
class Refreshed:
    """An entry as the hub has it now."""

    entry: CatalogEntry  # with what was found
    files: tuple[FileNews, ...]
    unlisted: tuple[str, ...]  # quantizations that its repositories have besides

    @property
    def has_changed(self) -> bool:
        """Whether the catalog says anything that is not so, or not all there is to say."""
        return any(file.news != "same" for file in self.files)


def refresh_entry(entry: CatalogEntry, repos: Mapping[str, RepoFiles]) -> Refreshed:
    """Return ``entry`` with sizes, checksums and commits of ``repos``, and what is new about it.

    Files of other repositories stay as they are. What is gone is left out, unless nothing remains;
    without a projector a model is not for vision any more.
    """
    quants = [_look_up(q.quant, q, repos[q.repo_id]) for q in entry.quants if q.repo_id in repos]
    sides = [_look_up("mmproj", s, repos[s.repo_id]) for s in entry.mmproj if s.repo_id in repos]
    by_file: dict[Quant | SideFile, FileNews] = {file.listed: file for file in (*quants, *sides)}
    kept = tuple(_renew_quant(q, by_file.get(q)) for q in entry.quants)
    projectors = [_renew_side(side, by_file.get(side)) for side in entry.mmproj]
    mmproj = tuple(side for side in projectors if side)
    uses = tuple(use for use in entry.use_cases if use != "vision" or mmproj)
    renewed = replace(
        entry,
        quants=tuple(quant for quant in kept if quant) or entry.quants,
        mmproj=mmproj,
        use_cases=uses or entry.use_cases,
    )
    return Refreshed(renewed, (*quants, *sides), _unlisted(entry, repos))


def _look_up(label: str, listed: Quant | SideFile, repo: RepoFiles) -> FileNews:
    stem, _, count = split_shard(listed.filename)
    found = [file for file in repo.files if split_shard(file.filename)[::2] == (stem, count)]
    is_whole = len(found) == count and all(file.size_bytes for file in found)
    files = tuple(sorted(found, key=lambda file: file.filename)) if is_whole else ()
    return FileNews(label, listed, files, repo.commit)


def _renew_quant(quant: Quant, news: FileNews | None) -> Quant | None:
    if news is None or news.news == "same":
        return quant
    if news.news == "gone":
        return None
    whole = len(news.found) == 1
    shards = [Shard(file.filename, file.size_bytes, file.sha256) for file in news.found]
    return replace(
        quant,
        revision=news.commit,
        size_bytes=news.size_bytes,
        size_exact=True,
        sha256=news.sha256s[0] if whole else None,
        sha256_verified=quant.sha256_verified and news.news == "pinned",
        source=_source(quant, news),
        shards=() if whole else tuple(shards),
    )


def _renew_side(side: SideFile, news: FileNews | None) -> SideFile | None:
    if news is None or news.news == "same":
        return side
    if news.news == "gone":
        return None
    return replace(
        side,
        revision=news.commit,
        size_bytes=news.size_bytes,
        size_exact=True,
        sha256=news.sha256s[0],
        sha256_verified=side.sha256_verified and news.news == "pinned",
        source=_source(side, news),
    )


def _source(file: Quant | SideFile, news: FileNews) -> str:
    return f"hub {file.repo_id}@{news.commit}"


def _unlisted(entry: CatalogEntry, repos: Mapping[str, RepoFiles]) -> tuple[str, ...]:
    listed = {quant.quant for quant in entry.quants}
    used = {quant.repo_id for quant in entry.quants} & set(repos)
    variants = [v for repo_id in used for v in group_variants(repos[repo_id].files)]
    return tuple(sorted({v.quant.upper() for v in variants if v.quant} - listed))
