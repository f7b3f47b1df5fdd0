"""What to bring in: a person's wish, and the files of a repository that fulfil it."""

from collections.abc import Callable
from dataclasses import dataclass

from mlm.catalog.types import Pin
from mlm.store.hub import Hub
from mlm.store.listener import Listener
from mlm.store.pin import apply_pin
from mlm.store.ref import HubRef
from mlm.store.types import RemoteFile
from mlm.store.variant import choose_variant

PinOf = Callable[[str], Pin | None]  # a file name to what the catalog promises of it


@dataclass(frozen=True, slots=True)
class Order:
    """One model in one quantization, at one revision."""

    ref: HubRef
    revision: str = "main"
    revision_given: bool = False  # a person chose it, so the catalog's pin does not overrule it
    model: str | None = None  # the catalog's name, where that is how it was asked for
    pin_of: PinOf = lambda filename: None
    side_files: bool = True  # let a projector and an importance matrix come along


@dataclass(frozen=True, slots=True)
class Shipment:
    """The files that an order comes to, each with the checksum to hold it to.

    The model comes first, in all its shards; then its side files.
    """

    order: Order
    commit: str
    quant: str | None
    files: tuple[RemoteFile, ...]

    @property
    def ref(self) -> str:
        """What to type to get the same again."""
        ref = self.order.ref
        if self.quant and (self.order.model or not ref.filename):
            return f"{ref.repo_id}:{self.quant}"
        return f"{ref.repo_id}/{self.files[0].filename}"


def look_up(hub: Hub, order: Order, listener: Listener) -> Shipment:
    """Ask the hub what ``order`` comes to.

    Raises:
        NotFoundError, UsageError: there is no such thing, or several.
        PinMismatch: the hub's file is not the one that the catalog has verified.
        AuthError, NetworkError: the hub refuses or cannot be reached.
    """
    repo = hub.resolve(order.ref.repo_id, order.revision)
    variant = choose_variant(repo, order.ref)

    def pinned(file: RemoteFile) -> RemoteFile:
        pin = order.pin_of(file.filename)
        return apply_pin(file, pin, revision_given=order.revision_given, listener=listener)

    files = [pinned(file) for file in variant.files]
    for file in map(pinned, variant.side_files if order.side_files else ()):
        if file.sha256 is None:
            listener.note(f"{file.filename} is left out: the hub gives no sha256 for it")
        else:
            files.append(file)
    return Shipment(order, repo.commit, variant.quant or order.ref.quant, tuple(files))
