"""llama.cpp's cache: ``<user>_<repository>_<file>.gguf``, and manifests that say what is what."""

from pathlib import Path
from typing import Any

from mlm.store.names import is_filename, is_repo_id, is_sha256
from mlm.store.neighbours.look import Look, describe_found

_MANIFEST = "manifest="  # manifest=<user>=<repository>=<tag>.json
_FILES = ("ggufFile", "mmprojFile")  # its fields that describe a file


def look_at_llama_cpp(look: Look) -> None:
    """Note every GGUF file, with its repository where a manifest names it."""
    paths = sorted(path for path in look.walk(look.root) if path.parent == look.root)
    known: dict[str, tuple[str, str, str | None]] = {}
    for path in paths:
        if path.name.startswith(_MANIFEST) and path.suffix == ".json":
            known |= _read_manifest(look, path)
    for path in paths:
        if path.suffix.lower() != ".gguf" or (content := look.model_at(path)) is None:
            continue
        if path.name in known:
            repo_id, filename, sha256 = known[path.name]
            found = describe_found(content, filename, repo_id=repo_id, sha256=sha256)
        else:
            found = describe_found(content, path.name)
        look.note(found, content)


def _read_manifest(look: Look, path: Path) -> dict[str, tuple[str, str, str | None]]:
    """Return what a manifest says of files: the cache's name -> repository, name there, sha256."""
    document = look.read_json(path)
    words = path.stem.removeprefix(_MANIFEST).split("=")
    repo_id = "/".join(words[:2])
    if not isinstance(document, dict) or len(words) < 2 or not is_repo_id(repo_id):
        return {}
    found = {}
    for field in _FILES:
        file: Any = document.get(field)
        filename = file.get("rfilename") if isinstance(file, dict) else None
        if is_filename(filename):
            name = f"{repo_id}/{filename}".replace("/", "_")
            lfs = file.get("lfs")
            sha256 = lfs.get("sha256") if isinstance(lfs, dict) else None
            found[name] = (repo_id, str(filename), sha256 if is_sha256(sha256) else None)
    return found
