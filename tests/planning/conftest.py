"""What tests of planning share."""

from collections.abc import Sequence

import pytest

from mlm.catalog.load import load_catalog
from mlm.catalog.types import CatalogEntry


@pytest.fixture(scope="session")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Sequence[CatalogEntry]:
    """Return the models of the shipped catalog, parsed once."""
    folder = tmp_path_factory.mktemp("catalog")
    return load_catalog(folder / "none", folder / "cache").entries
