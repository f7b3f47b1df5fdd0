"""The store: every model file on this machine, whoever brought it here."""

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Self

from mlm.catalog.load import load_catalog
from mlm.errors import NotFoundError, UsageError
from mlm.gguf.reader import read_metadata, shard_paths
from mlm.paths import Home
from mlm.store.cache_layout import RepoCache
from mlm.store.content import find_by_sha256
from mlm.store.copies import remove_copy
from mlm.store.digest import hash_file
from mlm.store.download import Download, Fetched, Ledger, Place, Terms
from mlm.store.hub import Hub
from mlm.store.index import Index
from mlm.store.inventory import describe_local, describe_shipped, group_shards, scan_cache
from mlm.store.listener import Listener, Progress
from mlm.store.lookup import match_models, meets, unknown_model
from mlm.store.names import is_filename, is_repo_id, split_shard
from mlm.store.order import Order, Shipment, look_up
from mlm.store.prefixes import Prefixes
from mlm.store.receipt import Receipt, Receipts
from mlm.store.ref import HubRef, LocalRef, parse_ref
from mlm.store.repair import Repair
from mlm.store.side_files import is_beside, side_role, without_side_files
from mlm.store.space import writing_to
from mlm.store.types import (
    Downloaded,
    DownloadStatus,
    ModelFile,
    Origin,
    Rebuilt,
    RemoteFile,
    Verified,
)
from mlm.store.verify import CorruptModelError, verify_files


class Store:
    """Model files in the Hugging Face cache and elsewhere. Close it, or use it in a ``with``."""

    def __init__(self, home: Home, hub_cache: Path) -> None:
        self._home = home
        self._hub_cache = hub_cache
        self._receipts = Receipts(home.receipts)
        self._prefixes = Prefixes(home.prefixes)
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

    def download(
        self, hub: Hub, order: Order, terms: Terms, listener: Listener
    ) -> list[Downloaded]:
        """Bring in what ``order`` asks for, verified, and return what became of each file.

        Raises:
            MlmError: see `mlm.store.order.look_up` and `mlm.store.download.Download.fetch`.
        """
        return self.bring(hub, look_up(hub, order, listener), terms, listener)

    def bring(
        self, hub: Hub, shipment: Shipment, terms: Terms, listener: Listener
    ) -> list[Downloaded]:
        """Do the same for files that are known already: the hub is asked for their bytes only.

        Raises:
            MlmError: see `mlm.store.download.Download.fetch`.
        """
        download = self._prepare(hub, shipment, terms, listener)
        download.check_space(shipment.files)
        missing = [file for file in shipment.files if download.find_trusted(file) is None]
        listener.expect({file.filename: file.size_bytes for file in missing})
        results = []
        for file in shipment.files:
            started = time.monotonic()
            fetched = download.fetch(file)
            model = replace(self._describe(shipment, file), sha256=fetched.sha256)
            elapsed_s = time.monotonic() - started
            results.append(
                _report(shipment.order, model, fetched.status, fetched.fetched_bytes, elapsed_s)
            )
        return results

    def preview(self, hub: Hub, order: Order, terms: Terms, listener: Listener) -> list[Downloaded]:
        """Return what `download` would do, having asked the hub but fetched and written nothing.

        Raises:
            MlmError: see `mlm.store.order.look_up`.
        """
        shipment = look_up(hub, order, listener)
        download = self._prepare(hub, shipment, terms, listener)
        results = []
        for file in shipment.files:
            status: DownloadStatus = "present" if download.find_trusted(file) else "planned"
            results.append(_report(order, self._describe(shipment, file), status))
        return results

    def already_here(self, order: Order) -> list[Downloaded]:
        """Return the files of ``order`` that can be trusted without asking a hub; perhaps none."""
        found = [
            model for model in self.models() if model.path.exists() and meets(model, order.ref)
        ]
        files = [
            file for model in found[:1] for file in (*self.files(model), *self.side_files(model))
        ]
        receipts = {receipt.file.path: receipt for receipt in self.receipts()}
        if not all(receipts[file.path].is_current() for file in files):
            return []
        return [_report(order, file, "present") for file in files]

    def verify(
        self, models: Iterable[ModelFile], listener: Listener, *, quick: bool = False
    ) -> list[Verified]:
        """Hash all files of some models again, and remember of each whether it is right.

        With ``quick``, files are not read that nothing has touched since they were verified.

        Raises:
            NotFoundError: it is a local file that nobody imported: nothing says what it should be.
        """
        receipts = {receipt.file.path: receipt for receipt in self.receipts()}
        files = []
        for model in models:
            if model.path not in receipts:
                raise NotFoundError(
                    f"{model.path} was never imported, so nothing says what it should be",
                    remedy=f"mlm import {model.path}",
                )
            files += [*self.files(model), *self.side_files(model)]
        unique = list({file.path: file for file in files}.values())

        def is_unchanged(file: ModelFile) -> bool:
            return quick and receipts[file.path].is_current()

        results = verify_files(unique, listener, self._prefixes, is_unchanged)
        for result in results:
            if result.hashed:
                verified_at = time.time() if result.ok else None
                with contextlib.suppress(OSError, UsageError):  # it is gone, or home is read-only
                    self.register(replace(result.file, verified_at=verified_at))
        return results

    def repair(self, hub: Hub, found: Verified, listener: Listener) -> Verified:
        """Make a file right again that was found to be wrong, and return what it is now.

        Raises:
            NotFoundError: it did not come from a hub, or is not in the cache any more.
            MlmError: see `mlm.store.repair.Repair.run`.
        """
        file = found.file
        cache = self._cache_with(file)
        if cache is None or file.sha256 is None:
            raise NotFoundError(
                f"nothing says where {file.path} could be fetched from",
                remedy=f"put a sound copy there, or: mlm rm {file.ref}",
            )
        fetched = Repair(cache, file, self._prefixes.read(file.sha256)).run(hub, listener)
        self.register(replace(file, verified_at=time.time()))
        return replace(found, actual=file.sha256, rotten_at=None, repaired_bytes=fetched)

    def ensure_intact(self, model: ModelFile, listener: Listener) -> None:
        """Hash what is in the store but was never verified, or was touched since.

        A local file that nobody imported carries no promise: it is taken as it is.

        Raises:
            CorruptModelError: the bytes are not the promised ones.
        """
        current = {r.file.path for r in self.receipts() if r.is_current()}
        files = self.files(model)
        if all(file.sha256 is None or file.path in current for file in files):
            return
        for result in self.verify([model], listener):
            if result.expected is not None and not result.ok:
                raise CorruptModelError(result)

    def import_file(self, path: Path, listener: Listener) -> list[ModelFile]:
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
            size = part.stat().st_size

            def tell(done: int, name: str = part.name, size: int = size) -> None:
                listener.progress(Progress(name, "checking", done, size))

            sha256 = hash_file(part, tell)
            described = describe_local(part, metadata.quant)
            files.append(replace(described, sha256=sha256, verified_at=time.time()))
        for file in files:
            self.register(file)
        return files

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
        if (cache := self._cache_with(file)) is not None:
            with writing_to(cache.root):
                freed = cache.remove(str(file.commit), file.filename)
        elif self.is_copy(file.path):
            with writing_to(file.path.parent):
                freed = remove_copy(file.path)
        self.forget(file)
        if file.sha256 and all(r.file.sha256 != file.sha256 for r in self.receipts()):
            self._prefixes.forget(file.sha256)
        return freed

    def is_ours(self, file: ModelFile) -> bool:
        """Whether the file is mlm's to delete; any other is only registered."""
        return self.is_copy(file.path) or self._cache_with(file) is not None

    def is_copy(self, path: Path) -> bool:
        """Whether the file is a copy that `mlm import` has made."""
        return path.parent.parent == self._home.models

    def _cache_with(self, file: ModelFile) -> RepoCache | None:
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

    def _prepare(self, hub: Hub, shipment: Shipment, terms: Terms, listener: Listener) -> Download:
        place = Place(self._cache_of(shipment), shipment.order.revision, shipment.commit)

        def enter(file: RemoteFile, fetched: Fetched) -> None:
            self._prefixes.write(fetched.sha256, fetched.prefixes)
            model = replace(self._describe(shipment, file), sha256=fetched.sha256)
            if fetched.status != "present":
                verified_at = time.time() if file.sha256 else None
                origin: Origin = "adopted" if fetched.status == "adopted" else "hub"
                self._replace(replace(model, verified_at=verified_at, origin=origin))
            elif (known := self._trusted(fetched.blob)) and known.path != model.path:
                verified_at, origin = known.verified_at, known.origin
                self._replace(replace(model, verified_at=verified_at, origin=origin))

        def find_twin(sha256: str) -> Path | None:
            twin = find_by_sha256(self.receipts(), sha256)
            return Path(os.path.realpath(twin.path)) if twin else None

        ledger = Ledger(lambda blob: self._trusted(blob) is not None, find_twin, enter)
        return Download(hub, place, terms, listener, ledger)

    def _cache_of(self, shipment: Shipment) -> RepoCache:
        return RepoCache(self._hub_cache, shipment.order.ref.repo_id)

    def _describe(self, shipment: Shipment, file: RemoteFile) -> ModelFile:
        path = self._cache_of(shipment).snapshot(shipment.commit, file.filename)
        return describe_shipped(shipment, file, path)

    def _replace(self, file: ModelFile) -> None:
        """Register ``file`` and forget what an older commit called the same bytes."""
        for receipt in self.receipts():
            old = receipt.file
            same_bytes = (old.repo_id, old.filename, old.sha256)
            if same_bytes == (file.repo_id, file.filename, file.sha256) and old.path != file.path:
                self.forget(old)
        self.register(file)

    def _trusted(self, blob: Path) -> ModelFile | None:
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


def _report(
    order: Order, file: ModelFile, status: DownloadStatus, fetched: int = 0, elapsed_s: float = 0.0
) -> Downloaded:
    return Downloaded(
        repo_id=order.ref.repo_id,
        revision=order.revision,
        commit=str(file.commit),
        filename=file.filename,
        path=file.path,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        status=status,
        fetched_bytes=fetched,
        elapsed_s=elapsed_s,
    )
