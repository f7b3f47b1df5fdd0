"""The config file of a model, found without asking a hub or reading the model."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlm.errors import NotFoundError

if TYPE_CHECKING:
    from mlm.cli._session import Session


@dataclass(frozen=True, slots=True)
class Kept:
    """Whose config it is, and where it is kept."""

    model_id: str
    path: Path

    def need_file(self, ref: str) -> None:
        """Raise `NotFoundError` unless there is a file."""
        if not self.path.is_file():
            message = f"no config of {self.model_id} is kept"
            raise NotFoundError(message, remedy=f"mlm config generate {ref}")


def find_kept(session: "Session", text: str) -> Kept:
    """Return where the config of the model is that ``text`` names; it need not be installed.

    Raises:
        UsageError: it cannot be the name of a model.
        NotFoundError: it is a folder without a name.
    """
    from mlm.planning.config_file import config_path
    from mlm.store.names import split_shard
    from mlm.store.ref import LocalRef, parse_ref
    from mlm.store.store import Store

    ref = parse_ref(text)
    settings = session.settings
    with Store(settings.home, settings.hub_cache) as store:
        installed = [file for file in store.find_all(text) if file.path.exists()]
    if installed:
        model_id = installed[0].model_id
    elif isinstance(ref, LocalRef) and not ref.path.name:
        raise NotFoundError(f"{text} is a folder, not a model", remedy=f"look: ls {text}")
    else:
        model_id = split_shard(ref.path.name)[0] if isinstance(ref, LocalRef) else str(ref)
    return Kept(model_id, config_path(settings.home.config, model_id))
