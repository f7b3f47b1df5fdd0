"""The store: every model file on this machine, whoever brought it here."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from mlm.catalog.load import load_catalog
from mlm.errors import NotFoundError, UsageError
from mlm.paths import Home
from mlm.store.cache_layout import RepoCache
from mlm.store.copies import remove_copy
from mlm.store.index import Index
from mlm.store.inventory import describe_local, group_shards, scan_cache
from mlm.store.lookup import match_models, unknown_model
from mlm.store.names import is_filename, is_repo_id, split_shard
from mlm.store.prefixes import Prefixes
from mlm.store.receipt import Receipt, Receipts
from mlm.store.ref import HubRef, LocalRef, parse_ref
from mlm.store.side_files import choose_projectors, is_beside, side_role, without_side_files
from mlm.store.space import writing_to
from mlm.store.types import ModelFile, Rebuilt


class Store:
    """Model files in the Hugging Face cache and elsewhere. Close it, or use it in a ``with``."""

    def __init__(self, home: Home, hub_cache: Path) -> None:
        self._home = home
        self._hub_cache = hub_cache
        self._receipts = Receipts(home.receipts)
        self.prefixes = Prefixes(home.prefixes)
        self._index = Index(home.index_db, self._read_disk)

    @property
    def home(self) -> Home:
        """Where mlm keeps what is its own."""
        return self._home

    @property
    def hub_cache(self) -> Path:
        """The Hugging Face cache that downloads go to."""
        return self._hub_cache

    def models(self) -> list[ModelFile]:
        """Return every model, shards joined. Those whose file has gone are left out.

        Imported files are listed even then: their disk may only be unplugged. A side file is left
        out when its model is there.
        """
        return group_shards(without_side_files(self._present()))

    def _present(self) -> list[ModelFile]:
        files = (receipt.file for receipt in self.receipts())
        return [file for file in files if file.origin == "import" or file.path.exists()]

    def receipts(self) -> list[Receipt]:
        """Return what is known of every file, shards apart, also of files that have gone."""
        return self._index.receipts()

    def find(self, text: str) -> ModelFile:
        """Return the model that ``text`` names: any REF, a model id, or the start of a sha256.

        ``model_id`` of the result is the name that was typed. A local file need not have been
        imported; it is then returned with nothing known of it.

        Raises:
            NotFoundError: it is not here; nearest names are offered.
            UsageError: it cannot be the name of a model.
        """
        found = self.find_all(text)
        if not found:
            raise self.unknown(text)
        if not found[0].path.exists():
            raise NotFoundError(
                f"{found[0].path} is gone", remedy="put it back, or mlm rm it and import it again"
            )
        return found[0]

    def unknown(self, text: str) -> NotFoundError:
        """Return the error for a ``text`` that names no model here, offering the nearest names."""
        catalog_ids = set()
        with contextlib.suppress(UsageError):  # a broken catalog is another command's news
            catalog = load_catalog(self._home.catalog, self._home.cache)
            catalog_ids = {entry.model_id for entry in catalog.entries}
        return unknown_model(text, self.models(), catalog_ids)

    def find_all(self, text: str) -> list[ModelFile]:
        """Return every model that ``text`` names, best first; none is an answer too."""
        ref = parse_ref(text)
        found = match_models(text, self.models())
        if not found and isinstance(ref, HubRef) and ref.filename:
            found = match_models(text, self._present())  # a side file may be meant
        if not found and isinstance(ref, LocalRef) and ref.path.is_file():
            return [describe_local(ref.path.resolve(), None)]
        return found

    def files(self, model: ModelFile) -> list[ModelFile]:
        """Return the files of a model: itself, or all its shards in order."""
        if model.n_files == 1:
            return [model]
        stem = split_shard(model.filename)[0]
        return [
            receipt.file
            for receipt in self.receipts()
            if receipt.file.path.parent == model.path.parent
            and split_shard(receipt.file.filename)[0] == stem
        ]

    def side_files(self, model: ModelFile) -> list[ModelFile]:
        """Return what came along with a model: a projector, an importance matrix."""
        return [
            receipt.file
            for receipt in self.receipts()
            if is_beside(receipt.file, model)
            and receipt.file.path != model.path
            and side_role(receipt.file.filename)
        ]

    def projectors(self, model: ModelFile) -> list[ModelFile]:
        """Return what a model could see with, the most useful first.

        Beside a file that came from no hub it need not have been imported.
        """
        files = [receipt.file for receipt in self.receipts()]
        if model.repo_id is None:
            known = {file.path for file in files}
            there = model.path.parent.glob("*mmproj*.gguf")
            files += [describe_local(path, None) for path in there if path not in known]
        return [file for file in choose_projectors(model, files) if file.path.is_file()]

    def remove(self, model: ModelFile) -> int:
        """Delete the files of a model, or only forget them if they were imported in place.

        Return the bytes that became free.
        """
        return sum(self.remove_file(file) for file in self.files_to_go(model))

    def files_to_go(self, model: ModelFile) -> list[ModelFile]:
        """Return the files that go with a model: its own, and side files of no other model."""
        files = self.files(model)
        if side_files := self.side_files(model):
            others = [m for m in self.models() if m.path != model.path]
            files += [f for f in side_files if not any(is_beside(f, m) for m in others)]
        return files

    def remove_file(self, file: ModelFile) -> int:
        """Delete one file of a model, or only forget it if it is not in one of mlm's places.

        Return the bytes that became free.
        """
        freed = 0
        if (cache := self.cache_with(file)) is not None:
            with writing_to(cache.root):
                freed = cache.remove(str(file.commit), file.filename)
        elif self.is_copy(file.path):
            with writing_to(file.path.parent):
                freed = remove_copy(file.path)
        self.forget(file)
        if file.sha256 and all(r.file.sha256 != file.sha256 for r in self.receipts()):
            self.prefixes.forget(file.sha256)
        return freed

    def is_ours(self, file: ModelFile) -> bool:
        """Whether the file is mlm's to delete; any other is only registered."""
        return self.is_copy(file.path) or self.cache_with(file) is not None

    def is_copy(self, path: Path) -> bool:
        """Whether the file is a copy that `mlm import` has made."""
        return path.parent.parent == self._home.models

    def cache_with(self, file: ModelFile) -> RepoCache | None:
        """Return the part of the cache that holds the file, None if it is elsewhere."""
        if not file.commit or not is_repo_id(file.repo_id or "") or not is_filename(file.filename):
            return None
        cache = RepoCache(self._hub_cache, str(file.repo_id))
        place = cache.snapshot(file.commit, file.filename)
        is_there = os.path.realpath(place.parent) == os.path.realpath(file.path.parent)
        return cache if is_there and place.name == file.path.name else None

    def register(self, file: ModelFile) -> None:
        """Remember ``file`` as it is on disk now, replacing what was known of its path.

        Raises:
            OSError: it is not there.
            UsageError, DiskSpaceError: MLM_HOME cannot be written.
        """
        receipt = Receipt.of(file)
        with writing_to(self._home.root):
            self._receipts.write(receipt)
        self._index.put(receipt)

    def forget(self, file: ModelFile) -> None:
        """Remember nothing of ``file`` any more; the file itself stays."""
        with writing_to(self._home.root):
            self._receipts.forget(file.path)
        self._index.forget(file.path)

    def note_use(self, model: ModelFile) -> None:
        """Remember that a model is being used now."""
        paths, now = {file.path for file in self.files(model)}, time.time()
        for receipt in self.receipts():
            if receipt.file.path in paths:
                self._index.note_use(receipt.file.path, now)
                with contextlib.suppress(OSError):  # a home that is read-only or full
                    self._receipts.note_use(receipt, now)

    def rebuild(self) -> Rebuilt:
        """Make the index anew from the receipts and what lies in the cache.

        Raises:
            ConflictError, UsageError: it cannot be written.
        """
        self._index.rebuild()
        kept = {receipt.file.path for receipt in self._receipts.read_all()}
        files = [receipt.file for receipt in self.receipts()]
        return Rebuilt(
            receipts=len(kept),
            found=sum(file.path not in kept for file in files),
            gone=tuple(file for file in files if not file.path.exists()),
            unreadable=self._receipts.count() - len(kept),
        )

    def close(self) -> None:
        """Give the index back."""
        self._index.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self.close()

    def replace(self, file: ModelFile) -> None:
        """Register ``file`` and forget what an older commit called the same bytes."""
        for receipt in self.receipts():
            old = receipt.file
            same_bytes = (old.repo_id, old.filename, old.sha256)
            if same_bytes == (file.repo_id, file.filename, file.sha256) and old.path != file.path:
                self.forget(old)
        self.register(file)

    def find_trusted(self, blob: Path) -> ModelFile | None:
        """Return the file that ``blob`` was verified as, if it has not been touched since."""
        if not blob.exists():
            return None
        for receipt in self.receipts():
            if receipt.is_current() and receipt.file.path.samefile(blob):
                return receipt.file
        return None

    def _read_disk(self) -> Iterator[Receipt]:
        """Yield what is on disk: what there is a receipt for, then what else the cache holds."""
        yield from self._receipts.read_all()
        for file in scan_cache(self._hub_cache):
            with contextlib.suppress(OSError):
                yield Receipt.of(file)
