"""The first manifest of a machine that works: what is installed here, exactly as it is."""

from pathlib import Path
from typing import TYPE_CHECKING

from mlm.errors import ConflictError, NotFoundError
from mlm.manifest.engine import installed_version
from mlm.manifest.lock_file import lock_path, write_lock
from mlm.manifest.manifest_file import write_manifest
from mlm.manifest.types import Lock, LockedModel, hash_overrides
from mlm.planning.types import Overrides
from mlm.store.ref import HubRef, NameRef, parse_ref
from mlm.store.types import ModelFile, RemoteFile

if TYPE_CHECKING:
    from mlm.cli._session import Session


def write_first_manifest(run: "Session", path: Path) -> None:
    """Write a manifest of the models installed here, and a lock at the commits that are here.

    Raises:
        ConflictError: there is a manifest or a lock already.
        NotFoundError: no model of a hub is installed.
        UsageError: they cannot be written.
    """
    from mlm.store.store import Store

    lock = lock_path(path)
    for taken in (path, lock):
        if taken.exists():
            raise ConflictError(f"{taken} is there already", remedy="mlm lock (without --init)")
    locked: dict[str, LockedModel] = {}
    with Store(run.settings.home, run.settings.hub_cache) as store:
        newest_first = sorted(store.models(), key=lambda m: m.verified_at or 0, reverse=True)
        for model in newest_first:
            if found := _describe(model, [*store.files(model), *store.side_files(model)]):
                locked.setdefault(found.name, found)
    if not locked:
        raise NotFoundError(
            "no verified model of a hub is installed here, so there is nothing to begin with",
            remedy=f"printf 'models:\\n  - model: qwen3-8b:Q4_K_M\\n' > {path}, then mlm lock",
        )
    models = tuple(locked[name] for name in sorted(locked))
    write_manifest(path, [model.name for model in models])
    write_lock(lock, Lock(models, installed_version()))


def _describe(model: ModelFile, files: list[ModelFile]) -> LockedModel | None:
    """Return ``model`` as a lock has it; None if it did not come from a hub, or is unverified."""
    ref = parse_ref(model.model_id)
    if model.repo_id is None or model.commit is None or not isinstance(ref, HubRef | NameRef):
        return None
    if any(file.sha256 is None or file.verified_at is None for file in files):
        return None
    return LockedModel(
        ref,
        None,
        model.repo_id,
        model.commit,
        model.quant,
        hash_overrides(Overrides()),
        tuple(RemoteFile(file.filename, file.size_bytes, file.sha256) for file in files),
    )
