"""Reads and writes ``mlm.lock``: one fact a line, models by name, nothing of when or where."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlm.errors import UsageError
from mlm.manifest.document import ManifestError, read_document, write_text
from mlm.manifest.engine import PACKAGE, read_pinned
from mlm.manifest.types import Lock, LockedModel
from mlm.store.names import is_filename, is_repo_id, is_revision
from mlm.store.ref import HubRef, LocalRef, parse_ref
from mlm.store.types import RemoteFile
from mlm.strictyaml import Document, KeyPath

VERSION = 1
_HEADER = """\
# What mlm.yaml came to: written by `mlm lock`, to be kept beside it (and in git).
# `mlm sync --frozen` gives the same bytes on every machine. Edit mlm.yaml instead.
"""


def lock_path(manifest: Path) -> Path:
    """Return where the lock of a manifest is: beside it, ``mlm.lock`` for ``mlm.yaml``.

    Raises:
        UsageError: the manifest has no name.
    """
    if not manifest.name:
        raise UsageError(f"{manifest} is a folder", remedy="--file mlm.yaml")
    return manifest.with_suffix(".lock")


def read_lock(path: Path) -> Lock | None:
    """Return the lock in the file ``path``, None if there is no such file.

    Raises:
        ManifestError, YamlError: it is not what `mlm lock` writes.
    """
    if not path.exists():
        return None
    try:
        document = read_document(path, "lock")
        return _read(document)
    except UsageError as error:
        error.remedy = f"undo what was changed in it, or: rm {path}, then mlm lock"
        raise


def _read(document: Document) -> Lock:
    value: dict[str, Any] = document.value
    if value["version"] != VERSION:
        where = document.where(("version",))
        raise ManifestError(f"{where}: version {value['version']} is not one that this mlm reads")
    engine = None
    if "engine" in value:
        try:
            engine = read_pinned(value["engine"])
        except ValueError as error:
            raise ManifestError(f"{document.where(('engine',))}: {error}") from error
    models = tuple(_read_model(document, n) for n in range(len(value["models"])))
    seen: set[str] = set()
    for n, model in enumerate(models):
        if model.name in seen:
            raise ManifestError(f"{document.where(('models', n))}: {model.name} is here twice")
        seen.add(model.name)
    return Lock(models, engine)


def _read_model(document: Document, n: int) -> LockedModel:
    path: KeyPath = ("models", n)
    item: dict[str, Any] = document.value["models"][n]

    def refuse(key: str, why: str) -> ManifestError:
        return ManifestError(f"{document.where((*path, key))}: {key} {why}")

    ref = parse_ref(item["model"])
    if isinstance(ref, LocalRef):
        raise refuse("model", "is a local file")
    if not is_repo_id(item["repo_id"]):
        raise refuse("repo_id", f"'{item['repo_id']}' is not a repository")
    if isinstance(ref, HubRef) and ref.repo_id != item["repo_id"]:
        raise refuse("repo_id", f"'{item['repo_id']}' is not the repository of {ref}")
    if "revision" in item and not is_revision(item["revision"]):
        raise refuse("revision", f"'{item['revision']}' is not a branch, tag or commit")
    files = _read_files(document, (*path, "files"), item["files"])
    if isinstance(ref, HubRef) and ref.filename not in (None, *(f.filename for f in files)):
        raise refuse("files", f"lack {ref.filename}")
    return LockedModel(
        ref,
        item.get("revision"),
        item["repo_id"],
        item["commit"],
        item.get("quant"),
        item["config_sha256"],
        files,
    )


def _read_files(
    document: Document, path: KeyPath, items: list[dict[str, Any]]
) -> tuple[RemoteFile, ...]:
    names: set[str] = set()
    for n, item in enumerate(items):
        name = item["filename"]
        if not is_filename(name) or not name.lower().endswith(".gguf"):
            where = document.where((*path, n, "filename"))
            raise ManifestError(f"{where}: '{name}' cannot be the name of a GGUF file")
        if name.casefold() in names:
            raise ManifestError(f"{document.where((*path, n))}: {name} is here twice")
        names.add(name.casefold())
    return tuple(RemoteFile(item["filename"], item["size_bytes"], item["sha256"]) for item in items)


def format_lock(lock: Lock) -> str:
    """Return the text of a lock file."""
    lines = [f"version: {VERSION}"]
    if lock.engine:
        lines.append(f"engine: {_quote(f'{PACKAGE}=={lock.engine}')}")
    lines.append("models:")
    for model in sorted(lock.models, key=lambda model: model.name):
        lines += _format_model(model)
    return _HEADER + "\n".join(lines) + "\n"


def _format_model(model: LockedModel) -> Iterator[str]:
    yield f"  - model: {_quote(model.name)}"
    if model.revision is not None:
        yield f"    revision: {_quote(model.revision)}"
    yield f"    repo_id: {_quote(model.repo_id)}"
    yield f"    commit: {_quote(model.commit)}"
    if model.quant is not None:
        yield f"    quant: {_quote(model.quant)}"
    yield f"    config_sha256: {_quote(model.config_sha256)}"
    yield "    files:"
    for file in model.files:
        yield f"      - filename: {_quote(file.filename)}"
        yield f"        size_bytes: {file.size_bytes}"
        yield f"        sha256: {_quote(str(file.sha256))}"


def write_lock(path: Path, lock: Lock) -> bool:
    """Write the lock unless the file says just that already; return whether it was written.

    Raises:
        UsageError: it cannot be written.
    """
    text = format_lock(lock)
    if path.is_file() and path.read_bytes() == text.encode():
        return False
    write_text(path, text)
    return True


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
