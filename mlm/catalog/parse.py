"""From the validated content of a catalog file to entries."""

from collections.abc import Mapping, Sequence
from dataclasses import astuple
from typing import Any

from mlm.catalog.types import Architecture, CatalogEntry, Quant, Score, Shard, SideFile


def parse_family(value: Mapping[str, Any]) -> list[CatalogEntry]:
    """Return the entries of one catalog file that `mlm.catalog.validate` has found in order."""
    return [_entry(value["family"], model, value["sources"]) for model in value["models"]]


def _entry(family: str, model: Mapping[str, Any], sources: Mapping[str, str]) -> CatalogEntry:
    return CatalogEntry(
        model_id=model["model_id"],
        family=family,
        name=model["name"],
        base_repo=model.get("base_repo"),
        params=model["params"],
        params_active=model.get("params_active", model["params"]),
        architecture=_architecture(model["architecture"]),
        license=model["license"],
        gated=model.get("gated"),
        released=model.get("released"),
        use_cases=tuple(model["use_cases"]),
        scores=tuple(_score(score, sources) for score in model.get("scores", ())),
        quants=tuple(
            sorted(
                (_quant(quant, sources) for quant in model["quants"]),
                key=lambda quant: (quant.size_bytes, quant.quant),
            )
        ),
        source=sources[model["source"]],
        bundled=model.get("bundled", False),
        aliases=tuple(model.get("aliases", ())),
        quality=dict(model.get("quality", {})),
        mmproj=tuple(SideFile(**_file(file, sources)) for file in model.get("mmproj", ())),
        min_dimensions=model.get("min_dimensions"),
    )


def _architecture(shape: Mapping[str, Any]) -> Architecture:
    return Architecture(**{"n_ff": None, **shape})


def _score(score: Mapping[str, Any], sources: Mapping[str, str]) -> Score:
    return Score(
        benchmark=score["benchmark"],
        value=float(score["value"]),
        unit=score["unit"],
        source=sources[score["source"]],
    )


def _quant(quant: Mapping[str, Any], sources: Mapping[str, str]) -> Quant:
    return Quant(
        quant=quant["quant"],
        n_files=quant.get("n_files", 1),
        shards=tuple(Shard(**{**_UNKNOWN, **shard}) for shard in quant.get("shards", ())),
        **_file(quant, sources),
    )


_UNKNOWN = {"size_bytes": None, "sha256": None}


def _file(file: Mapping[str, Any], sources: Mapping[str, str]) -> dict[str, Any]:
    """Return what the catalog says of any file on the hub."""
    return {
        "repo_id": file["repo_id"],
        "revision": file.get("revision", "main"),
        "filename": file["filename"],
        "size_bytes": file["size_bytes"],
        "size_exact": file.get("size_exact", True),
        "sha256": file.get("sha256"),
        "sha256_verified": file.get("sha256_verified", False),
        "source": sources[file["source"]],
    }


def pack(entry: CatalogEntry) -> tuple[Any, ...]:
    """Return ``entry`` as JSON can hold it; `unpack` makes it whole again, in half the time."""
    return astuple(entry)


def unpack(row: Sequence[Any]) -> CatalogEntry:
    """Return the entry that `pack` has packed."""
    uses, scores, quants, source, bundled, aliases, quality, mmproj, min_dimensions = row[10:]
    values = [
        *row[:6],
        Architecture(*row[6]),
        *row[7:10],
        tuple(uses),
        tuple([Score(*score) for score in scores]),
        tuple([_unpack_quant(quant) for quant in quants]),
        source,
        bundled,
        tuple(aliases),
        quality,
        tuple([SideFile(*side) for side in mmproj]),
        min_dimensions,
    ]
    return CatalogEntry(*values)


def _unpack_quant(row: Sequence[Any]) -> Quant:
    shards = tuple([Shard(*shard) for shard in row[-1]])
    return Quant(*[*row[:-1], shards])
