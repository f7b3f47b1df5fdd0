"""Takes models in that are on this machine already: where they are, as a copy, or as a link."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from mlm.errors import NotFoundError
from mlm.gguf.reader import read_metadata, shard_paths
from mlm.store.cache_layout import BLOB_MODE
from mlm.store.content import find_by_sha256
from mlm.store.copies import Copies
from mlm.store.copying import copy_file, link_file, share_file
from mlm.store.digest import hash_file
from mlm.store.inventory import describe_local
from mlm.store.listener import Listener, Progress
from mlm.store.lookup import match_models
from mlm.store.names import split_shard
from mlm.store.side_files import side_role
from mlm.store.space import writing_to
from mlm.store.store import Store
from mlm.store.survey import walk_files
from mlm.store.types import ModelFile
from mlm.store.variant import read_quant

How = Literal["in_place", "copy", "hardlink"]


@dataclass(frozen=True, slots=True)
class Imported:
    """A model that has been taken in, with the other models of the store that have its bytes."""

    files: tuple[ModelFile, ...]
    same_as: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Part:
    """A file to take in under ``name``; ``twin`` is one of mlm's that holds the same bytes."""

    name: str
    source: Path
    size_bytes: int
    twin: ModelFile | None


def find_models(path: Path) -> list[Path]:
    """Return the first or only file of every model that ``path`` means: a file, or a folder's.

    Raises:
        NotFoundError: it is a folder without any.
    """
    if not path.is_dir():
        return [path]
    models = [file.path for file in walk_files(path) if _is_model(file.path)]
    found = sorted(model for model in models if split_shard(model.name)[1] == 1)
    if not found:
        raise NotFoundError(f"there is no model in {path}", remedy="mlm import FILE.gguf")
    return found


def import_model(store: Store, path: Path, how: How, listener: Listener) -> Imported:
    """Register the model whose first file is ``path``, after having brought it in as ``how`` says.

    Raises:
        NotFoundError, GGUFError: there is no such file, or it is not a sound GGUF model.
        UsageError: it cannot be linked, or MLM_HOME cannot be written.
        DiskSpaceError: it does not fit.
        ConflictError: somebody changed it meanwhile.
    """
    path = path.expanduser().absolute()
    if own := _find_own(store, path):
        listener.note(f"{path} is in the store already, as {own[0].ref}")
        return Imported(own, _also_known(store, own))
    if how == "in_place":
        files = tuple(register_in_place(store, path, listener))
        for beside in _side_files(files[0].path):
            size = beside.stat().st_size
            sha256 = hash_file(beside, _Teller(listener, beside.name, size))
            store.register(_describe(beside, sha256))
        return Imported(files, _also_known(store, files))
    metadata = read_metadata(path)
    names = [path] if metadata.split_count == 1 else shard_paths(path)
    with writing_to(store.home.models):
        files = _take_in(store, [*names, *_side_files(path)], how, listener)
    models = tuple(
        replace(file, quant=metadata.quant or file.quant) for file in files[: len(names)]
    )
    for file in (*models, *files[len(names) :]):
        store.register(file)
    _forget_in_place(store, names)
    if how == "hardlink":
        listener.note(f"{path} and the model share their bytes: writing to one changes the other")
    return Imported(models, _also_known(store, models))


def register_in_place(store: Store, path: Path, listener: Listener) -> list[ModelFile]:
    """Register a local GGUF, with all its shards, where it is; hash it and return its files.

    Raises:
        NotFoundError: there is no such file.
        GGUFError: it is not a sound GGUF model, or a shard is missing.
    """
    path = Path(os.path.realpath(path.expanduser()))
    metadata = read_metadata(path)
    parts = [path] if metadata.split_count == 1 else shard_paths(path)
    files = []
    for part in parts:
        sha256 = hash_file(part, _Teller(listener, part.name, part.stat().st_size))
        described = describe_local(part, metadata.quant)
        files.append(replace(described, sha256=sha256, verified_at=time.time()))
    for file in files:
        store.register(file)
    return files


def _find_own(store: Store, path: Path) -> tuple[ModelFile, ...]:
    """Return the files of the model at ``path`` if mlm has brought it here itself."""
    own = [m for m in match_models(str(path), store.models()) if store.is_ours(m)]
    return tuple(store.files(own[0])) if own else ()


def _take_in(
    store: Store, paths: Sequence[Path], how: How, listener: Listener
) -> tuple[ModelFile, ...]:
    """Bring the files at ``paths`` into one folder of their own."""
    copies = Copies(store.home.models)
    parts = [_look_at_part(store, path, how, listener) for path in paths]
    needed = sum(part.size_bytes for part in parts)
    digests = []
    with copies.gathering() as folder:
        for part in parts:
            digests.append(_bring(part, folder / part.name, how, (needed, listener)))
            needed -= part.size_bytes
        placed = copies.publish(folder, [part.name for part in parts], digests)
    return tuple(_describe(*each) for each in zip(placed, digests, strict=True))


def _describe(path: Path, sha256: str) -> ModelFile:
    return replace(describe_local(path, None), sha256=sha256, verified_at=time.time())


def _look_at_part(store: Store, path: Path, how: How, listener: Listener) -> _Part:
    """Return what is known of a file to be taken in; it is read only if it could have a twin."""
    source = Path(os.path.realpath(path))
    size = source.stat().st_size
    twin = None
    if how == "copy":
        receipts = [
            receipt
            for receipt in store.receipts()
            if receipt.file.size_bytes == size and store.is_ours(receipt.file)
        ]
        if any(receipt.is_current() for receipt in receipts):
            twin = find_by_sha256(receipts, hash_file(source, _Teller(listener, path.name, size)))
    return _Part(path.name, source, size, twin)


def _bring(part: _Part, target: Path, how: How, rest: tuple[int, Listener]) -> str:
    """Put one file to ``target`` and return its sha256; ``rest``: bytes to come, who listens."""
    needed, listener = rest
    tell = _Teller(listener, part.name, part.size_bytes)
    if how == "hardlink":
        link_file(part.source, target)
        return hash_file(target, tell)
    if part.twin is not None:
        shared = share_file(Path(os.path.realpath(part.twin.path)), target)
        if shared == "clone":  # a hard link has the mode of the other name
            target.chmod(BLOB_MODE)
        if shared:
            listener.note(f"{part.name} is here as {part.twin.ref}: nothing had to be copied")
            return str(part.twin.sha256)
    sha256 = copy_file(part.source, target, tell, needed=needed)
    target.chmod(BLOB_MODE)
    return sha256


@dataclass(frozen=True, slots=True)
class _Teller:
    listener: Listener
    name: str
    size: int

    def __call__(self, done: int) -> None:
        self.listener.progress(Progress(self.name, "checking", done, self.size))


def _side_files(path: Path) -> list[Path]:
    """Return what belongs to the model beside it; beside several models, nobody can say whose.

    Quantizations of one model are one.
    """
    beside = sorted(path.parent.iterdir())
    models = {_name_without_quant(file) for file in beside if _is_model(file)}
    if len(models) != 1:
        return []
    return [file for file in beside if side_role(file.name) and file.is_file()]


def _name_without_quant(path: Path) -> str:
    return split_shard(path.name)[0].replace(read_quant(path.name) or "", "").lower()


def _is_model(path: Path) -> bool:
    return path.suffix.lower() == ".gguf" and not side_role(path.name)


def _forget_in_place(store: Store, paths: Sequence[Path]) -> None:
    """Forget the originals: the copy takes their place in the store."""
    originals = {os.path.realpath(path) for path in paths}
    for receipt in store.receipts():
        if str(receipt.file.path) in originals and not store.is_ours(receipt.file):
            store.forget(receipt.file)


def _also_known(store: Store, files: Sequence[ModelFile]) -> tuple[str, ...]:
    """Return the refs of other models in the store with the same bytes."""
    paths = {file.path for file in files}
    digests = {file.sha256 for file in files}
    same = (r.file for r in store.receipts() if r.file.sha256 in digests)
    return tuple(dict.fromkeys(file.ref for file in same if file.path not in paths))
