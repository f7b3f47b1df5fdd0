"""Brings what was ordered from a hub into the store, and writes down what came."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

from mlm.store.cache_layout import RepoCache
from mlm.store.content import find_by_sha256
from mlm.store.download import Download, Fetched, Place, Terms
from mlm.store.hub import Hub
from mlm.store.inventory import describe_shipped
from mlm.store.listener import Listener
from mlm.store.lookup import meets
from mlm.store.order import Order, Shipment, look_up
from mlm.store.store import Store
from mlm.store.types import Downloaded, DownloadStatus, ModelFile, RemoteFile


@dataclass(frozen=True, slots=True)
class Delivery:
    """From one hub into one store, on the same terms."""

    store: Store
    hub: Hub
    terms: Terms
    listener: Listener

    def download(self, order: Order) -> list[Downloaded]:
        """Bring in what ``order`` asks for, verified, and return what became of each file.

        Raises:
            MlmError: see `mlm.store.order.look_up` and `mlm.store.download.Download.fetch`.
        """
        return self.bring(look_up(self.hub, order, self.listener))

    def bring(self, shipment: Shipment) -> list[Downloaded]:
        """Do the same for files that are known already: the hub is asked for their bytes only.

        Raises:
            MlmError: see `mlm.store.download.Download.fetch`.
        """
        books = Books(self.store, shipment)
        download = self._prepare(books)
        download.check_space(shipment.files)
        missing = [file for file in shipment.files if download.find_trusted(file) is None]
        self.listener.expect({file.filename: file.size_bytes for file in missing})
        results = []
        for file in shipment.files:
            started = time.monotonic()
            fetched = download.fetch(file)
            model = replace(books.describe(file), sha256=fetched.sha256)
            report = _report(shipment.order, model, fetched.status)
            elapsed_s = time.monotonic() - started
            results.append(
                replace(report, fetched_bytes=fetched.fetched_bytes, elapsed_s=elapsed_s)
            )
        return results

    def preview(self, order: Order) -> list[Downloaded]:
        """Return what `download` would do, having asked the hub but fetched and written nothing.

        Raises:
            MlmError: see `mlm.store.order.look_up`.
        """
        return list(self.forecast(look_up(self.hub, order, self.listener)).files)

    def forecast(self, shipment: Shipment) -> "Forecast":
        """Return what `bring` would do; nothing is asked or written."""
        books = Books(self.store, shipment)
        download = self._prepare(books)
        results, missing = [], 0
        for file in shipment.files:
            status: DownloadStatus = "present" if download.find_trusted(file) else "planned"
            results.append(_report(shipment.order, books.describe(file), status))
            if status == "planned":
                missing += download.missing_bytes(file)
        return Forecast(tuple(results), missing)

    def _prepare(self, books: "Books") -> Download:
        shipment = books.shipment
        place = Place(books.cache, shipment.order.revision, shipment.commit)
        return Download(self.hub, place, self.terms, self.listener, books)


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a shipment would bring: its files, and the bytes that would be written for them."""

    files: tuple[Downloaded, ...]
    missing_bytes: int


@dataclass(frozen=True, slots=True)
class Books:
    """What the store knows of the files of one shipment (a `mlm.store.download.Ledger`)."""

    store: Store
    shipment: Shipment

    @property
    def cache(self) -> RepoCache:
        """Where the files belong."""
        return RepoCache(self.store.hub_cache, self.shipment.order.ref.repo_id)

    def describe(self, file: RemoteFile) -> ModelFile:
        """Return what ``file`` is once it is here and verified."""
        path = self.cache.snapshot(self.shipment.commit, file.filename)
        return describe_shipped(self.shipment, file, path)

    def is_trusted(self, blob: Path) -> bool:
        """Whether ``blob`` was verified before, and not touched since."""
        return self.store.find_trusted(blob) is not None

    def find_twin(self, sha256: str) -> ModelFile | None:
        """Return a trusted file with these bytes, wherever it is."""
        return find_by_sha256(self.store.receipts(), sha256)

    def enter(self, file: RemoteFile, fetched: Fetched) -> None:
        """Write down that ``file`` is here now, and how it came."""
        self.store.prefixes.write(fetched.sha256, fetched.prefixes)
        model = replace(self.describe(file), sha256=fetched.sha256)
        if fetched.status != "present":
            verified_at = time.time() if file.sha256 else None
            origin = "adopted" if fetched.status == "adopted" else model.origin
            self.store.replace(replace(model, verified_at=verified_at, origin=origin))
        elif (known := self.store.find_trusted(fetched.blob)) and known.path != model.path:
            verified_at, origin = known.verified_at, known.origin
            self.store.replace(replace(model, verified_at=verified_at, origin=origin))


def already_here(store: Store, order: Order) -> list[Downloaded]:
    """Return the files of ``order`` that can be trusted without asking a hub; perhaps none."""
    found = [m for m in store.models() if m.path.exists() and meets(m, order.ref)]
    files = [f for model in found[:1] for f in (*store.files(model), *store.side_files(model))]
    receipts = {receipt.file.path: receipt for receipt in store.receipts()}
    if not all(receipts[file.path].is_current() for file in files):
        return []
    return [_report(order, file, "present") for file in files]


def _report(order: Order, file: ModelFile, status: DownloadStatus) -> Downloaded:
    return Downloaded(
        repo_id=order.ref.repo_id,
        revision=order.revision,
        commit=file.commit,
        filename=file.filename,
        path=file.path,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        status=status,
        fetched_bytes=0,
        elapsed_s=0.0,
    )
