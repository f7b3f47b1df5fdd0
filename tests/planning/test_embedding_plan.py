"""Models that make vectors are planned for what their workers really take."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fakes.facts import LLAMA_8B, NOMIC, entry, machine, quant
from fakes.real_buffers import ask_for_buffers
from fakes.tiny_models import write_tiny_model

from mlm.cli._machine import without_unusable_amx
from mlm.gguf.reader import read_metadata
from mlm.hardware.detect import survey_hardware
from mlm.planning.memory import plan_memory
from mlm.planning.overrides import Overrides
from mlm.planning.runtime import plan_runtime
from mlm.planning.shape import shape_from_catalog, shape_from_metadata
from mlm.planning.types import ContextBuffers, ModelShape
from mlm.server.model import worker_config
from mlm.units import MIB

WIDE = replace(NOMIC, name="gemma-embedding", n_vocab=262_144)  # its rows of logits are long


def decoder(**changes: Any) -> ModelShape:
    """Return a decoder that the catalog has for embeddings."""
    made = entry(architecture=replace(LLAMA_8B, **changes), use_cases=("embedding",))
    return shape_from_catalog(made, quant())


def encoder(facts: Any = NOMIC) -> ModelShape:
    made = entry("nomic", quant("F16", 274_290_560), architecture=facts, params=137_000_000)
    return shape_from_catalog(made, made.quants[0])


@pytest.mark.parametrize(
    "kind", ["bert", "nomic-bert", "reranker", "qwen3-embedding", "qwen3-mean", "qwen3-reranker"]
)
def test_a_worker_takes_what_was_planned(kind: str, tmp_path: Path):
    path = write_tiny_model(tmp_path / "tiny.gguf", kind)
    shape = shape_from_metadata(read_metadata(path))
    hardware = without_unusable_amx(survey_hardware())
    wishes = [Overrides(n_ctx_slot=2048), Overrides(n_ctx_slot=512, n_parallel=4, type_k="f32")]
    configs = [plan_runtime(shape, hardware, each) for each in wishes]
    taken = ask_for_buffers(path, [msgspec.to_builtins(worker_config(each)) for each in configs])
    for config, real in zip(configs, taken, strict=True):
        (cpu,) = plan_memory(shape, config, hardware).devices
        assert cpu.kv_cache == pytest.approx(real["kv_cache"], abs=0.01 * MIB)
        assert cpu.compute == pytest.approx(real["compute"], rel=0.02, abs=0.1 * MIB)
        assert cpu.output >= real["output"]  # it grows with the inputs


def test_what_has_to_be_seen_whole_is_one_batch():
    config = plan_runtime(encoder(), machine(8), Overrides())
    assert config.embedding and config.kv_unified
    assert config.n_ctx_slot == config.n_ctx == config.n_batch == config.n_ubatch == 2048
    assert config.n_parallel == 32 and config.n_outputs_max == 2048
    assert "whole input" in config.reasons["n_batch"]


def test_a_decoder_reads_in_pieces_and_needs_few_rows_of_results():
    config = plan_runtime(decoder(), machine(32), Overrides())
    assert config.embedding and config.pooling == "auto"
    assert (config.n_ctx, config.n_batch, config.n_ubatch) == (8192, 2048, 512)
    assert config.n_outputs_max == 64
    cpu = plan_memory(decoder(), config, machine(32)).devices[0]
    assert cpu.kv_cache == 8192 * 32 * 2 * 1024 * 2  # one part for all inputs
    assert cpu.output == 64 * (128_256 + 4096) * 4


def test_the_room_for_results_grows_with_the_longest_input():
    shape = encoder(WIDE)
    config = plan_runtime(shape, machine(16), Overrides())
    plan = plan_memory(shape, config, machine(16))
    assert plan.devices[0].output == 2048 * (262_144 + 768) * 4
    told = ContextBuffers(kv_cache=0, compute={"CPU": 9 * MIB}, output=2 * MIB)  # before any input
    exact = plan_memory(shape, config, machine(16), told).devices[0]
    assert (exact.compute, exact.output) == (9 * MIB, plan.devices[0].output)


def test_where_memory_is_short_inputs_are_shorter():
    config = plan_runtime(encoder(WIDE), machine(2), Overrides())
    assert config.n_ctx_slot == config.n_batch == 1024
    assert "memory allows no more" in config.reasons["n_ctx"]
    assert plan_memory(encoder(WIDE), config, machine(2)).verdict == "fits"


def test_what_a_file_does_not_say_the_catalog_does(tmp_path: Path):
    metadata = read_metadata(write_tiny_model(tmp_path / "tiny.gguf", "qwen3"))
    plain = shape_from_metadata(metadata, entry())
    meant = shape_from_metadata(metadata, entry(use_cases=("embedding",)))
    assert not plain.embeds and meant.embeds and meant.reads_in_pieces
    config = plan_runtime(meant, machine(8), Overrides())
    assert (config.embedding, config.pooling) == (True, "last")
    assert "the file does not say" in config.reasons["pooling"]


def test_a_file_that_says_how_to_pool_needs_no_catalog(tmp_path: Path):
    shapes = {
        kind: shape_from_metadata(read_metadata(write_tiny_model(tmp_path / kind, kind)))
        for kind in ("qwen3", "qwen3-embedding", "qwen3-mean", "qwen3-reranker", "bert")
    }
    assert {kind for kind, shape in shapes.items() if shape.embeds} == set(shapes) - {"qwen3"}
    pieces = {kind for kind, shape in shapes.items() if shape.reads_in_pieces}
    assert pieces == {"qwen3-embedding", "qwen3-reranker"}
