"""From a manifest to its lock: what is not locked yet is looked up on the hub."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from mlm.errors import IntegrityError, MlmError
from mlm.manifest.compare import (
    DriftError,
    answers,
    choose_engine,
    find_drift,
    find_engine_drift,
)
from mlm.manifest.document import ManifestError
from mlm.manifest.engine import installed_version
from mlm.manifest.lock_file import lock_path, read_lock, write_lock
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


def frozen_lock(run: "Session", manifest: Manifest) -> Lock:
    """Return the lock as it is, if everything that can be compared is as it says.

    Raises:
        DriftError: something is not; the message names each such thing.
    """
    from mlm.cli._syncing import find_edits

    path = lock_path(manifest.path)
    lock = read_lock(path)
    if lock is None:
        raise DriftError([f"there is no {path}"])
    drifts = [
        *find_drift(manifest, lock),
        *find_engine_drift(manifest, lock, installed_version()),
        *find_edits(run.settings, manifest),
    ]
    if drifts:
        raise DriftError(drifts)
    return lock


def current_lock(
    run: "Session", manifest: Manifest, listener: "Listener", *, dry_run: bool
) -> tuple[Lock, bool]:
    """Return the lock, brought up to date where the manifest has changed, and whether it had to be.

    Raises:
        MlmError: see `make_lock`.
    """
    path = lock_path(manifest.path)
    old = read_lock(path)
    if old is not None and not list(find_drift(manifest, old)):
        return old, False
    new = make_lock(run, manifest, old, listener)
    if not dry_run:
        write_lock(path, new)
    return new, True


def _resolve(run: "Session", wanted: WantedModel, listener: "Listener") -> LockedModel:
    from mlm.cli._hub import open_hub
    from mlm.cli._orders import make_order
    from mlm.cli._waiting import waiting_for
    from mlm.store.order import look_up

    try:
        order = make_order(run, wanted.name, revision=wanted.revision)
        _refuse_alias(wanted, order)
        asking = f"asking the hub about {order.ref.repo_id}"
        with open_hub(run, order.ref.repo_id) as hub, waiting_for(run, asking):
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
