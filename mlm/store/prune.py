"""What need not be kept: decided from facts, then deleted, each thing under its own lock."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from mlm.errors import MlmError
from mlm.store.cache_layout import RepoCache
from mlm.store.copies import Copies
from mlm.store.inventory import describe_cached
from mlm.store.lock import is_held
from mlm.store.names import is_commit
from mlm.store.receipt import Receipt
from mlm.store.store import Store
from mlm.store.survey import DiskFile, Inode, RepoSurvey, look_at, survey_cache, walk_files
from mlm.store.types import ModelFile
from mlm.units import format_age

Kind = Literal["partial", "orphan", "old_commit", "unused", "receipt"]
_FOREIGN_PATIENCE_S = 3600.0  # other tools' downloads do not always hold the lock they should


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person wants gone. None: no limit; without ``unused_for_s`` no model goes by use."""

    older_than_s: float | None = None
    larger_than: int | None = None  # bytes
    unused_for_s: float | None = None


@dataclass(frozen=True, slots=True)
class Leftover:
    """A partial file, or a blob that no commit uses."""

    kind: Literal["partial", "orphan"]
    repo_id: str | None  # None: an import that did not end
    file: DiskFile
    is_held: bool  # somebody is fetching it now


@dataclass(frozen=True, slots=True)
class Shelved:
    """A model file that is mlm's to delete: in the cache, or a copy in MLM_HOME."""

    file: ModelFile
    blob: DiskFile | None
    arrived_at: float  # Unix time
    is_loaded: bool = False
    is_pinned: bool = False  # a ref or the catalog means exactly this commit


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that the decision rests on."""

    leftovers: tuple[Leftover, ...] = ()
    shelved: tuple[Shelved, ...] = ()
    gone: tuple[Receipt, ...] = ()  # receipts of files that are not there any more


@dataclass(frozen=True, slots=True)
class Prunable:
    """Something that need not be kept, and why."""

    kind: Kind
    name: str  # for people
    path: Path
    freed_bytes: int
    age_s: float | None
    reason: str
    file: ModelFile | None = None  # of a model or a receipt
    repo_id: str | None = None  # of a leftover


def choose_prunable(facts: Facts, wish: Wish, now: float) -> list[Prunable]:
    """Return what ``wish`` lets go, the largest first. Nothing that is loaded, held or pinned."""
    links = Counter(shelved.blob.inode for shelved in facts.shelved if shelved.blob)
    found = [
        *_choose_leftovers(facts.leftovers, now),
        *_choose_models(facts.shelved, wish, now, links),
        *(_forgettable(receipt, now) for receipt in facts.gone),
    ]
    return sorted((item for item in found if _is_wished(item, wish)), key=lambda i: -i.freed_bytes)


def _is_wished(item: Prunable, wish: Wish) -> bool:
    if wish.larger_than is not None and item.freed_bytes <= wish.larger_than:
        return False
    if wish.older_than_s is None:
        return True
    return item.age_s is not None and item.age_s > wish.older_than_s


def _choose_leftovers(leftovers: Iterable[Leftover], now: float) -> Iterator[Prunable]:
    for leftover in leftovers:
        file = leftover.file
        age_s = max(0.0, now - file.changed_at)
        is_foreign = file.path.name.endswith(".incomplete")
        if leftover.is_held or (is_foreign and age_s < _FOREIGN_PATIENCE_S):
            continue
        reason = "no commit uses it"
        if leftover.kind == "partial":
            what = "a download" if leftover.repo_id else "an import"
            reason = f"{what} that stopped {format_age(age_s)} ago"
        yield Prunable(
            kind=leftover.kind,
            name=f"{leftover.repo_id}: {file.path.name}" if leftover.repo_id else file.path.name,
            path=file.path,
            freed_bytes=file.held_bytes if file.n_links == 1 else 0,
            age_s=age_s,
            reason=reason,
            repo_id=leftover.repo_id,
        )


def _choose_models(
    shelved: Collection[Shelved], wish: Wish, now: float, links: Counter[Inode]
) -> Iterator[Prunable]:
    """Yield old commits and unused models; ``links`` counts what leads to each blob."""
    newest: dict[tuple[str | None, str], Shelved] = {}
    for one in shelved:
        key = (one.file.repo_id, one.file.filename)
        if one.is_pinned and (key not in newest or one.arrived_at > newest[key].arrived_at):
            newest[key] = one
    for one in shelved:
        newer = newest.get((one.file.repo_id, one.file.filename))
        why = _why_model(one, newer, wish, now)
        if why is None or one.is_loaded:
            continue
        kind, age_s, reason = why
        freed = 0
        if one.blob is not None:
            links[one.blob.inode] -= 1
            if links[one.blob.inode] == 0 and one.blob.n_links == 1:
                freed = one.blob.size_bytes
        yield Prunable(kind, one.file.ref, one.file.path, freed, age_s, reason, one.file)


def _why_model(
    one: Shelved, newer: Shelved | None, wish: Wish, now: float
) -> tuple[Kind, float, str] | None:
    if newer is not None and not one.is_pinned and newer.arrived_at > one.arrived_at:
        old, new = f"{one.file.commit}"[:7], f"{newer.file.commit}"[:7]
        same = "; the same bytes" if one.blob and one.blob == newer.blob else ""
        reason = f"commit {old}, replaced by {new}, which is here too{same}"
        return "old_commit", now - one.arrived_at, reason
    used_at = max(one.file.last_used_at or 0.0, one.arrived_at)
    idle_s = now - used_at
    if wish.unused_for_s is not None and idle_s > wish.unused_for_s:
        verb = "last used" if one.file.last_used_at else "never used, here since"
        return "unused", idle_s, f"{verb} {format_age(idle_s)} ago"
    return None


def _forgettable(receipt: Receipt, now: float) -> Prunable:
    file = receipt.file
    age_s = now - file.verified_at if file.verified_at else None
    reason = "its file is gone; only the record is forgotten"
    return Prunable("receipt", file.ref, file.path, 0, age_s, reason, file)


def gather(store: Store, loaded: Collection[Inode], pinned: Collection[tuple[str, str]]) -> Facts:
    """Return the facts; ``pinned`` are repositories and commits that the catalog means."""
    repos = survey_cache(store.hub_cache)
    known = {receipt.file.path: receipt.file for receipt in store.receipts()}
    gone = [r for r in store.receipts() if _is_gone(r.file, is_ours=store.is_ours(r.file))]
    shelved = [
        *(one for repo in repos for one in _shelved_in(repo, known, pinned)),
        *(one for path, file in known.items() if store.is_copy(path) for one in _copy(file)),
    ]
    leftovers = [leftover for repo in repos for leftover in _leftovers(repo)]
    for folder in Copies(store.home.models).abandoned():
        leftovers += [Leftover("partial", None, file, False) for file in walk_files(folder)]
    return Facts(
        leftovers=tuple(leftovers),
        shelved=tuple(
            replace(one, is_loaded=bool(one.blob and one.blob.inode in loaded)) for one in shelved
        ),
        gone=tuple(gone),
    )


def _is_gone(file: ModelFile, *, is_ours: bool) -> bool:
    """Whether the file was deleted; one whose folder is missing too may be on an unplugged disk."""
    if file.path.exists():
        return False
    return is_ours or file.path.parent.is_dir()


def _leftovers(repo: RepoSurvey) -> Iterator[Leftover]:
    linked = {link.blob.inode for link in repo.links if link.blob}
    for file in repo.leftovers:
        lock = repo.cache.lock(file.path.name.split(".")[0])
        yield Leftover("partial", repo.repo_id, file, is_held(lock))
    for blob in repo.blobs:
        if blob.inode not in linked:
            lock = repo.cache.lock(blob.path.name)
            yield Leftover("orphan", repo.repo_id, blob, is_held(lock))


def _shelved_in(
    repo: RepoSurvey, known: dict[Path, ModelFile], pinned: Collection[tuple[str, str]]
) -> Iterator[Shelved]:
    named = set(repo.refs.values())
    for link in repo.links:
        if not link.filename.lower().endswith(".gguf") or not is_commit(link.commit):
            continue
        if link.blob is None:
            continue  # leads nowhere: what is known of it is a receipt of a file that has gone
        file = known.get(link.path)
        if file is None:
            file = describe_cached(link.path, repo.repo_id, link.commit, link.filename)
        is_pinned = link.commit in named or (repo.repo_id, link.commit) in pinned
        yield Shelved(file, link.blob, link.made_at, is_pinned=is_pinned)


def _copy(file: ModelFile) -> Iterator[Shelved]:
    if content := look_at(file.path):
        yield Shelved(file, content, content.changed_at, is_pinned=True)


def prune(store: Store, items: Iterable[Prunable]) -> list[tuple[Prunable, str | None]]:
    """Delete ``items``; each comes with the reason why it could not be, None: it is gone."""
    return [(item, _delete(store, item)) for item in items]


def _delete(store: Store, item: Prunable) -> str | None:
    try:
        if item.file is None:
            return _delete_leftover(store, item)
        if item.kind == "receipt":
            store.forget(item.file)
        else:
            store.remove_file(item.file)
    except MlmError as error:
        return error.message
    except OSError as error:
        return error.strerror or str(error)
    return None


def _delete_leftover(store: Store, item: Prunable) -> str | None:
    if item.repo_id is None:
        is_gone = Copies(store.home.models).sweep(item.path)
    elif item.kind == "orphan":
        is_gone = RepoCache(store.hub_cache, item.repo_id).remove_orphan(item.path)
    else:
        is_gone = RepoCache(store.hub_cache, item.repo_id).remove_leftover(item.path)
    return None if is_gone else "it is being used now"
