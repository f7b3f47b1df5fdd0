"""Takes in models that other tools have brought here: told apart by content, never by name."""

import time
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mlm.catalog.types import Quant
from mlm.errors import MlmError
from mlm.gguf.reader import read_metadata
from mlm.store.copying import Sharing
from mlm.store.linking import share_bytes, why_not_linkable
from mlm.store.listener import Listener, Progress
from mlm.store.names import split_shard
from mlm.store.neighbours.types import Findings, Found, Neighbour, Skipped
from mlm.store.prefixes import Prefixes
from mlm.store.side_files import side_role
from mlm.store.store import Store
from mlm.store.survey import DiskFile, Inode, look_at
from mlm.store.types import ModelFile
from mlm.store.verify import verify_files

Status = Literal["new", "known", "duplicate"]
Pins = Mapping[str, tuple[str, Quant]]  # sha256 -> the catalog's name of the model, and its file


@dataclass(frozen=True, slots=True)
class Content:
    """One file on disk, however many names lead to it; ``neighbour`` None: only mlm knows it."""

    file: ModelFile  # its sha256 is verified; None: nobody has had a reason to hash it yet
    disk: DiskFile
    neighbour: Neighbour | None
    is_registered: bool
    is_ours: bool  # mlm's to delete


@dataclass(frozen=True, slots=True)
class Adoption:
    """What is to become of one file of a neighbour."""

    content: Content
    neighbour: Neighbour
    status: Status  # new: to be registered; duplicate: something else has the same bytes
    same_as: Content | None = None
    reclaimable_bytes: int = 0
    keeps: str | None = None  # why its bytes cannot be shared with ``same_as``


@dataclass(frozen=True, slots=True)
class Plan:
    """What adopting would do; nothing has been changed."""

    adoptions: tuple[Adoption, ...]
    skipped: tuple[Skipped, ...]


def plan_adoption(
    store: Store, findings: Findings, pins: Pins, listener: Listener, *, hash_all: bool
) -> Plan:
    """Return what is to become of ``findings``.

    Hashed is what could be the same as something else, or in the catalog; with ``hash_all``, what
    is new as well. A claim that proves wrong is among the skipped.
    """
    contents = _registered(store)
    new: dict[Inode, Found] = {}
    for found in findings.found:
        known = contents.get(found.content.inode)
        if known is None:
            new.setdefault(found.content.inode, found)
        elif known.neighbour is None:
            contents[found.content.inode] = replace(
                known, neighbour=found.neighbour, disk=found.content
            )
    sizes = Counter(content.disk.size_bytes for content in contents.values())
    sizes.update(found.content.size_bytes for found in new.values())
    pinned_sizes = {quant.size_bytes for _, quant in pins.values()}
    suspects = [
        found
        for found in new.values()
        if hash_all or sizes[found.content.size_bytes] > 1
        or found.content.size_bytes in pinned_sizes
    ]  # fmt: skip
    skipped = list(findings.skipped)
    digests = _hash(store, suspects, listener, skipped)
    wrong = {found.content.inode for found in suspects} - set(digests)
    for inode, found in new.items():
        if inode in wrong:
            continue
        file = recognise(replace(found.file, sha256=digests.get(inode)), pins)
        contents[inode] = Content(
            file, found.content, found.neighbour, is_registered=False, is_ours=store.is_ours(file)
        )
    return Plan(tuple(choose_adoptions(contents.values())), tuple(skipped))


def choose_adoptions(contents: Iterable[Content]) -> list[Adoption]:
    """Return what is to become of each file that a neighbour has. Nothing is looked up here."""
    twins: dict[str, list[Content]] = defaultdict(list)
    chosen = []
    ordered = sorted(contents, key=lambda c: (not c.is_ours, not c.is_registered))
    for content in ordered:
        if content.file.sha256:
            twins[content.file.sha256].append(content)
        if content.neighbour is None:
            continue
        first = twins[content.file.sha256][0] if content.file.sha256 else content
        known: Status = "known" if content.is_registered else "new"
        if first is content:
            if content.is_ours and content.is_registered:
                continue  # mlm's own cache is looked into as well: this is no news
            chosen.append(Adoption(content, content.neighbour, known))
            continue
        keeps = why_not_linkable(first.disk, content.disk)
        freed = content.disk.size_bytes if keeps is None and content.disk.n_links == 1 else 0
        status: Status = "known" if content.is_registered else "duplicate"
        chosen.append(Adoption(content, content.neighbour, status, first, freed, keeps))
    return chosen


def recognise(file: ModelFile, pins: Pins) -> ModelFile:
    """Return ``file`` under the catalog's name, if the catalog pins exactly these bytes."""
    if file.sha256 is None or file.sha256 not in pins:
        return file
    model, quant = pins[file.sha256]
    ref = f"{quant.repo_id}:{quant.quant}"
    model_id = f"{model}:{quant.quant}"
    named = replace(file, ref=ref, model_id=model_id, model=model, quant=quant.quant)
    if file.repo_id is not None:
        return named
    return replace(named, repo_id=quant.repo_id, filename=quant.filename)


def register(store: Store, adoptions: Sequence[Adoption]) -> list[Skipped]:
    """Register what is new, where it is; return what is no sound model after all."""
    skipped = []
    for adoption in adoptions:
        file = adoption.content.file
        if adoption.status != "new":
            continue
        try:
            if side_role(file.filename) is None and split_shard(file.filename)[1] == 1:
                quant = read_metadata(file.path).quant
                file = replace(file, quant=file.quant or quant)
            store.register(replace(file, verified_at=time.time()))
        except (MlmError, OSError) as error:
            skipped.append(Skipped(adoption.neighbour, file.path, str(error)))
    return skipped


def _registered(store: Store) -> dict[Inode, Content]:
    """Return what the store knows for sure, by its place on the disk."""
    known = {}
    for receipt in store.receipts():
        disk = look_at(receipt.file.path, follow=True)
        if disk is not None and receipt.is_current():
            file = receipt.file
            known[disk.inode] = Content(file, disk, None, True, store.is_ours(file))
    return known


def _hash(
    store: Store, suspects: Sequence[Found], listener: Listener, skipped: list[Skipped]
) -> dict[Inode, str]:
    results = verify_files(
        [found.file for found in suspects],
        listener,
        Prefixes(store.home.prefixes),
        lambda file: False,
    )
    digests = {}
    for found, result in zip(suspects, results, strict=True):
        if result.actual is None:
            reason = "it cannot be read"
        elif result.expected not in (None, result.actual):
            reason = f"its bytes are not what its name says: sha256 {result.actual}"
        else:
            digests[found.content.inode] = result.actual
            continue
        skipped.append(Skipped(found.neighbour, found.file.path, reason))
    return digests


def share(
    store: Store, adoption: Adoption, served: Collection[Inode], listener: Listener
) -> Sharing | str | None:
    """Let the file of ``adoption`` share its bytes with what is the same; return how, or why not.

    None: there was nothing to share.
    """
    content, kept = adoption.content, adoption.same_as
    if kept is None or adoption.keeps is not None:
        return None
    name, size = content.file.filename, content.disk.size_bytes

    def tell(done: int) -> None:
        listener.progress(Progress(name, "checking", done, size))

    result = share_bytes(kept.disk, content.disk, served, tell)
    if result in ("clone", "hardlink") and content.is_registered:  # it is another file now
        store.register(replace(content.file, verified_at=time.time()))
    return result
