"""A YAML file of ours, held against its schema: either all of it is right, or it is refused."""

import json
import unicodedata
from pathlib import Path
from typing import Any

from mlm import strictyaml
from mlm.catalog.schema import find_violations
from mlm.errors import DISK_FULL, UsageError
from mlm.paths import replace_text
from mlm.strictyaml import Document, KeyPath

_SHOWN = 5  # of the things that are wrong; the rest is probably of the same kind


class ManifestError(UsageError):
    """A manifest or a lock file says something that cannot be meant; the message says where."""

    code = "bad_manifest"


def read_document(path: Path, schema_name: str) -> Document:
    """Return the document in the file ``path`` if the schema ``<name>.schema.json`` allows it.

    Raises:
        NotFoundError: there is no such file, or it cannot be read.
        YamlError: it is not YAML.
        ManifestError: it holds something that the schema does not allow.
    """
    document = strictyaml.read(path)
    violations = find_violations(document.value, read_schema(schema_name))
    if violations:
        shown = [
            f"{document.where(v.path)}: {_field(v.path)}{v.problem}" for v in violations[:_SHOWN]
        ]
        more = len(violations) - len(shown)
        raise ManifestError("; ".join([*shown, f"and {more} more"] if more else shown))
    return document


def read_schema(name: str) -> dict[str, Any]:
    """Return one of the JSON Schemas of this room; editors can use them too."""
    path = Path(__file__).with_name(f"{name}.schema.json")
    schema = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(schema, dict)
    return schema


def write_text(path: Path, text: str) -> None:
    """Write one of our files.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        replace_text(path, text)
    except OSError as error:
        if error.errno in DISK_FULL:
            raise
        raise UsageError(
            f"cannot write {path}: {(error.strerror or str(error)).lower()}",
            remedy="work in a folder that you may write, or name one: --file",
        ) from error


def refuse_control_characters(document: Document, path: KeyPath, text: str) -> None:
    """Raise if ``text`` holds what could command a terminal; lines and tabs are fine."""
    if any(unicodedata.category(c) in ("Cc", "Cf") and c not in "\n\t" for c in text):
        raise ManifestError(f"{document.where(path)}: has control characters")


def _field(path: KeyPath) -> str:
    names = [part for part in path if isinstance(part, str)]
    return f"{names[-1]}: " if names else ""
