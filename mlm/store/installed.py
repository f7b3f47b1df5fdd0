"""The names of installed models, read in a moment: for a shell that completes them on a Tab."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote


def installed_names(index_db: Path) -> list[str]:
    """Return what the models of the index are called, with and without quantization.

    Nothing is locked, rebuilt or written. None where the index cannot be read at once.
    """
    address = f"file:{quote(str(index_db))}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=0.02)) as db:
            rows = db.execute(
                "SELECT path, origin, model, quant, model_id FROM files ORDER BY ref, filename"
            ).fetchall()
    except sqlite3.Error:
        return []
    names: list[str] = []
    for path, origin, model, quant, model_id in rows:
        if origin != "import" and not Path(os.fsdecode(path)).exists():
            continue
        of_catalog = [model, f"{model}:{quant}" if quant else None] if model else []
        names += [name for name in [*of_catalog, model_id] if isinstance(name, str)]
    return names
