"""The stores of other tools, as they lie on the disk."""

import hashlib
import json
from pathlib import Path
from typing import Any

MODEL_LAYER = "application/vnd.ollama.image.model"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def put(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def ollama(root: Path, name: str, content: bytes, claim: str | None = None) -> Path:
    """Put a model into Ollama's store as ``host/namespace/name/tag``; return its blob."""
    claim = claim or digest(content)
    layers = [
        {"mediaType": "application/vnd.ollama.image.license", "digest": f"sha256:{'0' * 64}"},
        {"mediaType": MODEL_LAYER, "digest": f"sha256:{claim}", "size": len(content)},
    ]
    manifest(root, name, {"schemaVersion": 2, "layers": layers})
    return put(root / "blobs" / f"sha256-{claim}", content)


def manifest(root: Path, name: str, document: Any) -> Path:
    text = document if isinstance(document, bytes) else json.dumps(document).encode()
    return put(root / "manifests" / name, text)


def lm_studio(root: Path, name: str, content: bytes) -> Path:
    """Put ``publisher/repository/file.gguf`` into LM Studio's store."""
    return put(root / name, content)


def llama_cpp(root: Path, repo_id: str, filename: str, content: bytes) -> Path:
    """Put a file into llama.cpp's cache, with the manifest that it keeps."""
    user, repo = repo_id.split("/")
    lfs = {"sha256": digest(content), "size": len(content)}
    document = {"ggufFile": {"rfilename": filename, "size": len(content), "lfs": lfs}}
    put(root / f"manifest={user}={repo}=latest.json", json.dumps(document).encode())
    return put(root / f"{user}_{repo}_{filename.replace('/', '_')}", content)
