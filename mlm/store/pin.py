"""Compares what the hub offers with what the catalog promises of the same file."""

from dataclasses import replace

from mlm.catalog.types import Pin
from mlm.errors import IntegrityError
from mlm.store.listener import Listener
from mlm.store.types import RemoteFile


class PinMismatch(IntegrityError):
    """The hub's file is not the one whose checksum the catalog has verified."""

    code = "pin_mismatch"

    def __init__(self, pin: Pin, offered: str) -> None:
        ref = f"{pin.repo_id}/{pin.filename}"
        pinned = pin.revision if pin.revision != "main" else "COMMIT"
        super().__init__(
            f"{ref} has sha256 {offered} on the hub,"
            f" and the catalog has verified it as {pin.sha256}",
            remedy=f"for the file of the catalog: mlm download {ref} --revision {pinned};"
            " for the new one: --revision main",
        )


def apply_pin(
    file: RemoteFile, pin: Pin | None, *, revision_given: bool, listener: Listener
) -> RemoteFile:
    """Return ``file`` with the checksum to hold it to.

    A person who names a revision gets that revision, with a note when it is not what is pinned.

    Raises:
        PinMismatch: the pin is verified, and the hub offers something else unasked.
    """
    if pin is None or pin.sha256 is None:
        return file
    if file.sha256 is None:
        return replace(file, sha256=pin.sha256)
    if file.sha256 == pin.sha256:
        return file
    if pin.sha256_verified and not revision_given:
        raise PinMismatch(pin, file.sha256)
    listener.note(
        f"{file.filename} was replaced upstream: the catalog knows sha256 {pin.sha256[:12]}…,"
        f" the hub has {file.sha256[:12]}…, which is what counts now"
    )
    return file
