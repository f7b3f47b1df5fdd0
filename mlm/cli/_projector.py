"""A model on this machine, with the projector that it is loaded with."""

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlm.catalog.types import CatalogEntry
    from mlm.planning.types import ModelShape
    from mlm.store.store import Store
    from mlm.store.types import ModelFile


def read_shape(
    store: "Store", model: "ModelFile", entry: "CatalogEntry | None"
) -> "tuple[ModelShape, ModelFile | None]":
    """Return what there is to plan of ``model``, and the projector in it.

    Of the projectors that came with it, that is the first that suits it. One that is not sound is
    passed over: the model talks without it.

    Raises:
        GGUFError: the model itself is not sound.
    """
    from mlm.gguf.errors import GGUFError
    from mlm.gguf.projector import describe_projector
    from mlm.gguf.reader import read_file_header, read_metadata
    from mlm.planning.projector import projector_from_header
    from mlm.planning.shape import shape_from_metadata

    metadata = read_metadata(model.path)
    shape = shape_from_metadata(metadata, entry)
    for file in store.projectors(model):
        try:
            found = describe_projector(read_file_header(file.path))
        except GGUFError:
            continue
        if found.suits(metadata):
            return replace(shape, projector=projector_from_header(found)), file
    return shape, None
