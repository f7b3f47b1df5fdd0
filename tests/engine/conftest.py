from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from fakes.plain_llama import PlainLlama, plain_llama
from fakes.tiny_models import write_tiny_model

import mlm.demo


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return the path of a tiny model of a kind, written when first asked for."""
    folder = tmp_path_factory.mktemp("models")

    @cache
    def path(kind: str) -> Path:
        return write_tiny_model(folder / f"tiny-{kind}.gguf", kind)

    return path


@pytest.fixture
def demo_model() -> Path:
    """The model inside the package, which gives real answers."""
    return Path(mlm.demo.__file__).parent / "mlm-demo.gguf"


@pytest.fixture(scope="module")
def plain() -> Iterator[PlainLlama]:
    """llama.cpp alone, to compare answers with."""
    with plain_llama() as process:
        yield process
