"""Says everything that is wrong with a catalog file: the schema, then what a schema cannot say."""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlm import strictyaml
from mlm.catalog.files import read_schema
from mlm.catalog.schema import Violation, find_violations
from mlm.strictyaml import Document, KeyPath

# A file holds between about 1.5 (IQ1_S) and 32 (F32) bits per weight, plus tables and padding.
# Counts of shared embeddings differ by up to a third, so this catches a slip of ten, not a detail.
MIN_BITS_PER_WEIGHT, MAX_BITS_PER_WEIGHT = 1.0, 48.0


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a catalog file."""

    where: str  # file:line:column
    model_id: str | None
    problem: str

    def __str__(self) -> str:
        model = f"{self.model_id}: " if self.model_id else ""
        return f"{self.where}: {model}{self.problem}"


def check_file(path: Path) -> list[Problem]:
    """Return everything wrong with the file; empty when it is fine.

    Raises:
        NotFoundError: the file cannot be read.
    """
    try:
        document = strictyaml.read(path)
    except strictyaml.YamlError as error:
        where, _, problem = error.message.partition(": ")
        return [Problem(where, None, problem)]
    return check_document(document)


def check_document(document: Document) -> list[Problem]:
    """Return everything wrong with a parsed catalog file."""
    violations = find_violations(document.value, read_schema())
    violations += _find_unprintable(document.value, ())
    if not violations:  # what follows relies on the shape being right
        violations = list(_check_meaning(document.value))
    return [
        Problem(document.where(v.path), _model_id(document.value, v.path), _with_field(v))
        for v in violations
    ]


def _with_field(violation: Violation) -> str:
    names = [part for part in violation.path[2:] if isinstance(part, str)]
    return f"{'.'.join(names)}: {violation.problem}" if names else violation.problem


def _model_id(value: Any, path: KeyPath) -> str | None:
    if len(path) < 2 or path[0] != "models":
        return None
    model = value["models"][path[1]]
    model_id = model.get("model_id") if isinstance(model, dict) else None
    return model_id if isinstance(model_id, str) else None


def _find_unprintable(value: Any, path: KeyPath) -> list[Violation]:
    """Find characters that could command a terminal: controls, escapes, direction overrides."""
    if isinstance(value, str):
        bad = any(unicodedata.category(c) in ("Cc", "Cf") for c in value)
        return [Violation(path, "has control characters")] if bad else []
    if isinstance(value, dict):
        return [
            v
            for key, item in value.items()
            for v in (
                *_find_unprintable(key, (*path, key)),
                *_find_unprintable(item, (*path, key)),
            )
        ]
    if isinstance(value, list):
        return [v for n, item in enumerate(value) for v in _find_unprintable(item, (*path, n))]
    return []


def _check_meaning(value: dict[str, Any]) -> Iterator[Violation]:
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
            yield Violation((*at, "sha256"), "belongs to one file, and there are several")
        if quant.get("sha256_verified") and "sha256" not in quant:
            yield Violation((*at, "sha256_verified"), "true without a sha256")
        bits = quant["size_bytes"] * 8 / model["params"]
        if not MIN_BITS_PER_WEIGHT <= bits <= MAX_BITS_PER_WEIGHT:
            problem = f"{bits:.1f} bits per weight cannot be: check size and params"
            yield Violation((*at, "size_bytes"), problem)


def _check_sources(value: dict[str, Any]) -> Iterator[Violation]:
    used = set()
    for n, model in enumerate(value["models"]):
        lists = [("scores", model.get("scores", ())), ("quants", model["quants"])]
        places: list[tuple[KeyPath, str]] = [(("models", n, "source"), model["source"])]
        places += [
            (("models", n, name, k, "source"), item["source"])
            for name, items in lists
            for k, item in enumerate(items)
        ]
        for path, key in places:
            used.add(key)
            if key not in value["sources"]:
                yield Violation(path, f"'{key}' is not in sources")
    for key in value["sources"]:
        if key not in used:
            yield Violation(("sources", key), f"nothing comes from '{key}'")
