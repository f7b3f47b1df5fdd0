"""Configs that `mlm sync` looks after: what is changed there by hand does not last."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlm.cli._session import Session


def note_if_sealed(session: "Session", path: Path) -> None:
    """Say that the next sync will write the file ``path`` anew, if it will."""
    from mlm.manifest.seal import is_sealed

    with suppress(OSError):
        if is_sealed(path.read_text(encoding="utf-8", errors="replace")):
            session.note(
                "mlm sync wrote this config for an mlm.yaml and will again: change it there"
            )
