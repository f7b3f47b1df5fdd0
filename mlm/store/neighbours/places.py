"""Where the neighbours keep their models, unless told otherwise."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from mlm.store.neighbours.hugging_face import look_at_hugging_face
from mlm.store.neighbours.llama_cpp import look_at_llama_cpp
from mlm.store.neighbours.lm_studio import look_at_lm_studio
from mlm.store.neighbours.look import Look
from mlm.store.neighbours.ollama import look_at_ollama
from mlm.store.neighbours.types import Findings, Neighbour


def usual_places(environ: Mapping[str, str], hub_cache: Path) -> dict[Neighbour, list[Path]]:
    """Return the folders in which each neighbour keeps its models by its own documentation."""
    home = Path("~").expanduser()
    cache = Path(environ.get("XDG_CACHE_HOME") or home / ".cache")

    def named(variable: str) -> list[Path]:
        return [Path(environ[variable]).expanduser()] if environ.get(variable) else []

    return {
        "ollama": [
            *named("OLLAMA_MODELS"),
            home / ".ollama" / "models",
            Path("/usr/share/ollama/.ollama/models"),
            Path("/var/lib/ollama/models"),
        ],
        "lmstudio": [home / ".lmstudio" / "models", home / ".cache" / "lm-studio" / "models"],
        "llama.cpp": [
            *named("LLAMA_CACHE"),
            cache / "llama.cpp",
            home / "Library" / "Caches" / "llama.cpp",
        ],
        "hf": [hub_cache, cache / "huggingface" / "hub"],
    }


def guess_neighbour(folder: Path) -> Neighbour:
    """Return whose store a folder looks like."""
    if (folder / "manifests").is_dir() and (folder / "blobs").is_dir():
        return "ollama"
    names = [path.name for path in _listing(folder)]
    if any(name.startswith("models--") for name in names):
        return "hf"
    return "llama.cpp" if any(name.startswith("manifest=") for name in names) else "lmstudio"


def look_into(places: Mapping[Neighbour, Iterable[Path]], hub_cache: Path) -> Findings:
    """Return what is in all of ``places``; each folder is looked into once, absent ones not."""
    findings = Findings()
    for neighbour, folders in places.items():
        for root in dict.fromkeys(os.path.realpath(folder) for folder in folders):
            look = Look(neighbour, Path(root), findings)
            try:
                os.lstat(root)
                _look_as(neighbour, look, hub_cache)
            except FileNotFoundError:
                continue  # the tool is not here, or has just deleted it
            except OSError as error:
                look.skip(look.root, f"it cannot be read: {error.strerror or error}".lower())
    return findings


def _look_as(neighbour: Neighbour, look: Look, hub_cache: Path) -> None:
    if neighbour == "hf":
        look_at_hugging_face(look, hub_cache)
    elif neighbour == "ollama":
        look_at_ollama(look)
    elif neighbour == "llama.cpp":
        look_at_llama_cpp(look)
    else:
        look_at_lm_studio(look)


def _listing(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []
