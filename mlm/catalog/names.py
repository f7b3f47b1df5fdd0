"""The names in the catalog, found by a glance at its files: for a shell that waits for them.

Reading the YAML takes a second, and even its parsed form several times as long as this.
"""

from collections.abc import Iterator
from pathlib import Path

from mlm.catalog.files import catalog_files, shipped_dir


def catalog_names(user_dir: Path) -> list[str]:
    """Return the models of the catalog, and after each its quantizations: ``qwen3-8b:Q4_K_M``.

    A file that is not in order gives what can be seen of it; nothing is checked.
    """
    names: dict[str, None] = {}
    for path in [*catalog_files(user_dir), *catalog_files(shipped_dir())]:
        try:
            names.update(dict.fromkeys(_glance(path.read_text(encoding="utf-8"))))
        except (OSError, UnicodeDecodeError):
            continue
    return list(names)


def _glance(text: str) -> Iterator[str]:
    for part in text.replace("{", "{ ").split("model_id:")[1:]:
        model = _first_word(part)
        yield model
        for piece in part.split(" quant:")[1:]:
            yield f"{model}:{_first_word(piece)}"


def _first_word(text: str) -> str:
    line = text[:200].partition("\n")[0]
    return line.partition("#")[0].partition(",")[0].strip(" \"'}")
