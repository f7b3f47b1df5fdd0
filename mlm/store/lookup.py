"""Finds the models that a person means among those in the store."""

import os
from collections.abc import Collection, Iterable
from dataclasses import replace
from difflib import get_close_matches

from mlm.errors import NotFoundError
from mlm.store.names import is_sha256
from mlm.store.ref import HubRef, LocalRef, NameRef, parse_ref
from mlm.store.types import ModelFile

_SHORTEST_SHA = 8  # digits of a checksum that are enough to name a file by


def match_models(text: str, models: Iterable[ModelFile]) -> list[ModelFile]:
    """Return the models that ``text`` names, the last used or verified first.

    It may be any REF, a model id, or the first digits of a sha256.

    Raises:
        UsageError: it cannot be the name of a model.
    """
    ref = parse_ref(text)
    if isinstance(ref, LocalRef):
        path = os.path.realpath(ref.path)  # unlike Path.resolve, it takes a loop of links as it is
        found = [model for model in models if os.path.realpath(model.path) == path]
    elif isinstance(ref, HubRef):
        found = [replace(model, model_id=str(ref)) for model in models if meets(model, ref)]
    else:
        found = _match_name(ref, list(models))
    return sorted(found, key=_freshness, reverse=True)


def unknown_model(
    text: str, installed: Iterable[ModelFile], catalog_ids: Collection[str]
) -> NotFoundError:
    """Return the error for a name that no model in the store has, offering the nearest ones."""
    ref = parse_ref(text)
    if isinstance(ref, LocalRef):
        if ref.path.is_file():
            return NotFoundError(f"{ref.path} was never imported", remedy=f"mlm import {ref.path}")
        what = "a folder, not a model" if ref.path.is_dir() else "not there"
        return NotFoundError(f"{ref.path} is {what}", remedy=f"look: ls {ref.path.parent}")
    names = {name for m in installed for name in (m.model, m.model_id, m.ref) if name}
    near = get_close_matches(text, sorted(names | set(catalog_ids)), n=3, cutoff=0.5)
    if isinstance(ref, HubRef) or ref.name in catalog_ids:
        near = [name for name in near if name in names]  # what is here instead
        remedy = f"mlm download {text}"
    else:
        remedy = f"mlm catalog show {near[0]}" if near else "mlm list, or mlm catalog list"
    offer = f"; near it: {', '.join(near)}" if near else ""
    return NotFoundError(f"{text} is not in the store{offer}", remedy=remedy)


def _match_name(ref: NameRef, models: list[ModelFile]) -> list[ModelFile]:
    wanted = ref.name.casefold()
    named = [
        replace(m, model_id=str(ref)) for m in models if m.model and m.model.casefold() == wanted
    ]
    if ref.quant:
        return [m for m in named if (m.quant or "").casefold() == ref.quant.casefold()]
    if named:
        return named
    by_id = [model for model in models if model.model_id.casefold() == wanted]
    if by_id:
        return by_id
    if len(wanted) >= _SHORTEST_SHA and is_sha256(wanted.ljust(64, "0")):
        return [model for model in models if (model.sha256 or "").startswith(wanted)]
    return []


def meets(model: ModelFile, ref: HubRef) -> bool:
    """Whether ``model`` is what ``ref`` names."""
    if (model.repo_id or "").casefold() != ref.repo_id.casefold():
        return False
    if ref.filename is not None:
        return model.filename == ref.filename
    return ref.quant is None or (model.quant or "").casefold() == ref.quant.casefold()


def _freshness(model: ModelFile) -> tuple[float, float]:
    return model.last_used_at or 0, model.verified_at or 0
