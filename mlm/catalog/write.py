"""Writes catalog files: an entry as the YAML that `mlm.catalog.load` reads.

A file that mlm wrote begins with a mark; only such a file is ever written again. What people wrote
by hand, with their comments, is theirs.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mlm import strictyaml
from mlm.catalog.types import CatalogEntry, Quant, Score, Shard, SideFile
from mlm.catalog.validate import check_document
from mlm.errors import UsageError
from mlm.paths import replace_text

_MARK = "# Written by mlm; edit a copy under another name, for mlm may write this again.\n"
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9._/()+-]*(?: [A-Za-z0-9._/()+-]+)*")
_WORDS = {"null", "true", "false", "yes", "no", "on", "off"}  # some mean something to other readers
_ON_ONE_LINE = ("scores", "shards")  # lists of which each item is one line


def own_path(folder: Path, model_id: str) -> Path:
    """Return the file that mlm writes for a model of the user's layer."""
    return folder / f"{model_id}.yaml"


def is_written_by_us(path: Path) -> bool:
    """Whether mlm wrote the file, and may write it again."""
    try:
        with path.open("rb") as file:
            return file.read(len(_MARK)) == _MARK.encode()
    except OSError:
        return False


def write_entry(folder: Path, entry: CatalogEntry) -> Path:
    """Write ``entry`` to the user's layer, whole or not at all, and return its file.

    Raises:
        UsageError: it would not be a valid entry, or cannot be written.
    """
    path = own_path(folder, entry.model_id)
    text = _MARK + to_yaml(entry_document(entry))
    if problems := check_document(strictyaml.parse(text, source=str(path))):
        raise UsageError(f"{entry.model_id} cannot be an entry of the catalog: {problems[0]}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_text(path, text)
    except OSError as error:
        raise UsageError(
            f"cannot write {path}: {error.strerror}", remedy="mlm --home DIR, where it can be"
        ) from error
    return path


def entry_document(entry: CatalogEntry) -> dict[str, Any]:
    """Return a catalog file with ``entry`` alone."""
    sources = _Sources()
    shape = {name: value for name, value in asdict(entry.architecture).items() if value is not None}
    model: dict[str, Any] = {"model_id": entry.model_id}
    _put(model, "aliases", list(entry.aliases))
    model["name"] = entry.name
    _put(model, "base_repo", entry.base_repo)
    model["params"] = entry.params
    if entry.params_active != entry.params:
        model["params_active"] = entry.params_active
    model |= {"architecture": shape, "license": entry.license}
    if entry.gated is not None:
        model["gated"] = entry.gated
    _put(model, "released", entry.released)
    model |= {"use_cases": list(entry.use_cases), "source": sources.key(entry.source)}
    _put(model, "scores", [_score(score, sources) for score in entry.scores])
    _put(model, "quality", dict(entry.quality))
    _put(model, "mmproj", [_file(side, sources) for side in entry.mmproj])
    _put(model, "min_dimensions", entry.min_dimensions)
    _put(model, "bundled", entry.bundled)
    model["quants"] = [_quant(quant, sources) for quant in entry.quants]
    return {"family": entry.family, "sources": sources.texts, "models": [model]}


class _Sources:
    """Gives each text a key."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def key(self, text: str) -> str:
        for key, known in self.texts.items():
            if known == text:
                return key
        key = f"s{len(self.texts) + 1}"
        self.texts[key] = text
        return key


def _put(model: dict[str, Any], name: str, value: Any) -> None:
    """Set a field that is left out when there is nothing to say."""
    if value:
        model[name] = value


def _score(score: Score, sources: _Sources) -> dict[str, Any]:
    return {**asdict(score), "source": sources.key(score.source)}


def _quant(quant: Quant, sources: _Sources) -> dict[str, Any]:
    document = {"quant": quant.quant, **_file(quant, sources)}
    if quant.n_files > 1:
        document["n_files"] = quant.n_files
    _put(document, "shards", [_shard(shard) for shard in quant.shards])
    return document


def _shard(shard: Shard) -> dict[str, Any]:
    return {name: value for name, value in asdict(shard).items() if value is not None}


def _file(file: Quant | SideFile, sources: _Sources) -> dict[str, Any]:
    document: dict[str, Any] = {"repo_id": file.repo_id}
    if file.revision != "main":
        document["revision"] = file.revision
    document |= {"filename": file.filename, "size_bytes": file.size_bytes}
    if not file.size_exact:
        document["size_exact"] = False
    _put(document, "sha256", file.sha256)
    _put(document, "sha256_verified", file.sha256_verified)
    document["source"] = sources.key(file.source)
    return document


def to_yaml(document: Mapping[str, Any]) -> str:
    """Return ``document`` as text, in the order of its keys."""
    return "".join(f"{line}\n" for line in _lines(document, ""))


def _lines(mapping: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key, value in mapping.items():
        if isinstance(value, Mapping) and key != "quality":
            yield f"{indent}{key}:"
            yield from _lines(value, f"{indent}  ")
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            yield f"{indent}{key}:"
            for item in value:
                yield from _item(item, f"{indent}  ", on_one_line=key in _ON_ONE_LINE)
        else:
            yield f"{indent}{key}: {_flow(value)}"


def _item(item: Mapping[str, Any], indent: str, *, on_one_line: bool) -> Iterator[str]:
    if on_one_line:
        yield f"{indent}- {_flow(item)}"
        return
    first, *rest = _lines(item, f"{indent}  ")
    yield f"{indent}- {first.lstrip()}"
    yield from rest


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)
