"""From files to models: shards joined, and what lies in the cache that nobody has told us of."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mlm.store.names import is_sha256, split_shard
from mlm.store.side_files import side_role
from mlm.store.survey import survey_cache
from mlm.store.types import ModelFile, RemoteFile
from mlm.store.variant import read_quant

if TYPE_CHECKING:
    from mlm.store.order import Shipment  # it needs the hub, and the store does not


def group_shards(files: list[ModelFile]) -> list[ModelFile]:
    """Return one `ModelFile` per model: shards become their first, with all their bytes."""
    totals: dict[tuple[object, ...], list[ModelFile]] = {}
    for file in files:
        stem, _, count = split_shard(file.filename)
        key = (file.path,) if count == 1 else (file.path.parent, stem, count)
        totals.setdefault(key, []).append(file)
    return [_join(sorted(parts, key=lambda part: part.filename)) for parts in totals.values()]


def _join(parts: list[ModelFile]) -> ModelFile:
    if len(parts) == 1:
        return parts[0]
    verified = [part.verified_at for part in parts]
    return replace(
        parts[0],
        size_bytes=sum(part.size_bytes for part in parts),
        verified_at=None if None in verified else min(v for v in verified if v is not None),
        n_files=len(parts),
    )


def scan_cache(hub_cache: Path) -> Iterator[ModelFile]:
    """Yield the GGUF files in a Hugging Face cache, whoever fetched them, none of them verified."""
    for repo in survey_cache(hub_cache):
        for link in repo.links:
            if link.blob is not None and link.filename.lower().endswith(".gguf"):
                with contextlib.suppress(OSError):  # it went while we looked
                    yield describe_cached(link.path, repo.repo_id, link.commit, link.filename)


def describe_cached(path: Path, repo_id: str, commit: str, filename: str) -> ModelFile:
    """Return what a file in the cache is by its place there; it is not verified.

    Raises:
        OSError: it leads nowhere.
    """
    blob = path.readlink().name if path.is_symlink() else path.name  # which may be a link itself
    quant = None if side_role(filename) else read_quant(filename)
    ref = f"{repo_id}:{quant}" if quant else f"{repo_id}/{filename}"
    return ModelFile(
        ref=ref,
        model_id=ref,
        model=None,
        quant=quant,
        repo_id=repo_id,
        commit=commit,
        filename=filename,
        path=path,
        size_bytes=path.stat().st_size,
        sha256=blob if is_sha256(blob) else None,
        verified_at=None,
        origin="adopted",
        last_used_at=None,
    )


def describe_shipped(shipment: "Shipment", file: RemoteFile, path: Path) -> ModelFile:
    """Return what a file of ``shipment`` will be once it is at ``path`` and verified."""
    model, quant, ref = shipment.order.model, shipment.quant, shipment.ref
    if side_role(file.filename):
        model, quant = None, None
        ref = f"{shipment.order.ref.repo_id}/{file.filename}"
    return ModelFile(
        ref=ref,
        model_id=f"{model}:{quant}" if model and quant else ref,
        model=model,
        quant=quant,
        repo_id=shipment.order.ref.repo_id,
        commit=shipment.commit,
        filename=file.filename,
        path=path,
        size_bytes=file.size_bytes,
        sha256=file.sha256,
        verified_at=None,
        origin="hub",
        last_used_at=None,
    )


def describe_local(path: Path, quant: str | None) -> ModelFile:
    """Return what is known of a local file without reading it; ``quant`` as its header says."""
    return ModelFile(
        ref=str(path),
        model_id=split_shard(path.name)[0],
        model=None,
        quant=quant or read_quant(path.name),
        repo_id=None,
        commit=None,
        filename=path.name,
        path=path,
        size_bytes=path.stat().st_size,
        sha256=None,
        verified_at=None,
        origin="import",
        last_used_at=None,
    )
