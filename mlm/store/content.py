"""Finds files in the store by what is in them."""

from collections.abc import Iterable

from mlm.store.receipt import Receipt
from mlm.store.types import ModelFile


def find_by_sha256(receipts: Iterable[Receipt], sha256: str) -> ModelFile | None:
    """Return a file that was verified to have this sha256 and has not been touched since."""
    for receipt in receipts:
        if receipt.file.sha256 == sha256 and receipt.is_current():
            return receipt.file
    return None
