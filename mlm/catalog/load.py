"""Loads the catalog: the shipped files with the user's own layered over them."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import mlm
from mlm.catalog.files import catalog_files, shipped_dir
from mlm.catalog.lookup import Catalog
from mlm.catalog.parse import pack, parse_family, unpack
from mlm.catalog.types import CatalogEntry
from mlm.errors import UsageError
from mlm.paths import keep_text

_CACHE_NAME = "catalog.json"


class CatalogError(UsageError):
    """A catalog file is not in order."""

    code = "bad_catalog"


def load_catalog(user_dir: Path, cache_dir: Path) -> Catalog:
    """Return the shipped catalog with the files in ``user_dir`` layered over it.

    A user's model replaces the shipped one of the same ``model_id``. The parsed form is kept in
    ``cache_dir`` until a file changes: reading YAML takes a hundred times as long.

    Raises:
        CatalogError: a file is not in order; the message says where and what.
    """
    layers = [catalog_files(shipped_dir()), catalog_files(user_dir)]
    cache_path = cache_dir / _CACHE_NAME
    key = _cache_key(layers)
    cached = _read_cache(cache_path, key)
    if cached is not None:
        return Catalog(cached)
    entries = _merge(*(_parse_layer(map(_read_family, layer)) for layer in layers))
    document = {"key": key, "entries": [pack(entry) for entry in entries]}
    keep_text(cache_path, json.dumps(document, separators=(",", ":")))
    return Catalog(entries)


def find_own(user_dir: Path) -> dict[str, Path]:
    """Return the models of the user's own layer, and the file that each is in.

    Raises:
        CatalogError: as `load_catalog`.
    """
    return {
        model["model_id"]: path
        for path in catalog_files(user_dir)
        for model in _read_family(path)["models"]
    }


def mentions_repo(user_dir: Path, repo_id: str) -> bool:
    """Whether a catalog file may speak of the repository: cheap, and never wrongly False."""
    files = [*catalog_files(shipped_dir()), *catalog_files(user_dir)]
    texts = (path.read_bytes() for path in files)
    return any(repo_id.encode() in text or b"\\" in text for text in texts)


def _read_family(path: Path) -> dict[str, Any]:
    from mlm import strictyaml  # PyYAML and the validator are needed only without a cache
    from mlm.catalog.validate import check_document

    try:
        document = strictyaml.read(path)
    except strictyaml.YamlError as error:
        raise CatalogError(error.message, remedy=f"mlm catalog validate {path}") from error
    if problems := check_document(document):
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise CatalogError(f"{problems[0]}{more}", remedy=f"mlm catalog validate {path}")
    assert isinstance(document.value, dict)
    return document.value


def _merge(
    shipped: Iterable[CatalogEntry], own: Sequence[CatalogEntry]
) -> tuple[CatalogEntry, ...]:
    replaced = {entry.model_id for entry in own}
    kept = [entry for entry in shipped if entry.model_id not in replaced]
    return tuple(sorted([*kept, *own], key=lambda entry: (entry.family, entry.params)))


def _parse_layer(families: Iterable[dict[str, Any]]) -> list[CatalogEntry]:
    entries: dict[str, CatalogEntry] = {}
    for entry in (entry for family in families for entry in parse_family(family)):
        if other := entries.get(entry.model_id):
            raise CatalogError(
                f"two catalog files describe {entry.model_id}: {other.family} and {entry.family}",
                remedy="give one of them another model_id",
            )
        entries[entry.model_id] = entry
    return list(entries.values())


def _cache_key(layers: list[list[Path]]) -> list[Any]:
    """Return what the parsed form depends on: the files as they are now, and mlm itself."""
    return [mlm.__version__, [[_state(path) for path in layer] for layer in layers]]


def _state(path: Path) -> list[Any]:
    try:
        status = path.stat()
    except OSError:
        return [str(path)]  # a link that leads nowhere: reading it will say so
    return [str(path), status.st_size, status.st_mtime_ns]


def _read_cache(path: Path, key: list[Any]) -> tuple[CatalogEntry, ...] | None:
    try:
        cached = json.loads(path.read_bytes())
        if cached["key"] != key:
            return None
        return tuple([unpack(row) for row in cached["entries"]])
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError):
        return None  # no cache, or not one of ours: the files themselves are the truth
