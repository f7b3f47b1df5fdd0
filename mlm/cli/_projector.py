"""The projector that a model on this machine is loaded with."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlm.gguf.errors import GGUFError

if TYPE_CHECKING:
    from mlm.gguf.projector import ProjectorMetadata
    from mlm.gguf.types import GGUFMetadata
    from mlm.store.store import Store
    from mlm.store.types import ModelFile


@dataclass(frozen=True, slots=True)
class FoundProjector:
    """A projector, and what its header says."""

    file: "ModelFile"
    metadata: "ProjectorMetadata"


def find_projector(
    store: "Store", model: "ModelFile", metadata: "GGUFMetadata"
) -> FoundProjector | None:
    """Return what ``model`` sees with: of the projectors that came with it the first that suits.

    One that is no sound projector is passed over: the model talks without it.
    """
    from mlm.gguf.projector import describe_projector
    from mlm.gguf.reader import read_file_header

    for file in store.projectors(model):
        try:
            found = describe_projector(read_file_header(file.path))
        except GGUFError:
            continue
        if found.suits(metadata):
            return FoundProjector(file, found)
    return None
