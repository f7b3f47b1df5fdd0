"""Makes an entry of the catalog from what a repository and the header of one of its files say."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mlm.catalog.types import Architecture, CatalogEntry, Quant, Shard, SideFile, UseCase
from mlm.errors import NotFoundError, UsageError
from mlm.store.names import is_repo_id, split_shard
from mlm.store.side_files import choose_side_files
from mlm.store.variant import Variant, group_variants

if TYPE_CHECKING:
    from mlm.gguf.types import GGUFMetadata
    from mlm.store.types import RepoFiles

MAX_QUANTS = 200  # real repositories have up to 60
_MAX_NAME, _MAX_FILENAME, _MAX_QUANT = 120, 255, 32  # characters, as in catalog/schema.json
# The hub writes licences its own way; those that SPDX knows, in its spelling.
_SPDX = {
    "afl-3.0": "AFL-3.0", "agpl-3.0": "AGPL-3.0-only", "apache-2.0": "Apache-2.0",
    "bsd-3-clause": "BSD-3-Clause", "cc-by-4.0": "CC-BY-4.0", "cc-by-nc-4.0": "CC-BY-NC-4.0",
    "cc-by-nc-sa-4.0": "CC-BY-NC-SA-4.0", "cc-by-sa-4.0": "CC-BY-SA-4.0", "cc0-1.0": "CC0-1.0",
    "gpl-3.0": "GPL-3.0-only", "lgpl-3.0": "LGPL-3.0-only", "mit": "MIT", "unlicense": "Unlicense",
}  # fmt: skip
_UNKNOWN_LICENSE = "NOASSERTION"  # SPDX's word for it
_OTHER = re.compile(r"[^A-Za-z0-9.+-]+")
_NOT_IN_ID = re.compile(r"[^a-z0-9._-]+")
_EMBEDDING_TAGS = {"feature-extraction", "sentence-similarity", "sentence-transformers"}
_CODE = re.compile(r"(?:^|[-_./])(?:code|coder|codestral|devstral)(?:$|[-_.])", re.IGNORECASE)


def choose_variants(repo: "RepoFiles") -> list[Variant]:
    """Return the quantizations of a repository that an entry can list, smallest first.

    Raises:
        NotFoundError: there is none.
        UsageError: there are too many to be one model.
    """
    variants = group_variants(repo.files)
    by_quant: dict[str, Variant] = {}
    for variant in variants:
        if _is_listable(variant):
            by_quant.setdefault(str(variant.quant).upper(), variant)
    if len(by_quant) > MAX_QUANTS:
        raise UsageError(f"{repo.repo_id} is no repository of one model: {len(by_quant)} kinds")
    if not by_quant:
        what = "only a projector" if repo.files else "no GGUF file"
        if variants:
            what = "no whole GGUF file whose name says its quantization"
        raise NotFoundError(
            f"{repo.repo_id} holds {what}",
            remedy="look for a repository of the model whose name ends in -GGUF: mlm search --hub",
        )
    return list(by_quant.values())


def _is_listable(variant: Variant) -> bool:
    name = variant.filename
    is_plain = len(name) <= _MAX_FILENAME and not any(p.startswith(".") for p in name.split("/"))
    is_whole = len(variant.files) == split_shard(name)[2] and variant.files[0].size_bytes > 0
    return is_plain and is_whole and 0 < len(variant.quant or "") <= _MAX_QUANT


def default_id(repo_id: str) -> str:
    """Return what a model of the repository is called where nobody says."""
    name = repo_id.partition("/")[2].lower()
    return _NOT_IN_ID.sub("-", name.removesuffix("-gguf").removesuffix(".gguf")).strip("-._")


def make_entry(
    model_id: str,
    repo: "RepoFiles",
    variants: Sequence[Variant],
    metadata: "GGUFMetadata",
    uses: Sequence[UseCase],
) -> CatalogEntry:
    """Return the entry; ``uses`` empty: as tags and header tell."""
    from mlm.planning.shape import shape_from_metadata

    source = f"hub {repo.repo_id}@{repo.commit}"
    mmproj = _projectors(repo, variants[0], source)
    shape = shape_from_metadata(metadata)
    name = "".join(filter(str.isprintable, metadata.name or "")).strip()[:_MAX_NAME]
    return CatalogEntry(
        model_id=model_id,
        family=model_id,
        name=name or repo.repo_id.partition("/")[2],
        base_repo=_base_repo(repo),
        params=metadata.params,
        params_active=max(min(shape.params_active, metadata.params), 1),
        architecture=describe_architecture(metadata),
        license=_license(repo),
        gated=repo.gated,
        released=None,
        use_cases=tuple(uses) or _uses(repo, metadata, mmproj),
        scores=(),
        quants=tuple(_quant(variant, repo, source) for variant in variants),
        source=source,
        mmproj=mmproj,
    )


def describe_architecture(metadata: "GGUFMetadata") -> Architecture:
    """Return what the catalog keeps of a header."""
    n_head = max(metadata.n_head) or 1
    n_head_kv = max(metadata.n_head_kv) or 1
    if n_head % n_head_kv:
        n_head_kv = 1
    full = [
        kept and not sliding
        for kept, sliding in zip(metadata.has_kv, metadata.is_sliding, strict=True)
    ]
    is_mixture = metadata.n_expert > 0
    made = Architecture(
        name=metadata.architecture,
        n_layer=metadata.n_layer,
        n_embd=metadata.n_embd,
        n_head=n_head,
        n_head_kv=n_head_kv,
        head_dim=metadata.head_dim_k or max(metadata.n_embd // n_head, 1),
        n_ff=_expert_ff(metadata) if is_mixture else metadata.n_ff,
        n_vocab=max(metadata.n_vocab, 1),
        n_ctx_train=metadata.n_ctx_train,
        sliding_window=metadata.sliding_window or None,
        n_layer_attention=sum(full) if sum(full) < metadata.n_layer else None,
    )
    if is_mixture:
        used = min(max(metadata.n_expert_used, 1), metadata.n_expert)
        made = replace(made, n_expert=metadata.n_expert, n_expert_used=used)
    return made


def _expert_ff(metadata: "GGUFMetadata") -> int | None:
    own = metadata.values.get(f"{metadata.architecture}.expert_feed_forward_length")
    return own if isinstance(own, int) and own > 0 else metadata.n_ff


def _quant(variant: Variant, repo: "RepoFiles", source: str) -> Quant:
    whole = len(variant.files) == 1
    shards = tuple(Shard(file.filename, file.size_bytes, file.sha256) for file in variant.files)
    return Quant(
        quant=str(variant.quant).upper(),
        repo_id=repo.repo_id,
        revision=repo.commit,
        filename=variant.filename,
        size_bytes=variant.size_bytes,
        size_exact=True,
        sha256=variant.files[0].sha256 if whole else None,
        sha256_verified=False,
        source=source,
        n_files=len(variant.files),
        shards=() if whole else shards,
    )


def _projectors(repo: "RepoFiles", variant: Variant, source: str) -> tuple[SideFile, ...]:
    return tuple(
        SideFile(
            repo.repo_id,
            repo.commit,
            file.filename,
            file.size_bytes,
            size_exact=True,
            sha256=file.sha256,
            sha256_verified=False,
            source=source,
        )
        for file in choose_side_files(variant.filename, repo.files)
        if "mmproj" in file.filename.lower() and file.size_bytes
    )


def _license(repo: "RepoFiles") -> str:
    name = _tag(repo, "license:")
    if not name:
        return _UNKNOWN_LICENSE
    return _SPDX.get(name.lower()) or f"LicenseRef-{_OTHER.sub('-', name)}"


def _base_repo(repo: "RepoFiles") -> str | None:
    for prefix in ("base_model:quantized:", "base_model:"):
        base = _tag(repo, prefix)
        if is_repo_id(base):
            return base
    return None


def _tag(repo: "RepoFiles", prefix: str) -> str:
    return next((t.removeprefix(prefix) for t in repo.tags if t.startswith(prefix)), "")


def _uses(
    repo: "RepoFiles", metadata: "GGUFMetadata", mmproj: Sequence[SideFile]
) -> tuple[UseCase, ...]:
    if metadata.embeds or _EMBEDDING_TAGS & set(repo.tags):
        return ("embedding",)
    uses: list[UseCase] = ["chat"]
    if _CODE.search(repo.repo_id):
        uses.append("code")
    return (*uses, "vision") if mmproj else tuple(uses)
