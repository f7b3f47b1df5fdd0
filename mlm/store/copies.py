"""Copies of local models in ``MLM_HOME/models``, each in a folder named after its content."""

import contextlib
from pathlib import Path

from mlm.store.cache_layout import remove_name


def remove_copy(path: Path) -> int:
    """Delete a copy, and its folder when it was the last; return the bytes that became free."""
    freed = remove_name(path) if path.is_symlink() or path.exists() else 0
    with contextlib.suppress(OSError):
        path.parent.rmdir()
    return freed
