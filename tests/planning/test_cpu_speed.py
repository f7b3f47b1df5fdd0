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
    reading={"Q4_K": 20e9, "Q6_K": 24e9, "Q8_0": 28e9, "IQ2_XXS": 8e9},
    starting={"Q4_K": 5e-6},
    multiplying={"Q4_K": 200e9, "Q6_K": 160e9, "F32": 160e9},
    attending={"F16 64": 40e-9, "F16 128": 32e-9, "Q8_0 128": 10e-9},
    step_s=1e-6,
    n_threads=4,
    scaling=1.0,
    n_cpus=4.0,
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


def test_cores_share_the_work():
    one, four = (decode_s(measured(), n_threads=n) for n in (1, 4))
    assert one == pytest.approx(4 * four, rel=0.01)


def test_memory_that_was_not_measured_with_them_can_bring_only_so_much():
    slow = machine(32, cores=4, bandwidth=10 * GB)
    bound = decode_s(slow)
    assert bound == pytest.approx(4.92e9 / (0.8 * 10 * GB), rel=0.15)
    assert bound == pytest.approx(decode_s(slow, n_threads=3), rel=0.01)
    assert bound < decode_s(slow, n_threads=1)


def test_cores_that_hinder_each_other_gain_less_from_company():
    one, two, four = (decode_s(measured(scaling=0.5), n_threads=n) for n in (1, 2, 4))
    assert four == decode_s(measured())  # together they were measured
    assert one == pytest.approx(2 * four, rel=0.01)
    assert four < two < one


def test_every_matrix_takes_a_moment_besides():
    more = decode_s(measured(starting={"Q4_K": 15e-6})) - decode_s(measured())
    assert more == pytest.approx(7 * 32 * 10e-6)


def attending_s(n_past: int, machine: Hardware | None = None, **fields: Any) -> float:
    machine = machine or measured()
    return decode_s(machine, n_past=n_past, **fields) - decode_s(machine, **fields)


def test_attention_takes_longer_with_every_token_and_depends_on_the_cache():
    some, more = attending_s(1000), attending_s(2000)
    assert more == pytest.approx(2 * some)
    assert 0 < attending_s(2000, type_k="q8_0", type_v="q8_0") < more
    # 32 layers, 32 heads, and four portions of 256 tokens in a layer's cache
    assert some == pytest.approx(32 * 32 * 1024 * 32e-9)


def test_a_thread_whose_part_of_a_long_cache_is_full_keeps_the_others_waiting():
    assert attending_s(300) == pytest.approx(attending_s(511))
    assert attending_s(200) < attending_s(255) < attending_s(300)
    for alike in ({"n_threads": 1}, {"type_k": "q8_0", "type_v": "q8_0"}):
        some, more = (attending_s(n, **alike) for n in (300, 511))
        assert some == pytest.approx(300 / 511 * more)


def test_the_token_itself_may_need_a_portion_of_its_own_if_the_context_has_one():
    assert attending_s(1024) == pytest.approx(1.25 * attending_s(1023))
    full = attending_s(1024, n_ctx=1024)
    assert full == pytest.approx(attending_s(1023, n_ctx=1024))


def test_attention_without_flash_attention_is_not_what_was_measured_with_it():
    slow = measured(attending={"F16 128": 1e-6})
    assert 0 < attending_s(2000, slow, flash_attn="off") < attending_s(2000, slow) / 3


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
