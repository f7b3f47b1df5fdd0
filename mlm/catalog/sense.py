"""What is wrong with a catalog file that a schema cannot say."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from mlm.catalog.parse import parse_family
from mlm.catalog.quality import compute_quality
from mlm.catalog.schema import Violation
from mlm.catalog.types import CatalogEntry, Quant
from mlm.strictyaml import KeyPath

# A file holds between about 1.5 (IQ1_S) and 32 (F32) bits per weight, plus tables and padding.
# Counts of shared embeddings differ by up to a third, so this catches a slip of ten, not a detail.
MIN_BITS_PER_WEIGHT, MAX_BITS_PER_WEIGHT = 1.0, 48.0

DoubtSize = Callable[[CatalogEntry, Quant], str | None]

_SHARD = re.compile(r"-00001-of-(\d{5})\.gguf$")


def find_nonsense(value: dict[str, Any]) -> Iterator[Violation]:
    """Find what contradicts itself in a document of the right shape."""
    seen: dict[str, int] = {}
    for n, model in enumerate(value["models"]):
        path: KeyPath = ("models", n)
        for name in (model["model_id"], *model.get("aliases", ())):
            if name in seen:
                yield Violation(path, f"the name '{name}' is taken by another model of this file")
            seen[name] = n
        yield from _check_model(model, path)
        yield from _check_quants(model, path)
    yield from _check_sources(value)


def _check_model(model: dict[str, Any], path: KeyPath) -> Iterator[Violation]:
    shape, at = model["architecture"], (*path, "architecture")
    if model.get("params_active", 0) > model["params"]:
        yield Violation((*path, "params_active"), "more than params")
    if shape["n_head"] % shape["n_head_kv"]:
        yield Violation((*at, "n_head_kv"), "does not divide n_head")
    if ("n_expert" in shape) != ("n_expert_used" in shape):
        yield Violation(at, "n_expert and n_expert_used belong together")
    if shape.get("n_expert_used", 0) > shape.get("n_expert", 0):
        yield Violation((*at, "n_expert_used"), "more than n_expert")
    if shape.get("n_layer_attention", 0) > shape["n_layer"]:
        yield Violation((*at, "n_layer_attention"), "more than n_layer")


def _check_quants(model: dict[str, Any], path: KeyPath) -> Iterator[Violation]:
    names = set()
    for n, quant in enumerate(model["quants"]):
        at = (*path, "quants", n)
        if quant["quant"] in names:
            yield Violation((*at, "quant"), f"{quant['quant']} is here twice")
        names.add(quant["quant"])
        if quant.get("n_files", 1) > 1 and "sha256" in quant:
            remedy = "give each file its own under shards"
            yield Violation((*at, "sha256"), "belongs to one file, and there are several", remedy)
        yield from _check_verified(quant, at)
        yield from _check_shards(quant, at)
        bits = quant["size_bytes"] * 8 / model["params"]
        if not MIN_BITS_PER_WEIGHT <= bits <= MAX_BITS_PER_WEIGHT:
            problem = f"{bits:.1f} bits per weight cannot be: check size and params"
            yield Violation((*at, "size_bytes"), problem)
    repos = set()
    for n, file in enumerate(model.get("mmproj", ())):
        at = (*path, "mmproj", n)
        if file["repo_id"] in repos:
            yield Violation((*at, "repo_id"), f"{file['repo_id']} is here twice")
        repos.add(file["repo_id"])
        yield from _check_verified(file, at)


def _check_verified(file: dict[str, Any], at: KeyPath) -> Iterator[Violation]:
    if file.get("sha256_verified") and "sha256" not in file:
        yield Violation((*at, "sha256_verified"), "true without a sha256")


def _check_shards(quant: dict[str, Any], at: KeyPath) -> Iterator[Violation]:
    named = _SHARD.search(quant["filename"])
    n_files = quant.get("n_files", 1)
    if n_files != (int(named[1]) if named else 1):
        problem = f"{n_files} does not go with {quant['filename']}"
        yield Violation((*at, "n_files"), problem, "the name of the first shard says how many")
    shards = quant.get("shards")
    if shards is None:
        return
    if len(shards) != n_files or shards[0]["filename"] != quant["filename"]:
        yield Violation((*at, "shards"), "must be all files of the set, in order")
    sizes = [shard.get("size_bytes") for shard in shards]
    if None not in sizes and quant.get("size_exact", True) and sum(sizes) != quant["size_bytes"]:
        yield Violation((*at, "size_bytes"), f"the shards have {sum(sizes)} bytes together")


def _check_sources(value: dict[str, Any]) -> Iterator[Violation]:
    used = set()
    for n, model in enumerate(value["models"]):
        lists = [(name, model.get(name, ())) for name in ("scores", "quants", "mmproj")]
        places: list[tuple[KeyPath, str]] = [(("models", n, "source"), model["source"])]
        places += [
            (("models", n, name, k, "source"), item["source"])
            for name, items in lists
            for k, item in enumerate(items)
        ]
        for path, key in places:
            used.add(key)
            if key not in value["sources"]:
                yield Violation(path, f"'{key}' is not in sources", f"add '{key}' to sources")
    for key in value["sources"]:
        if key not in used:
            yield Violation(("sources", key), f"nothing comes from '{key}'", "take it out")


def find_doubts(value: dict[str, Any], doubt_size: DoubtSize) -> Iterator[Violation]:
    """Find what a file in order may not say all the same; it can be used with it.

    ``doubt_size`` returns why the size of a quantization cannot be, or None.
    """
    for n, entry in enumerate(parse_family(value)):
        yield from _check_quality(entry, ("models", n))
        if "vision" in entry.use_cases and not entry.mmproj:
            remedy = "add the projector's file under mmproj"
            yield Violation(("models", n, "use_cases"), "vision needs a projector", remedy)
        places = {quant["quant"]: k for k, quant in enumerate(value["models"][n]["quants"])}
        for quant in entry.quants:
            if problem := doubt_size(entry, quant):
                path = ("models", n, "quants", places[quant.quant], "size_bytes")
                yield Violation(path, problem, "check it, and params and architecture")


def _check_quality(entry: CatalogEntry, path: KeyPath) -> Iterator[Violation]:
    computed = compute_quality(entry.scores, entry.use_cases)
    if entry.quality != computed:
        told = ", ".join(f"{use}: {figure}" for use, figure in computed.items())
        remedy = f"write quality: {{{told}}}" if told else "take it out"
        problem = "is not what the scores give by the rule in catalog/README.md"
        yield Violation((*path, "quality"), problem, remedy)
