"""The first manifest of a machine that works: what is installed here, exactly as it is."""

from pathlib import Path
from typing import TYPE_CHECKING

from mlm.cli._installed import installed_models
from mlm.errors import ConflictError, NotFoundError
from mlm.manifest.engine import installed_version
from mlm.manifest.lock_file import lock_path, write_lock
from mlm.manifest.manifest_file import write_manifest
from mlm.manifest.types import Lock

if TYPE_CHECKING:
    from mlm.cli._session import Session


def write_first_manifest(run: "Session", path: Path) -> None:
    """Write a manifest of the models installed here, and a lock at the commits that are here.

    Raises:
        ConflictError: there is a manifest or a lock already.
        NotFoundError: no model of a hub is installed.
        UsageError: they cannot be written.
    """
    lock = lock_path(path)
    for taken in (path, lock):
        if taken.exists():
            raise ConflictError(f"{taken} is there already", remedy="mlm lock (without --init)")
    models = installed_models(run)
    if not models:
        raise NotFoundError(
            "no verified model of a hub is installed here, so there is nothing to begin with",
            remedy=f"printf 'models:\\n  - model: qwen3-8b:Q4_K_M\\n' > {path}, then mlm lock",
        )
    write_manifest(path, [model.name for model in models])
    write_lock(lock, Lock(models, installed_version()))
