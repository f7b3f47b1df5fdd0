"""What to bring in: a person's wish, and the files of a repository that fulfil it."""

from collections.abc import Callable
from dataclasses import dataclass

from mlm.catalog.types import Quant
from mlm.store.hub import Hub
from mlm.store.listener import Listener
from mlm.store.pin import apply_pin
from mlm.store.ref import HubRef
from mlm.store.types import RemoteFile
from mlm.store.variant import Variant, choose_variant

PinOf = Callable[[str], Quant | None]  # a file name to what the catalog promises of it


@dataclass(frozen=True, slots=True)
class Order:
    """One model in one quantization, at one revision."""

    ref: HubRef
    revision: str = "main"
    revision_given: bool = False  # a person chose it, so the catalog's pin does not overrule it
    model: str | None = None  # the catalog's name, where that is how it was asked for
    pin_of: PinOf = lambda filename: None


@dataclass(frozen=True, slots=True)
class Shipment:
    """The files that an order comes to, each with the checksum to hold it to."""

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
    variant: Variant = choose_variant(repo, order.ref)
    files = tuple(
        apply_pin(
            file,
            order.pin_of(file.filename),
            revision_given=order.revision_given,
            listener=listener,
        )
        for file in variant.files
    )
    return Shipment(order, repo.commit, variant.quant or order.ref.quant, files)
