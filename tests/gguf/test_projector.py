"""What the header of a projector says, and whether a model can see with it."""

from dataclasses import replace
from pathlib import Path

import pytest
from fakes.tiny_models import write_tiny_model
from fakes.tiny_projector import write_tiny_projector

from mlm.gguf.errors import GGUFError
from mlm.gguf.projector import describe_projector
from mlm.gguf.reader import read_file_header, read_metadata
from mlm.gguf.types import GGUFHeader


@pytest.fixture
def header(tmp_path: Path) -> GGUFHeader:
    return read_file_header(write_tiny_projector(tmp_path / "mmproj.gguf", "gemma3"))


def with_keys(header: GGUFHeader, **keys: object) -> GGUFHeader:
    changed = {name.replace("__", "."): value for name, value in keys.items()}
    return replace(header, values={**header.values, **changed})


def test_it_says_how_pictures_are_encoded(header: GGUFHeader):
    found = describe_projector(header)
    assert (found.kind, found.widths_out) == ("gemma3", {64})
    assert (found.n_embd, found.n_ff) == (32, 48)
    assert (found.image_size, found.patch_size, found.n_merge) == (56, 14, 2)
    assert (found.has_places, found.is_gated, found.n_deepstack) == (True, False, 0)
    assert found.n_bytes == sum(tensor.n_bytes for tensor in header.tensors) > 0


def test_it_suits_models_as_wide_as_what_comes_out_of_it(tmp_path: Path, header: GGUFHeader):
    model = read_metadata(write_tiny_model(tmp_path / "m.gguf", "gemma3"))
    assert describe_projector(header).suits(model)
    wider = with_keys(header, clip__vision__projection_dim=128)
    assert not describe_projector(wider).suits(model)
    # LLaVA's files have CLIP's own width there: their last tensors tell.
    older = describe_projector(with_keys(wider, clip__projector_type="mlp"))
    assert older.suits(model)
    assert not older.suits(replace(model, n_embd=4096))


@pytest.mark.parametrize(
    "keys",
    [
        {"general__architecture": "llama"},
        {"clip__has_vision_encoder": False},
        {"clip__vision__image_size": -1},
        {"clip__vision__patch_size": "14"},
    ],
)
def test_what_is_none_is_refused(header: GGUFHeader, keys: dict[str, object]):
    with pytest.raises(GGUFError):
        describe_projector(with_keys(header, **keys))
