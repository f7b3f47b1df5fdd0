"""The arithmetic agrees with what the real llama.cpp says it allocates."""

import random
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes.gguf_files import ARRAY, U32, GGUFFile
from fakes.published_shapes import published_header, published_names, write_published
from fakes.real_buffers import ask_for_buffers
from fakes.real_shapes import write_hole
from fakes.truth import CONTEXT, Comparison, ask_llama_cpp, compare, dry_run_of

from mlm.cli._machine import without_unusable_amx
from mlm.gguf.errors import GGUFError
from mlm.gguf.reader import read_metadata
from mlm.hardware.detect import survey_hardware
from mlm.planning.memory import plan_memory
from mlm.planning.shape import shape_from_metadata
from mlm.planning.types import ModelShape, RuntimeConfig

# One of each kind of graph: plain, experts beside a shared one, compressed keys, parallel parts,
# sliding windows with shared caches, hybrids, recurrent ones, encoders.
QUICK = (
    "qwen2.5-0.5b", "qwen1.5-moe-a2.7b", "deepseek-v2-lite", "falcon-7b", "gemma-3n-e4b",
    "lfm2-8b-a1b", "rwkv7-2.9b", "mamba2-2.7b",
)  # fmt: skip
SETTINGS: list[dict[str, Any]] = [
    {"n_ctx": 8192, "n_parallel": 1, "type_k": "q8_0", "type_v": "q8_0"},
    {"n_ctx": 16_384, "n_parallel": 4, "flash_attn": "off", "n_ubatch": 256},
]
EVIL = (0, 1, 2, 31, 255, 2**16, 2**31 - 1, 2**31, 2**32 - 1)


def check(comparison: Comparison) -> None:
    assert comparison.grade == "computed"
    assert comparison.error("kv_cache") == pytest.approx(0, abs=0.001), comparison
    assert comparison.error("output") == pytest.approx(0, abs=0.01), comparison
    assert comparison.error("compute") == pytest.approx(0, abs=0.02), comparison


def test_contexts_are_as_large_as_planned(tmp_path: Path):
    paths = [write_published(name, tmp_path) for name in QUICK]
    runs = [dry_run_of(path, each) for path in paths for each in SETTINGS]
    truths = iter(ask_llama_cpp(runs))
    for path in paths:
        shape = shape_from_metadata(read_metadata(path))
        for each in SETTINGS:
            check(Comparison.of(shape, each, next(truths)))


@pytest.mark.slow
@pytest.mark.parametrize("name", published_names())
def test_the_context_of_every_published_model_is_as_large_as_planned(tmp_path: Path, name: str):
    found = compare(write_published(name, tmp_path))
    for each in found:
        assert each.grade == "computed" or name in NOT_UNDERSTOOD
        assert abs(each.total_error) <= 0.05, each
        if name not in NOT_UNDERSTOOD:
            assert each.error("kv_cache") == pytest.approx(0, abs=0.001), each
            assert each.error("output") == pytest.approx(0, abs=0.01), each
            assert each.error("compute") == pytest.approx(0, abs=0.13), each


NOT_UNDERSTOOD = ("minimax-text-01",)


@pytest.mark.slow
def test_weights_and_their_second_copies_are_as_large_as_planned(tmp_path: Path):
    path = write_hole("qwen2", tmp_path)
    (real,) = ask_for_buffers(path, [{"n_ctx": 4096}])
    shape = shape_from_metadata(read_metadata(path))
    plan = plan_memory(shape, CONFIG, without_unusable_amx(survey_hardware())).devices[0]
    for kind in ("weights", "repack", *CONTEXT):
        assert getattr(plan, kind) == pytest.approx(real[kind], rel=0.01, abs=100_000), kind


CONFIG = RuntimeConfig(
    n_ctx=4096, n_parallel=1, n_batch=2048, n_ubatch=512, n_gpu_layers=0, n_threads=1,
    n_threads_batch=1,
)  # fmt: skip


def renamed(name: str, architecture: str) -> GGUFFile:
    """Return the header of a model that says it is of another architecture."""
    made = published_header(name)
    old = str(dict((key, value) for key, _, value in made.pairs)["general.architecture"])
    made.pairs = [
        (key.replace(old, architecture) if str(key).startswith(old) else key, kind, value)
        for key, kind, value in made.pairs
    ]
    return made.set("general.architecture", 8, architecture)


def shape_of(made: GGUFFile, path: Path) -> ModelShape:
    return shape_from_metadata(read_metadata(made.write_hole(path)))


def test_a_plan_of_an_unknown_architecture_is_called_an_estimate(tmp_path: Path):
    shape = shape_of(renamed("qwen3-4b", "frontier9"), tmp_path / "new.gguf")
    plan = plan_memory(shape, CONFIG, survey_hardware())
    assert plan.grade == "estimated"
    assert any("nothing is known of the architecture 'frontier9'" in each for each in plan.reasons)
    known = shape_of(published_header("qwen3-4b"), tmp_path / "old.gguf")
    # A plain transformer of this size is what it most probably is.
    assert plan.total == pytest.approx(
        plan_memory(known, CONFIG, survey_hardware()).total, rel=0.05
    )


def test_layers_that_are_not_understood_make_a_plan_an_estimate(tmp_path: Path):
    made = published_header("qwen3-4b")
    for tensor in made.tensors:
        tensor.name = tensor.name.replace("ffn_down", "ffn_sideways")
    shape = shape_of(made, tmp_path / "odd.gguf")
    plan = plan_memory(shape, CONFIG, survey_hardware())
    assert plan.grade == "estimated"
    assert any("is understood: figures are rough" in each for each in plan.reasons)


@pytest.mark.parametrize("name", ["gemma-3n-e4b", "rwkv6-7b", "qwen3-next-80b", "deepseek-v3"])
def test_hostile_numbers_in_a_header_never_break_a_plan(tmp_path: Path, name: str):
    chance = random.Random(name)
    for number in range(12):
        made = published_header(name)
        for _ in range(chance.randint(1, 3)):
            spoil(made, chance)
        try:
            shape = shape_of(made, tmp_path / f"{number}.gguf")
        except (GGUFError, OverflowError, OSError):
            continue  # refused, or larger than a file can be
        for flash in ("auto", "off"):
            config = replace(CONFIG, type_k="q8_0", type_v="q8_0", flash_attn=flash)
            started = time.monotonic()
            plan_memory(shape, config, survey_hardware())
            assert time.monotonic() - started < 20


def spoil(made: GGUFFile, chance: random.Random) -> None:
    """Put an absurd number in one key or one dimension."""
    if chance.random() < 0.6:
        place = chance.randrange(len(made.pairs))
        key, kind, value = made.pairs[place]
        evil = chance.choice(EVIL)
        if kind == U32:
            made.pairs[place] = (key, kind, evil)
        elif kind == ARRAY and isinstance(value[1][0], int):
            made.pairs[place] = (key, kind, (U32, [evil] * len(value[1])))
        return
    tensor = chance.choice(made.tensors)
    shape = list(tensor.shape)
    shape[chance.randrange(len(shape))] = chance.choice(EVIL[1:])
    tensor.shape = tuple(shape)
