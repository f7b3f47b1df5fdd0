"""Tokens on a CPU take as long as its cores, its memory and the cache let them."""

from dataclasses import replace
from typing import Any

import pytest
from fakes.facts import GB, LLAMA_8B, entry, machine

from mlm.hardware.types import Arithmetic, Hardware
from mlm.planning.cpu_speed import time_on_cpu
from mlm.planning.placement import split_model
from mlm.planning.shape import shape_from_catalog
from mlm.planning.speed import predict_speed
from mlm.planning.types import ModelShape, RuntimeConfig

MEASURED = Arithmetic(
    reading={"Q4_K": 5e9, "Q6_K": 6e9, "Q8_0": 7e9, "IQ2_XXS": 2e9},
    multiplying={"Q4_K": 50e9, "Q6_K": 40e9, "F32": 40e9},
    attending={"F16 64": (100e-9, 150e-9), "F16 128": (30e-9, 130e-9), "Q8_0 128": (50e-9, 60e-9)},
    n_threads=4,
    scaling=1.0,
    peak_bytes_per_s=30e9,
    step_s=1e-6,
)


def measured(**changes: Any) -> Hardware:
    return replace(machine(32, cores=4), arithmetic=replace(MEASURED, **changes))


def shape(**facts: Any) -> ModelShape:
    made = entry(architecture=replace(LLAMA_8B, **facts))
    return shape_from_catalog(made, made.quants[0])


def decode_s(hardware: Hardware, model: ModelShape | None = None, n_past: int = 0, **fields: Any):
    usual = {"n_ctx": 8192, "n_parallel": 1, "n_batch": 512, "n_ubatch": 512, "n_gpu_layers": 0}
    config = RuntimeConfig(**{**usual, "n_threads": 4, "n_threads_batch": 4, **fields})
    model = model or shape()
    part = split_model(model, config, hardware)[0]
    return time_on_cpu(part, model, config, hardware, n_past)[0].total


def test_cores_share_the_work_until_memory_can_bring_no_more():
    one, four = (decode_s(measured(), n_threads=n) for n in (1, 4))
    assert one == pytest.approx(4 * four, rel=0.01)
    bound = decode_s(measured(peak_bytes_per_s=10e9))
    assert bound == pytest.approx(4.92e9 / 10e9, rel=0.15)
    assert bound == pytest.approx(decode_s(measured(peak_bytes_per_s=10e9), n_threads=3), rel=0.01)


def test_cores_that_hinder_each_other_are_slower_and_one_alone_is_not():
    assert decode_s(measured(scaling=0.5)) == pytest.approx(2 * decode_s(measured()), rel=0.01)
    alone = [decode_s(measured(scaling=scaling), n_threads=1) for scaling in (0.5, 1.0)]
    assert alone[0] == alone[1]
    assert decode_s(measured(scaling=0.5), n_threads=2) < alone[0]


def test_attention_takes_longer_with_every_token_and_depends_on_the_cache():
    none, some, more = (decode_s(measured(), n_past=n) for n in (0, 1000, 2000))
    assert more - some == pytest.approx(some - none)
    quantized = decode_s(measured(), n_past=2000, type_k="q8_0", type_v="q8_0")
    assert none < quantized < more
    # 32 layers, 32 heads of 128, four of them to one of the cache, on four cores
    assert some - none == pytest.approx(32 * 32 * 1000 * (30e-9 + 100e-9 * 2 / 4) / 4)


def test_attention_without_flash_attention_is_not_what_was_measured_with_it():
    def growth(**changes: Any) -> float:
        machine = measured(attending={"F16 128": (1e-6, 1e-6)})
        return decode_s(machine, n_past=2000, **changes) - decode_s(machine, **changes)

    assert 0 < growth(flash_attn="off") < growth() / 3


def test_heads_that_were_not_measured_are_like_the_nearest():
    wide = shape(n_head=16, head_dim=256, n_head_kv=4)
    tall = shape(n_head=32, head_dim=128, n_head_kv=8)
    costs = [decode_s(measured(), m, n_past=999) - decode_s(measured(), m) for m in (wide, tall)]
    assert costs[0] == pytest.approx(costs[1])


def test_a_sliding_window_bounds_what_a_token_looks_at():
    windowed = shape(name="gemma3", sliding_window=512)
    full = decode_s(measured(), shape(), n_past=8000)
    assert decode_s(measured(), windowed, n_past=8000) < full


def test_types_are_multiplied_at_their_own_speed():
    q4, q8, odd = (
        decode_s(measured(), shape_from_catalog(entry(), replace(entry().quants[0], quant=name)))
        for name in ("Q4_K_M", "Q8_0", "IQ2_XS")
    )
    assert q8 < q4 < odd


def test_what_was_measured_counts_more_than_what_is_usual():
    def mid(hardware: Hardware) -> float:
        config = RuntimeConfig(8192, 1, 512, 512, 0, 4, 4)
        return predict_speed(shape(), config, hardware)[0].mid

    slow = {name: rate / 10 for name, rate in MEASURED.reading.items()}
    assert mid(measured(reading=slow)) < mid(measured())
    usual = machine(32, cores=4, bandwidth=40 * GB)
    config = RuntimeConfig(8192, 1, 512, 512, 0, 4, 4)
    assumed, known = (predict_speed(shape(), config, m)[0] for m in (usual, measured()))
    assert assumed.high / assumed.low > known.high / known.low
