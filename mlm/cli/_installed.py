"""The models of this machine as a lock would have them."""

from typing import TYPE_CHECKING

from mlm.manifest.types import LockedModel, hash_overrides
from mlm.planning.overrides import Overrides
from mlm.store.ref import HubRef, NameRef, parse_ref
from mlm.store.types import ModelFile, RemoteFile

if TYPE_CHECKING:
    from mlm.cli._session import Session


def installed_models(run: "Session") -> tuple[LockedModel, ...]:
    """Return what came from a hub and is verified, by name; of several commits the latest here."""
    from mlm.store.store import Store

    found: dict[str, LockedModel] = {}
    with Store(run.settings.home, run.settings.hub_cache) as store:
        latest_first = sorted(store.models(), key=lambda m: m.verified_at or 0, reverse=True)
        for model in latest_first:
            files = [*store.files(model), *store.side_files(model)]
            if described := _describe(model, files):
                found.setdefault(described.name, described)
    return tuple(found[name] for name in sorted(found))


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
