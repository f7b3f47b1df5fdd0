"""One server for all clients: with a key, a model that writes, and one that makes vectors."""

from collections.abc import Iterator

import pytest
from fakes.mlm_serve import DEMO_MODEL, MlmServe, mlm_serve
from fakes.tiny_models import write_tiny_model

KEY = "a-key-for-the-clients"


@pytest.fixture(scope="package")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlmServe]:
    folder = tmp_path_factory.mktemp("clients")
    keys = folder / "keys"
    keys.write_text(f"{KEY}\n", encoding="utf-8")
    models = [str(DEMO_MODEL), str(write_tiny_model(folder / "bert.gguf", "bert"))]
    words = (*models, "--threads", "1", "--api-key-file", str(keys))
    with mlm_serve(folder / "home", *words) as server:
        server.wait_for("loaded")
        yield server


@pytest.fixture(scope="package")
def key() -> str:
    """What the server lets in."""
    return KEY
