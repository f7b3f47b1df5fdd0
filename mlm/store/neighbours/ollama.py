"""Ollama's store: ``manifests/<host>/<namespace>/<name>/<tag>`` name blobs ``sha256-<hex>``."""

import re
from pathlib import Path
from typing import Any

from mlm.store.names import is_quant, is_repo_id, is_sha256
from mlm.store.neighbours.look import Look, describe_found

_MODEL = "application/vnd.ollama.image.model"
_HOME_HOST, _HOME_NAMESPACE = "registry.ollama.ai", "library"
_HUB_HOSTS = ("hf.co", "huggingface.co")
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,80}")


def look_at_ollama(look: Look) -> None:
    """Note the model of every manifest; an adapter or a projector is no model."""
    manifests = look.root / "manifests"
    paths = sorted(look.walk(manifests), key=lambda path: (path.name == "latest", path))
    for path in paths:
        parts = path.relative_to(manifests).parts
        if len(parts) != 4 or not all(_PART.fullmatch(part) for part in parts):
            look.skip(path, "not where Ollama keeps manifests")
        elif path.is_symlink():
            look.skip(path, "a link instead of a manifest")
        elif (document := look.read_json(path)) is not None:
            _take(look, path, parts, document)


def _take(look: Look, path: Path, parts: tuple[str, ...], document: Any) -> None:
    digests = _model_digests(document)
    if len(digests) != 1:
        why = "it has no model" if not digests else "its model is in several files"
        look.skip(path, f"{why} that mlm could run")
        return
    (sha256,) = digests
    content = look.model_at(look.root / "blobs" / f"sha256-{sha256}")
    if content is None:
        return
    host, namespace, name, tag = parts
    repo_id, quant = f"{namespace}/{name}", tag if is_quant(tag) and tag != "latest" else None
    if host in _HUB_HOSTS and is_repo_id(repo_id):
        filename = f"{name}-{tag}.gguf"
        look.note(
            describe_found(content, filename, repo_id=repo_id, quant=quant, sha256=sha256), content
        )
        return
    words = [name, tag] if namespace == _HOME_NAMESPACE else [namespace, name, tag]
    if host != _HOME_HOST:
        words = [host, *words]
    filename = f"ollama-{'-'.join(words)}.gguf"
    look.note(describe_found(content, filename, sha256=sha256), content)


def _model_digests(document: Any) -> set[str]:
    """Return the sha256 of the models in a manifest; whatever is not as it should be is none."""
    layers = document.get("layers") if isinstance(document, dict) else None
    found = set()
    for layer in layers if isinstance(layers, list) else []:
        if isinstance(layer, dict) and layer.get("mediaType") == _MODEL:
            digest = str(layer.get("digest")).removeprefix("sha256:")
            if is_sha256(digest):
                found.add(digest)
    return found
