"""Makes sure that the models of the store are what they were when they came, and mends them."""

import contextlib
import time
from collections.abc import Iterable
from dataclasses import replace

from mlm.errors import NotFoundError, UsageError
from mlm.store.hub import Hub
from mlm.store.listener import Listener
from mlm.store.repair import Repair
from mlm.store.store import Store
from mlm.store.types import ModelFile, Verified
from mlm.store.verify import CorruptModelError, verify_files


def verify(
    store: Store, models: Iterable[ModelFile], listener: Listener, *, quick: bool = False
) -> list[Verified]:
    """Hash all files of some models again, and remember of each whether it is right.

    With ``quick``, files are not read that nothing has touched since they were verified.

    Raises:
        NotFoundError: it is a local file that nobody imported: nothing says what it should be.
    """
    receipts = {receipt.file.path: receipt for receipt in store.receipts()}
    files = []
    for model in models:
        if model.path not in receipts:
            raise NotFoundError(
                f"{model.path} was never imported, so nothing says what it should be",
                remedy=f"mlm import {model.path}",
            )
        files += [*store.files(model), *store.side_files(model)]
    unique = list({file.path: file for file in files}.values())

    def is_unchanged(file: ModelFile) -> bool:
        return quick and receipts[file.path].is_current()

    results = verify_files(unique, listener, store.prefixes, is_unchanged)
    for result in results:
        if result.hashed:
            verified_at = time.time() if result.ok else None
            with contextlib.suppress(OSError, UsageError):  # it is gone, or home is read-only
                store.register(replace(result.file, verified_at=verified_at))
    return results


def repair(store: Store, hub: Hub, found: Verified, listener: Listener) -> Verified:
    """Make a file right again that was found to be wrong, and return what it is now.

    Raises:
        NotFoundError: it did not come from a hub, or is not in the cache any more.
        MlmError: see `mlm.store.repair.Repair.run`.
    """
    file = found.file
    cache = store.cache_with(file)
    if cache is None or file.sha256 is None:
        raise NotFoundError(
            f"nothing says where {file.path} could be fetched from",
            remedy=f"put a sound copy there, or: mlm rm {file.ref}",
        )
    fetched = Repair(cache, file, store.prefixes.read(file.sha256)).run(hub, listener)
    store.register(replace(file, verified_at=time.time()))
    return replace(found, actual=file.sha256, rotten_at=None, repaired_bytes=fetched)


def ensure_intact(store: Store, model: ModelFile, listener: Listener) -> None:
    """Hash what is in the store but was never verified, or was touched since.

    A local file that nobody imported carries no promise: it is taken as it is.

    Raises:
        CorruptModelError: the bytes are not the promised ones.
    """
    current = {r.file.path for r in store.receipts() if r.is_current()}
    files = store.files(model)
    if all(file.sha256 is None or file.path in current for file in files):
        return
    for result in verify(store, [model], listener):
        if result.expected is not None and not result.ok:
            raise CorruptModelError(result)
