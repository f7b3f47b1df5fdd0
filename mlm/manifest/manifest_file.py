"""Reads ``mlm.yaml``; every error names the line and column of what cannot be meant."""

import functools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from mlm.errors import NotFoundError, UsageError
from mlm.manifest.document import (
    ManifestError,
    read_document,
    refuse_control_characters,
    write_text,
)
from mlm.manifest.engine import read_requirement
from mlm.manifest.types import Demands, Manifest, Smoke, WantedModel
from mlm.planning.config_file import config_path
from mlm.planning.overrides import Overrides
from mlm.planning.runtime import check_overrides
from mlm.store.names import is_revision
from mlm.store.ref import LocalRef, parse_ref
from mlm.strictyaml import Document, KeyPath
from mlm.units import parse_size

MAX_MODELS = 1000
_MAX_GPU_LAYERS = 513
_T = TypeVar("_T")


class ManifestMissing(NotFoundError):
    """There is no manifest yet."""

    code = "no_manifest"

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"there is no {path}, which says what a machine should have",
            remedy="mlm lock --init writes one of the models installed here; the shortest one is:"
            f" printf 'models:\\n  - model: qwen3-8b:Q4_K_M\\n' > {path}",
        )


def read_manifest(path: Path) -> Manifest:
    """Return the manifest in the file ``path``.

    Raises:
        ManifestMissing: there is no such file.
        ManifestError, YamlError: it cannot be meant.
        NotFoundError: it cannot be read.
    """
    if path.suffix == ".lock":
        raise ManifestError(
            f"{path} would be a lock; name the manifest beside it",
            remedy=f"--file {path.with_suffix('.yaml')}",
        )
    if not path.exists():
        raise ManifestMissing(path)
    document = read_document(path, "manifest")
    value: dict[str, Any] = document.value
    if len(value["models"]) > MAX_MODELS:
        where = document.where(("models", MAX_MODELS))
        raise ManifestError(f"{where}: more than {MAX_MODELS} models")
    models = tuple(_read_model(document, n) for n in range(len(value["models"])))
    _refuse_twins(models)
    engine = None
    if "engine" in value:
        engine = _at(document, ("engine",), lambda: read_requirement(value["engine"])) or None
    return Manifest(path, models, engine, _read_demands(document, value.get("hardware", {})))


def _read_model(document: Document, n: int) -> WantedModel:
    path: KeyPath = ("models", n)
    item: dict[str, Any] = document.value["models"][n]
    at = (*path, "model")
    ref = _at(document, at, lambda: parse_ref(item["model"]))
    if isinstance(ref, LocalRef):
        raise ManifestError(
            f"{document.where(at)}: {item['model']} is a file of this machine;"
            " other machines could not fetch it",
            remedy=f"put it into a repository of a hub, or by hand: mlm import {ref.path}",
        )
    revision = item.get("revision")
    if revision is not None and not is_revision(revision):
        where = document.where((*path, "revision"))
        raise ManifestError(f"{where}: '{revision}' is not a branch, tag or commit")
    overrides = _read_overrides(document, (*path, "config"), item.get("config", {}))
    smoke = _read_smoke(document, (*path, "smoke"), item.get("smoke", {}))
    return WantedModel(ref, document.where(path), revision, overrides, smoke)


def _read_overrides(document: Document, path: KeyPath, item: dict[str, Any]) -> Overrides:
    layers = item.get("n_gpu_layers")
    if layers is not None and layers != "all":
        is_count = isinstance(layers, int) and not isinstance(layers, bool)
        if not is_count or not 0 <= layers <= _MAX_GPU_LAYERS:
            where = document.where((*path, "n_gpu_layers"))
            raise ManifestError(f"{where}: n_gpu_layers is neither a number of layers nor 'all'")
    overrides = Overrides(**item)
    _at(document, path, functools.partial(check_overrides, overrides))
    return overrides


def _read_smoke(document: Document, path: KeyPath, item: dict[str, Any]) -> Smoke:
    for key in ("prompt", "expect"):
        refuse_control_characters(document, (*path, key), item.get(key, ""))
    return Smoke(**item)


def _read_demands(document: Document, item: dict[str, Any]) -> Demands:
    memory = None
    if "memory" in item:
        memory = _at(document, ("hardware", "memory"), lambda: parse_size(item["memory"]))
    return Demands(memory, item.get("accelerator"))


def _refuse_twins(models: tuple[WantedModel, ...]) -> None:
    """Raise if two models have the same name, or would share a config file."""
    seen: dict[str, WantedModel] = {}
    for model in models:
        place = config_path(Path(), model.name).name.casefold()
        if place in seen:
            raise ManifestError(
                f"{model.where}: {model.name} is here twice; see {seen[place].where}"
            )
        seen[place] = model


def _at(document: Document, path: KeyPath, read: Callable[[], _T]) -> _T:
    """Return ``read()``; what it refuses is an error at that place of the document."""
    try:
        return read()
    except UsageError as error:
        where = document.where(path)
        raise ManifestError(f"{where}: {error.message}", remedy=error.remedy) from error
    except ValueError as error:
        raise ManifestError(f"{document.where(path)}: {error}") from error


def write_manifest(path: Path, names: Sequence[str]) -> None:
    """Write a manifest that wants the models called ``names`` and leaves everything else open.

    Raises:
        UsageError: it cannot be written.
    """
    lines = [
        "# What this machine should have: `mlm sync` makes it so, `mlm outdated` looks for news."
    ]
    lines += ["models:", *(f"  - model: {json.dumps(name)}" for name in names)]
    write_text(path, "\n".join(lines) + "\n")
