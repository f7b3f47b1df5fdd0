"""From a manifest to its lock: what is not locked yet is looked up on the hub."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from mlm.errors import IntegrityError, MlmError
from mlm.manifest.compare import answers, choose_engine
from mlm.manifest.document import ManifestError
from mlm.manifest.engine import installed_version
from mlm.manifest.types import Lock, LockedModel, Manifest, WantedModel

if TYPE_CHECKING:
    from mlm.cli._session import Session
    from mlm.store.listener import Listener
    from mlm.store.order import Order

Renewed = Callable[[WantedModel], bool]


def make_lock(
    run: "Session",
    manifest: Manifest,
    old: Lock | None,
    listener: "Listener",
    *,
    renewed: Renewed = lambda wanted: False,
    keep_engine: bool = True,
) -> Lock:
    """Return the lock of ``manifest``. What ``old`` answers already stays, unless ``renewed``.

    Raises:
        MlmError: the hub does not have a model, or cannot be asked; the message names the place
            in the manifest.
    """
    models = []
    for wanted in manifest.models:
        kept = old.find(wanted.name) if old else None
        if kept is None or not answers(kept, wanted) or renewed(wanted):
            kept = _resolve(run, wanted, listener)
        models.append(replace(kept, config_sha256=wanted.config_sha256))
    locked_engine = old.engine if old and keep_engine else None
    return Lock(tuple(models), choose_engine(manifest, locked_engine, installed_version()))


def _resolve(run: "Session", wanted: WantedModel, listener: "Listener") -> LockedModel:
    from mlm.cli._hub import open_hub
    from mlm.cli._orders import make_order
    from mlm.store.order import look_up

    try:
        order = make_order(run, wanted.name, revision=wanted.revision)
        _refuse_alias(wanted, order)
        with open_hub(run, order.ref.repo_id) as hub:
            shipment = look_up(hub, order, listener)
        _refuse_unverifiable(wanted, [f.filename for f in shipment.files if f.sha256 is None])
    except MlmError as error:
        error.message = f"{wanted.where}: {error.message}"
        raise
    return LockedModel(
        wanted.ref,
        wanted.revision,
        order.ref.repo_id,
        shipment.commit,
        shipment.quant,
        wanted.config_sha256,
        tuple(replace(file, git_oid=None) for file in shipment.files),
    )


def _refuse_alias(wanted: WantedModel, order: "Order") -> None:
    """Raise if the catalog knows the model by another name: it would be installed under that."""
    from mlm.store.ref import NameRef

    if isinstance(wanted.ref, NameRef) and wanted.ref.name != order.model:
        name = str(replace(wanted.ref, name=str(order.model)))
        raise ManifestError(f"{wanted.name} is called {name}", remedy=f"write model: {name}")


def _refuse_unverifiable(wanted: WantedModel, filenames: list[str]) -> None:
    if filenames:
        raise IntegrityError(
            f"the hub gives no sha256 for {filenames[0]}, so it cannot be locked",
            remedy="choose a repository that keeps its models with Git LFS, as hubs do",
        )
