"""A model on this machine, with the projector that it is loaded with."""

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlm.catalog.types import CatalogEntry
    from mlm.gguf.projector import ProjectorMetadata
    from mlm.gguf.types import GGUFMetadata
    from mlm.planning.types import ModelShape
    from mlm.store.store import Store
    from mlm.store.types import ModelFile


def read_shape(
    store: "Store", model: "ModelFile", entry: "CatalogEntry | None"
) -> "tuple[ModelShape, ModelFile | None]":
    """Return what there is to plan of ``model``, and its projector, which is a part of that.

    Raises:
        GGUFError: the model is not sound.
    """
    from mlm.gguf.reader import read_metadata
    from mlm.planning.projector import projector_from_header
    from mlm.planning.shape import shape_from_metadata

    metadata = read_metadata(model.path)
    shape = shape_from_metadata(metadata, entry)
    if (found := find_projector(store, model, metadata)) is None:
        return shape, None
    file, eyes = found
    return replace(shape, projector=projector_from_header(eyes)), file


def find_projector(
    store: "Store", model: "ModelFile", metadata: "GGUFMetadata"
) -> "tuple[ModelFile, ProjectorMetadata] | None":
    """Return what ``model`` sees with: of the projectors that came with it the first that suits.

    One that is not sound is passed over: the model talks without it.
    """
    from mlm.gguf.errors import GGUFError
    from mlm.gguf.projector import describe_projector
    from mlm.gguf.reader import read_file_header

    for file in store.projectors(model):
        try:
            found = describe_projector(read_file_header(file.path))
        except GGUFError:
            continue
        if found.suits(metadata):
            return file, found
    return None
