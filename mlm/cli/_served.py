"""Which model files running servers have open, so that nobody deletes them."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlm.cli._session import Session
    from mlm.server.registry import RunningServer
    from mlm.store.store import Store
    from mlm.store.survey import Inode


def served_files(run: "Session", store: "Store") -> "dict[Inode, tuple[str, RunningServer]]":
    """Return every file that a running server serves or has loaded: by what name, and who."""
    from mlm.server.registry import Registry
    from mlm.store.survey import look_at

    found: dict[Inode, tuple[str, RunningServer]] = {}
    for server in Registry(run.settings.home.run).servers():
        for model_id, path in _models_of(server, store).items():
            for part in _parts(store, path):
                if content := look_at(part, follow=True):
                    found[content.inode] = (model_id, server)
    return found


def _models_of(server: "RunningServer", store: "Store") -> dict[str, Path]:
    used = {model_id: Path(path) for model_id, path in server.models.items()}
    for model_id in (str(resident.get("model")) for resident in server.resident):
        if model_id not in used and (found := store.find_all(model_id)):
            used[model_id] = found[0].path
    return used


def _parts(store: "Store", path: Path) -> list[Path]:
    """Return all files of the model whose first one is ``path``."""
    for model in store.models():
        if model.path == path:
            return [file.path for file in store.files(model)]
    return [path]
