"""Says everything that is wrong with a catalog file: the schema, then what a schema cannot say."""

import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlm import strictyaml
from mlm.catalog.files import read_schema
from mlm.catalog.schema import Violation, find_violations
from mlm.catalog.sense import DoubtSize, find_doubts, find_nonsense
from mlm.strictyaml import Document, KeyPath


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a catalog file."""

    where: str  # file:line:column
    model_id: str | None
    problem: str
    remedy: str | None = None

    def __str__(self) -> str:
        model = f"{self.model_id}: " if self.model_id else ""
        return f"{self.where}: {model}{self.problem}"


def check_files(
    paths: Iterable[Path], doubt_size: DoubtSize = lambda entry, quant: None
) -> dict[Path, list[Problem]]:
    """Return everything wrong with each file of one layer, names that two of them use included.

    ``doubt_size`` returns why the size of a quantization cannot be, or None.

    Raises:
        NotFoundError: a file cannot be read.
    """
    found: dict[Path, list[Problem]] = {}
    names: dict[str, str] = {}  # and where each stands
    for path in paths:
        document, found[path] = _read(path, doubt_size)
        if document is not None:
            found[path] += _find_taken(document, names)
    return found


def _read(path: Path, doubt_size: DoubtSize) -> tuple[Document | None, list[Problem]]:
    """Return the document, if it can be used, and everything wrong with it."""
    try:
        document = strictyaml.read(path)
    except strictyaml.YamlError as error:
        where, _, problem = error.message.partition(": ")
        return None, [Problem(where, None, problem, error.remedy)]
    if problems := check_document(document):
        return None, problems
    return document, _locate(document, find_doubts(document.value, doubt_size))


def check_document(document: Document) -> list[Problem]:
    """Return why a parsed catalog file cannot be used."""
    violations = find_violations(document.value, read_schema())
    violations += _find_unprintable(document.value, ())
    if not violations:  # what follows relies on the shape being right
        violations = list(find_nonsense(document.value))
    return _locate(document, violations)


def _locate(document: Document, violations: Iterable[Violation]) -> list[Problem]:
    return [
        Problem(document.where(v.path), _model_id(document.value, v.path), _with_field(v), v.remedy)
        for v in violations
    ]


def _find_taken(document: Document, names: dict[str, str]) -> list[Problem]:
    """Find names that models of other files have; adds those of this one to ``names``."""
    taken = []
    for n, model in enumerate(document.value["models"]):
        where = document.where(("models", n, "model_id"))
        for name in (model["model_id"], *model.get("aliases", ())):
            if name in names:
                problem = f"the name '{name}' is taken at {names[name]}"
                taken.append(Problem(where, model["model_id"], problem, "choose another name"))
            names.setdefault(name, where)
    return taken


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
