"""Makes this machine have what a lock says, and finds out cheaply when it has it already.

Nothing is imported, opened or measured for what is right: not the index, not a hub, not the
hardware. A file is right when its receipt says that these bytes were verified and have not been
touched since; a config when its seal is whole and was made for what is asked now.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mlm.cli._failures import Failure
from mlm.errors import MlmError
from mlm.manifest.seal import State, judge, seal
from mlm.planning.config_file import config_path
from mlm.store.cache_layout import RepoCache
from mlm.store.receipt import Receipts

if TYPE_CHECKING:
    from mlm.cli._session import Session
    from mlm.manifest.types import Lock, LockedModel, Manifest, WantedModel
    from mlm.settings import Settings
    from mlm.store.listener import Listener
    from mlm.store.order import Shipment
    from mlm.store.types import Downloaded

ConfigStatus = Literal["unchanged", "written", "planned"]


@dataclass(frozen=True, slots=True)
class Synced:
    """What became of one model: of its files, and of its config."""

    locked: "LockedModel"
    files: list[dict[str, Any]]
    config_path: Path
    config_status: ConfigStatus

    @property
    def fetched_bytes(self) -> int:
        """What came over the network."""
        return sum(int(file["fetched_bytes"]) for file in self.files)

    @property
    def status(self) -> str:
        """All of it in a word: ``unchanged``, ``planned`` or ``changed``."""
        seen = {self.config_status, *(str(file["status"]) for file in self.files)}
        if seen <= {"unchanged", "present"}:
            return "unchanged"
        return "planned" if "planned" in seen else "changed"


def sync_models(
    run: "Session", manifest: "Manifest", lock: "Lock", listener: "Listener", *, dry_run: bool
) -> tuple[list[Synced], list[Failure]]:
    """Do `_sync_model` for every model; return what became of them, and the failures by name."""
    done: list[Synced] = []
    failures: list[Failure] = []
    for wanted in manifest.models:
        locked = lock.find(wanted.name)
        assert locked is not None, "whoever calls this has a lock that matches"
        try:
            done.append(_sync_model(run, wanted, locked, listener, dry_run=dry_run))
        except MlmError as error:
            failures.append(Failure(wanted.name, error))
    if failures and len(manifest.models) == 1:
        raise failures[0].error
    return done, failures


def _sync_model(
    run: "Session",
    wanted: "WantedModel",
    locked: "LockedModel",
    listener: "Listener",
    *,
    dry_run: bool,
) -> Synced:
    """Bring in what is missing of a model and write its config, or with ``dry_run`` only say so.

    Raises:
        MlmError: the locked bytes cannot be had; the header cannot be planned for; no place.
    """
    there = [_is_here(run.settings, locked, file.filename) for file in locked.files]
    if all(there) or dry_run:
        files = [
            _row(run.settings, locked, n, "present" if is_here else "planned")
            for n, is_here in enumerate(there)
        ]
    else:
        files = [_brought(file) for file in _bring(run, locked, listener)]
    path, state = _config(run.settings, wanted)
    status: ConfigStatus = "unchanged"
    if state != "current":
        status = "planned" if dry_run else "written"
    if status == "written":
        if state == "edited":
            run.note(f"{path} was not as mlm sync writes it; see mlm config rollback {wanted.name}")
        _write_config(run, wanted, _place(run.settings, locked, locked.files[0].filename), path)
    return Synced(locked, files, path, status)


def find_edits(settings: "Settings", manifest: "Manifest") -> Iterator[str]:
    """Yield each config file that is not as `mlm sync` wrote it."""
    for wanted in manifest.models:
        path, state = _config(settings, wanted)
        if state == "edited":
            yield f"the config of {wanted.name} was edited by hand: {path}"


def _place(settings: "Settings", locked: "LockedModel", filename: str) -> Path:
    return RepoCache(settings.hub_cache, locked.repo_id).snapshot(locked.commit, filename)


def _is_here(settings: "Settings", locked: "LockedModel", filename: str) -> bool:
    """Whether a file is here, verified as what is locked, and untouched since."""
    receipt = Receipts(settings.home.receipts).find(_place(settings, locked, filename))
    if receipt is None or not receipt.is_current():
        return False
    promised = {file.filename: (file.size_bytes, file.sha256) for file in locked.files}
    return promised[filename] == (receipt.file.size_bytes, receipt.file.sha256)


def _row(settings: "Settings", locked: "LockedModel", n: int, status: str) -> dict[str, Any]:
    file = locked.files[n]
    return {
        "filename": file.filename,
        "status": status,
        "path": str(_place(settings, locked, file.filename)),
        "size_bytes": file.size_bytes,
        "sha256": file.sha256,
        "fetched_bytes": 0,
    }


def _brought(file: "Downloaded") -> dict[str, Any]:
    return {
        "filename": file.filename,
        "status": file.status,
        "path": str(file.path),
        "size_bytes": file.size_bytes,
        "sha256": file.sha256,
        "fetched_bytes": file.fetched_bytes,
    }


def _bring(run: "Session", locked: "LockedModel", listener: "Listener") -> "list[Downloaded]":
    from mlm.cli._hub import open_hub
    from mlm.store.delivery import Delivery
    from mlm.store.download import Terms
    from mlm.store.store import Store

    with (
        Store(run.settings.home, run.settings.hub_cache) as store,
        open_hub(run, locked.repo_id) as hub,
    ):
        return Delivery(store, hub, Terms(), listener).bring(_shipment(locked))


def _shipment(locked: "LockedModel") -> "Shipment":
    """Return the locked files as an order that needs no answer from a hub any more."""
    from mlm.store.order import Order, Shipment
    from mlm.store.ref import HubRef, NameRef

    name = locked.ref.name if isinstance(locked.ref, NameRef) else None
    filename = locked.ref.filename if isinstance(locked.ref, HubRef) else None
    order = Order(
        HubRef(locked.repo_id, locked.quant, filename),
        revision=locked.commit,
        revision_given=True,
        model=name,
    )
    return Shipment(order, locked.commit, locked.quant, locked.files)


def _config(settings: "Settings", wanted: "WantedModel") -> tuple[Path, State]:
    path = config_path(settings.home.config, wanted.name)
    text = path.read_bytes().decode("utf-8", "replace") if path.is_file() else None
    return path, judge(text, wanted.config_sha256)


def _write_config(run: "Session", wanted: "WantedModel", model: Path, path: Path) -> None:
    """Plan the config for this machine around what is asked for, and seal it."""
    from mlm.cli._machine import planned_machine
    from mlm.cli._model import known_entry
    from mlm.cli._projector import read_shape
    from mlm.planning.config_file import format_config
    from mlm.planning.config_versions import write_version
    from mlm.planning.memory import plan_memory
    from mlm.planning.runtime import plan_runtime
    from mlm.store.ref import NameRef
    from mlm.store.store import Store

    machine = planned_machine(run)
    name = wanted.ref.name if isinstance(wanted.ref, NameRef) else None
    with Store(run.settings.home, run.settings.hub_cache) as store:
        shape, _ = read_shape(store, store.find(str(model)), known_entry(run.settings, name))
    config = plan_runtime(shape, machine, wanted.overrides)
    text = format_config(config, wanted.name, advice="Change it in mlm.yaml, not here")
    write_version(path, seal(text, wanted.config_sha256))
    planned = plan_memory(shape, config, machine)
    if planned.verdict != "fits":
        run.note(f"{wanted.name}: {planned.reasons[0]}")
