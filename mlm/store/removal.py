"""What deleting models would free, and what else uses their bytes, known before it is done."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from mlm.store.sharing import Names
from mlm.store.store import Store
from mlm.store.survey import look_at, survey_cache
from mlm.store.types import ModelFile


@dataclass(frozen=True, slots=True)
class Removal:
    """One model that is to go, or has gone."""

    model: ModelFile
    freed_bytes: int
    in_place: bool  # its file is not mlm's: it is forgotten, and stays
    kept_by: tuple[str, ...]  # what else uses its bytes, so that they do not become free

    def done(self, store: Store) -> "Removal":
        """Delete the model, and return what really became free."""
        return replace(self, freed_bytes=store.remove(self.model))


def plan_removal(store: Store, models: Collection[ModelFile]) -> list[Removal]:
    """Return what deleting all of ``models`` together would do."""
    names = Names([r.file for r in store.receipts()], survey_cache(store.hub_cache))
    files = {model.path: store.files_to_go(model) for model in models}
    going = [file.path for parts in files.values() for file in parts]
    counted: set[tuple[int, int]] = set()
    return [_plan(store, model, files[model.path], names, (going, counted)) for model in models]


def _plan(
    store: Store,
    model: ModelFile,
    files: list[ModelFile],
    names: Names,
    others: tuple[Collection[Path], set[tuple[int, int]]],
) -> Removal:
    going, counted = others
    if not all(store.is_ours(file) for file in files):
        return Removal(model, 0, in_place=True, kept_by=())
    freed, kept_by = 0, dict[str, None]()
    for file in files:
        users = names.others(file, going)
        kept_by |= dict.fromkeys(users)
        content = look_at(file.path, follow=True)
        if content and not users and content.inode not in counted:
            counted.add(content.inode)
            freed += content.size_bytes
    return Removal(model, freed, in_place=False, kept_by=tuple(kept_by))
