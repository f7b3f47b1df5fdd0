"""The models that speed is measured with have real shapes, load in a real worker, and read text."""

import asyncio
import filecmp
from dataclasses import replace
from pathlib import Path

import bench_models
import pytest
from bench_models import SHAPES, make_model
from fakes.real_worker import ask, working

from mlm.engine.messages import Finished
from mlm.gguf.reader import read_metadata
from mlm.planning.shape import shape_from_metadata

# Numbers in the weights, as the pages of the models on the hub count them.
PARAMS = {"qwen2.5-0.5b": 494_032_768, "qwen3-0.6b": 596_049_920, "llama-3.2-1b": 1_235_814_432}


@pytest.fixture
def small_shapes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two layers and a small vocabulary instead of the real ones."""
    small = {name: replace(s, n_layer=2, n_vocab=2048) for name, s in SHAPES.items()}
    monkeypatch.setattr(bench_models, "SHAPES", small)


@pytest.mark.slow
@pytest.mark.usefixtures("small_shapes")
@pytest.mark.parametrize("name", SHAPES)
def test_a_bench_model_answers_in_a_real_worker(tmp_path: Path, name: str):
    path = make_model(name, tmp_path)
    assert [*tmp_path.iterdir()] == [path]
    assert read_metadata(path).quant == "Q4_K_M"

    async def talk():
        async with working(path) as worker:
            return await ask(worker, "the rain in Spain, 世界!", max_tokens=5, ignore_eos=True)

    ending = asyncio.run(talk()).ending
    assert isinstance(ending, Finished)
    assert ending.completion_tokens == 5
    assert 5 < ending.prompt_tokens < 30


@pytest.mark.slow
@pytest.mark.usefixtures("small_shapes")
def test_the_same_file_comes_out_every_time_and_is_kept(tmp_path: Path):
    first, second = (make_model("qwen3-0.6b", tmp_path / folder) for folder in "ab")
    assert filecmp.cmp(first, second, shallow=False)
    made_at = first.stat().st_mtime_ns
    assert make_model("qwen3-0.6b", tmp_path / "a").stat().st_mtime_ns == made_at


@pytest.mark.model
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", SHAPES)
def test_a_bench_model_is_as_large_as_the_model_it_is_named_after(tmp_path: Path, name: str):
    shape = shape_from_metadata(read_metadata(make_model(name, tmp_path)))
    assert shape.params == PARAMS[name]
