"""Where catalog files lie: the shipped ones and the user's own."""

from pathlib import Path
from typing import Any

_SUFFIXES = {".yaml", ".yml"}


def shipped_dir() -> Path:
    """Return the folder of the catalog that mlm ships.

    A wheel holds it as ``mlm/catalog/data``; a checkout (editable install) has it at its root.
    """
    packaged = Path(__file__).parent / "data"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "catalog"


def catalog_files(folder: Path) -> list[Path]:
    """Return the catalog files in ``folder`` by name; none when there is no such folder.

    A pipe or a folder is none, whatever it is called; a link that leads nowhere is, and cannot be
    read.
    """
    try:
        found = [path for path in folder.iterdir() if path.suffix in _SUFFIXES]
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(
        path
        for path in found
        if not path.name.startswith(".") and (path.is_file() or not path.exists())
    )


def read_schema() -> dict[str, Any]:
    """Return the published JSON Schema of catalog files."""
    import json  # whoever only looks for files can do without

    schema = json.loads((shipped_dir() / "schema.json").read_text(encoding="utf-8"))
    assert isinstance(schema, dict)
    return schema
